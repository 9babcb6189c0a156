//! Limits of values, made of other operations.

use super::binary::{binary, Binary};
use super::unary::affine;
use crate::error::bail;
use crate::{Array, Result};

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
