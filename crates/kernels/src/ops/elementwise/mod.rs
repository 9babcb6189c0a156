//! Element-wise operations with broadcasting, distributed over threads.

mod binary;
mod broadcast;
#[cfg(feature = "cuda")]
mod cuda;
mod lerp;
mod map;
#[cfg(test)]
mod tests;
mod unary;

use crate::error::bail;
use crate::{Array, Result};

pub use binary::{add, binary, div, mul, sub, Binary};
pub use lerp::lerp;
pub(crate) use map::{map, zip};
pub use unary::{affine, unary, Unary};

/// Limits each element to `-limit` to `limit`; NaN stays NaN.
///
/// # Errors
/// If the type is no floating-point one, or memory does not suffice.
pub fn clamp(x: &Array, limit: f64) -> Result<Array> {
    let number = |value| affine(&Array::zeros((), x.dtype(), &x.device())?, 0.0, value);
    if !x.dtype().is_float() {
        bail!("clamp needs a floating-point array, got {:?}", x.dtype());
    }
    let below = binary(x, &number(limit)?, Binary::Min)?;
    binary(&below, &number(-limit)?, Binary::Max)
}

/// Whether `x` is NaN; false for integers.
#[inline(always)]
#[allow(clippy::eq_op)]
pub(crate) fn is_nan<T: PartialEq>(x: T) -> bool {
    x != x
}
