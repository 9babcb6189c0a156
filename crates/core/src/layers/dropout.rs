//! Dropout while training.

use crate::{Ctx, Result, Tensor};
use xt_autograd::ops;
use xt_kernels::ops::dropout::Dropout;

/// Whether [`dropout`] does anything.
pub fn drops(p: f64, ctx: &Ctx) -> bool {
    ctx.training && p > 0.0
}

/// What a kernel needs to drop elements itself; nothing outside of training.
pub fn drawn(p: f64, ctx: &Ctx) -> Option<Dropout> {
    drops(p, ctx).then(|| Dropout { p, stream: ctx.rng.stream() })
}

/// Sets elements to 0 with probability `p` and scales the others up; does nothing outside of training.
pub fn dropout(x: &Tensor, p: f64, ctx: &Ctx) -> Result<Tensor> {
    if !drops(p, ctx) {
        return Ok(x.clone());
    }
    Ok(ops::dropout(x, p, ctx.rng.stream())?)
}
