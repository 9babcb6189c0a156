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

pub use inputs::{Gradients, Inputs};
pub use reference::reference;

use crate::host::dispatch;
use crate::{Array, Result};
use reference::backward_reference;

/// What the gradient needs of an attention.
pub struct Saved {
    /// The output, (batch, heads, i, dv).
    y: Array,
    /// The largest score of each query and the sum of its exponentials, (batch · heads · i, 2); nothing where the reference computed it.
    rows: Option<Array>,
}

/// (batch, heads, i, dv).
pub fn forward(of: &Inputs) -> Result<(Array, Saved)> {
    let (y, rows) = dispatch!(of.q, T => forward::forward::<T>(of).map(|(y, rows)| (y, Some(rows))), else Ok((reference(of)?, None)))?;
    Ok((y.clone(), Saved { y, rows }))
}

/// The gradients for `grad`, that of the output.
pub fn backward(of: &Inputs, saved: &Saved, grad: &Array) -> Result<Gradients> {
    match &saved.rows {
        Some(rows) => {
            dispatch!(of.q, T => backward::gradients::<T>(of, (&saved.y, rows), grad), else backward_reference(of, grad))
        }
        None => backward_reference(of, grad),
    }
}
