//! Limits of values, made of other operations.

use super::binary::{binary, Binary};
use super::unary::scalar;
use crate::error::bail;
use crate::{Array, Result};

/// Limits each element to `-limit` to `limit`; NaN stays NaN.
///
/// # Errors
/// If the type is no floating-point one, or memory does not suffice.
pub fn clamp(x: &Array, limit: f64) -> Result<Array> {
    if !x.dtype().is_float() {
        bail!("clamp needs a floating-point array, got {:?}", x.dtype());
    }
    let below = binary(x, &scalar(limit, x)?, Binary::Min)?;
    binary(&below, &scalar(-limit, x)?, Binary::Max)
}
