//! Clipping of gradients by their global norm, and by value.
//!
//! Source: On the difficulty of training recurrent neural networks,
//! <https://arxiv.org/abs/1211.5063>.

use crate::{Array, Error, Leaf, Result};
use std::sync::Arc;
use xt_kernels::ops::optimizer::sum_of_squares;

/// Scales all gradients by a common factor so that their global norm is at most `max`. Returns the
/// norm before.
///
/// If the norm is NaN, all gradients become NaN; if it is infinite, finite elements become 0 and
/// infinite ones NaN. An infinite `max` changes nothing.
pub fn clip_grad_norm(leaves: &[Arc<Leaf>], max: f64, aborted: &dyn Fn() -> bool) -> Result<f64> {
    let mut squares = 0.0;
    // gradients with a deferred factor contribute the square of that factor
    let grads: Vec<_> = leaves.iter().filter_map(|leaf| leaf.grad_and_factor()).collect();
    let alike = |(a, factor): &(Array, f64), (b, other): &(Array, f64)| {
        factor == other && a.dtype() == b.dtype() && a.device().same_device(&b.device())
    };
    for alike in grads.chunk_by(alike) {
        if aborted() {
            return Err(xt_autograd::Error::Aborted.into());
        }
        let arrays: Vec<_> = alike.iter().map(|(array, _)| array.clone()).collect();
        squares += alike[0].1.powi(2) * sum_of_squares(&arrays)?;
    }
    let norm = squares.sqrt();
    if max == f64::INFINITY {
        return Ok(norm); // the norm alone is wanted
    }
    // the epsilon is PyTorch's
    let factor = max / (norm + 1e-6);
    // false if the factor is NaN, as in PyTorch: NaN spreads to all gradients
    let enough = factor >= 1.0;
    if !enough {
        leaves.iter().for_each(|leaf| leaf.scale_grad(factor));
    }
    Ok(norm)
}

/// The norm of the gradients of each of consecutive groups of leaves, whose lengths are `counts`; 0
/// for one without gradients.
///
/// # Errors
///
/// If there are fewer leaves than `counts` say; after an abort.
pub fn grad_norms(
    leaves: &[Arc<Leaf>],
    counts: &[usize],
    aborted: &dyn Fn() -> bool,
) -> Result<Vec<f64>> {
    let mut rest = leaves;
    let norm = |&count: &usize| {
        let (group, others) = rest.split_at_checked(count).ok_or_else(|| {
            Error::Shape(format!("groups of {counts:?} parameters, and {} are given", leaves.len()))
        })?;
        rest = others;
        clip_grad_norm(group, f64::INFINITY, aborted)
    };
    counts.iter().map(norm).collect()
}

/// Limits each element of the gradients to `-value` to `value`. NaN stays NaN. After an error or an
/// abort a part of the gradients may be limited.
pub fn clip_grad_value(leaves: &[Arc<Leaf>], value: f64, aborted: &dyn Fn() -> bool) -> Result<()> {
    for leaf in leaves {
        if aborted() {
            return Err(xt_autograd::Error::Aborted.into());
        }
        leaf.clamp_grad(value)?;
    }
    Ok(())
}
