//! Fused attention: `y = dropout(softmax(softcap(scale · q kᵀ + bias), mask)) v`, which never
//! stores the full matrix of scores.
//!
//! Shapes:
//!
//! - `q` is (batch, heads, i, d)
//! - `k` is (batch, key heads, j, d); neighbouring query heads share a key head
//! - `v` is (batch, value heads, j, dv)
//! - `y` is (batch, heads, i, dv)
//! - `bias` is (heads, i + j - 1) and indexed by the distance between query and key, see
//!   [`distances`]
//!
//! Sinks, (heads, count), are the scores of keys whose values are 0: they add to the sum of the
//! exponentials alone.
//!
//! Dropout draws the same random numbers as it would for an array of weights of shape
//! (batch, heads, i, j).
//!
//! The forward pass processes each block of queries against one tile of keys after another. The
//! scores of a tile stay in the cache, and keys that the causal mask hides from the whole block are
//! skipped. The softmax is computed online: it tracks the maximum and the sum over the keys so far,
//! and rescales the accumulated output when a larger score appears.
//!
//! The backward pass recomputes the weights tile by tile from the scores and the saved maximum and
//! sum of each row.
//!
//! Sources: FlashAttention-2, <https://arxiv.org/abs/2307.08691>; grouped queries:
//! <https://arxiv.org/abs/2305.13245>; softcap: Gemma 2, <https://arxiv.org/abs/2408.00118>; sinks:
//! <https://arxiv.org/abs/2309.17453>.

mod backward;
#[cfg(feature = "cuda")]
mod cuda;
pub mod distances;
mod forward;
mod inputs;
mod operands;
mod reference;
#[cfg(test)]
mod tests;
mod tiles;

pub use inputs::{AttentionArgs, Gradients};

#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::kernel::{arrays, in_f32, run, Arrays, Kernel};
use crate::{Array, Element, Result};
#[cfg(feature = "cuda")]
use std::sync::Arc;

/// What the forward pass saves for the backward pass.
pub struct Saved {
    /// The output, (batch, heads, i, dv).
    y: Array,
    /// The maximum score of each query and the sum of its exponentials, (batch · heads · i, 2), in
    /// f32 for half precision. `None` on a GPU.
    rows: Option<Array>,
}

/// Kernel of the forward pass.
#[derive(Clone)]
struct Forward {
    of: AttentionArgs,
}

/// Kernel of the backward pass.
#[derive(Clone)]
struct Backward {
    of: AttentionArgs,
    /// The output, (batch, heads, i, dv).
    y: Array,
    /// See [`Saved::rows`].
    rows: Option<Array>,
    /// The gradient of the output, (batch, heads, i, dv).
    grad: Array,
}

arrays! {
    AttentionArgs { q, k, v, bias, sinks, mask }
    Gradients { q, k, v, bias, sinks }
    Forward { of }
    Backward { of, y, rows, grad }
}

impl Kernel for Forward {
    const NAME: &'static str = "attention";
    /// The output, and the softmax statistics as in [`Saved::rows`].
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

    fn cpu_other<T: Element>(&self) -> Option<Result<Self::Out>> {
        // the softmax statistics stay in f32
        Some(in_f32(self, T::DTYPE, |(y, _), narrow| narrow(y)))
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, _: &Arc<Gpu>) -> Result<Self::Out> {
        Ok((cuda::forward(&self.of)?, None))
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        tests::forward_cases()
    }

    /// The output alone: the reference returns no softmax statistics.
    #[cfg(test)]
    fn results(&self, (y, _): &Self::Out) -> Vec<Array> {
        vec![y.clone()]
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
            None => bail!("attention: the forward pass has saved nothing for this device"),
        }
    }

    fn cpu_other<T: Element>(&self) -> Option<Result<Gradients>> {
        Some(in_f32(self, T::DTYPE, Gradients::each_mut))
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, _: &Arc<Gpu>) -> Result<Gradients> {
        cuda::backward(&self.of, &self.grad)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        tests::backward_cases()
    }

    #[cfg(test)]
    fn prepare(&mut self) {
        let (_, saved) = forward(&self.of).unwrap();
        (self.y, self.rows) = (saved.y, saved.rows);
    }
}

/// Computes the output, (batch, heads, i, dv), and what [`backward()`] needs.
///
/// # Errors
/// If the shapes of the operands do not fit together, or memory cannot be allocated.
pub fn forward(of: &AttentionArgs) -> Result<(Array, Saved)> {
    let (y, rows) = run(&Forward { of: of.clone() })?;
    Ok((y.clone(), Saved { y, rows }))
}

/// Computes the gradients of the inputs from `grad`, the gradient of the output,
/// (batch, heads, i, dv).
///
/// # Errors
/// If the shapes do not fit together, or memory cannot be allocated.
pub fn backward(of: &AttentionArgs, saved: &Saved, grad: &Array) -> Result<Gradients> {
    run(&Backward {
        of: of.clone(),
        y: saved.y.clone(),
        rows: saved.rows.clone(),
        grad: grad.clone(),
    })
}
