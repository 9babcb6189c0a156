//! Clipping of gradients by their common norm.
//!
//! Source: On the difficulty of training recurrent neural networks, <https://arxiv.org/abs/1211.5063>.

use crate::{Leaf, Result};
use std::sync::Arc;
use xt_kernels::ops::optimizer::sum_of_squares;

/// Scales all gradients by the same factor so that their common norm is at most `max`; gives the norm before. Where that is NaN, so are all
/// gradients then; where it is infinite, they become 0, and what is infinite NaN.
pub fn clip_grad_norm(leaves: &[Arc<Leaf>], max: f64, aborted: &dyn Fn() -> bool) -> Result<f64> {
    let mut squares = 0.0;
    // gradients that were scaled already count less
    let grads: Vec<_> = leaves.iter().filter_map(|leaf| leaf.grad_and_factor()).collect();
    for alike in grads.chunk_by(|a, b| a.1 == b.1) {
        if aborted() {
            return Err(xt_autograd::Error::Aborted.into());
        }
        let arrays: Vec<_> = alike.iter().map(|(array, _)| array.clone()).collect();
        squares += alike[0].1.powi(2) * sum_of_squares(&arrays)?;
    }
    let norm = squares.sqrt();
    // the small number is PyTorch's
    let factor = max / (norm + 1e-6);
    // not where it is NaN, as in PyTorch: what is no number shows in all of them
    let enough = factor >= 1.0;
    if !enough {
        leaves.iter().for_each(|leaf| leaf.scale_grad(factor));
    }
    Ok(norm)
}
