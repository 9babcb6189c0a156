//! Clipping of gradients by their common norm.
//!
//! Source: On the difficulty of training recurrent neural networks, <https://arxiv.org/abs/1211.5063>.

use crate::{Leaf, Result};
use std::sync::Arc;

/// Scales all gradients by the same factor so that their common norm is at most `max`; gives the norm before.
pub fn clip_grad_norm(leaves: &[Arc<Leaf>], max: f64, aborted: &dyn Fn() -> bool) -> Result<f64> {
    let mut squares = 0.0;
    for grad in leaves.iter().filter_map(|leaf| leaf.grad()) {
        if aborted() {
            return Err(xt_autograd::Error::Aborted.into());
        }
        squares += xt_kernels::optimizer::sum_of_squares(&grad)?;
    }
    let norm = squares.sqrt();
    // the small number is PyTorch's
    let factor = max / (norm + 1e-6);
    if factor < 1.0 {
        for leaf in leaves {
            if let Some(grad) = leaf.grad() {
                leaf.set_grad(Some(xt_kernels::elementwise::affine(&grad, factor, 0.0)?))?;
            }
        }
    }
    Ok(norm)
}
