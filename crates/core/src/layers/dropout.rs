//! Dropout during training.

use crate::{Ctx, Result, Tensor};
use xt_autograd::ops;
use xt_kernels::ops::dropout::Dropout;

/// Whether [`dropout`] has an effect: in training mode with `p > 0`.
pub fn dropout_active(p: f64, ctx: &Ctx) -> bool {
    ctx.training && p > 0.0
}

/// The parameters with which a fused kernel applies dropout itself; `None` if dropout has no
/// effect.
pub fn fused_dropout(p: f64, ctx: &Ctx) -> Option<Dropout> {
    dropout_active(p, ctx).then(|| Dropout { p, stream: ctx.rng.stream() })
}

/// Sets elements to 0 with probability `p` and divides the others by `1 - p`. Returns `x` unchanged
/// outside of training.
pub fn dropout(x: &Tensor, p: f64, ctx: &Ctx) -> Result<Tensor> {
    if !dropout_active(p, ctx) {
        return Ok(x.clone());
    }
    Ok(ops::dropout(x, p, ctx.rng.stream())?)
}
