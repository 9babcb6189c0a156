//! Attention in one: `y = dropout(softmax(scale · q kᵀ + bias, masked)) v`, without the scores in memory.
//!
//! Shapes: `q` is (batch, heads, i, d), `k` (batch, heads or 1, j, d), `v` (batch, heads or 1, j, dv), `y` (batch, heads, i, dv). The bias is one by
//! distance, (heads, i + j - 1): see `distances.rs`. Weights are dropped as those of an array (batch, heads, i, j).
//! A block of queries meets a tile of keys after the other: their scores stay in the cache, and the keys that causality hides from the whole
//! block cost nothing. Softmax knows the keys so far, and what was gathered is scaled down when a larger score comes.
//! The gradient makes the weights again, tile by tile, from the scores and what softmax found in the end.
//! Source: FlashAttention-2, <https://arxiv.org/abs/2307.08691>.

mod backward;
pub mod distances;
mod forward;
mod inputs;
mod operands;
mod reference;
#[cfg(test)]
mod tests;
mod tiles;

pub use inputs::{AttentionArgs, Gradients};

use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::kernel::{arrays, no_cuda, run, Kernel};
use crate::{Array, Result};

/// What the gradient needs of an attention.
pub struct Saved {
    /// The output, (batch, heads, i, dv).
    y: Array,
    /// The largest score of each query and the sum of its exponentials, (batch · heads · i, 2); nothing where the reference
    /// computed it.
    rows: Option<Array>,
}

#[derive(Clone)]
struct Forward {
    of: AttentionArgs,
}

#[derive(Clone)]
struct Backward {
    of: AttentionArgs,
    y: Array,
    rows: Option<Array>,
    grad: Array,
}

arrays! {
    AttentionArgs { q, k, v, bias, mask }
    Gradients { q, k, v, bias }
    Forward { of }
    Backward { of, y, rows, grad }
}

impl Kernel for Forward {
    const NAME: &'static str = "attention";
    type Out = (Array, Option<Array>);

    fn check(&self) -> Result<()> {
        self.of.check().map(|_| ())
    }

    fn reference(&self) -> Result<Self::Out> {
        Ok((reference::forward(&self.of)?, None))
    }

    fn cpu<T: Blas>(&self) -> Result<Self::Out> {
        forward::forward::<T>(&self.of).map(|(y, rows)| (y, Some(rows)))
    }

    no_cuda!();

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        // what softmax found is not in the reference: see the tests
        Vec::new()
    }
}

impl Kernel for Backward {
    const NAME: &'static str = "attention backward";
    type Out = Gradients;

    fn check(&self) -> Result<()> {
        let dims = self.of.check()?;
        if self.grad.dims() != dims {
            bail!("attention: a gradient {:?} for an output {dims:?}", self.grad.dims());
        }
        Ok(())
    }

    fn reference(&self) -> Result<Gradients> {
        reference::backward(&self.of, &self.grad)
    }

    fn cpu<T: Blas>(&self) -> Result<Gradients> {
        match &self.rows {
            Some(rows) => backward::gradients::<T>(&self.of, (&self.y, rows), &self.grad),
            None => self.reference(),
        }
    }

    no_cuda!();

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        tests::backward_cases()
    }
}

/// (batch, heads, i, dv), and what the gradient needs.
pub fn forward(of: &AttentionArgs) -> Result<(Array, Saved)> {
    let (y, rows) = run(&Forward { of: of.clone() })?;
    Ok((y.clone(), Saved { y, rows }))
}

/// The gradients for `grad`, that of the output.
pub fn backward(of: &AttentionArgs, saved: &Saved, grad: &Array) -> Result<Gradients> {
    run(&Backward { of: of.clone(), y: saved.y.clone(), rows: saved.rows.clone(), grad: grad.clone() })
}
