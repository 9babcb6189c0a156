//! Arrays that steps are made of.

use crate::{Array, DType, Result};

/// A number as an array without axes, of the type and on the device of `like`.
pub(super) fn scalar(value: f64, like: &Array) -> Result<Array> {
    crate::ops::elementwise::affine(&Array::zeros((), like.dtype(), &like.device())?, 0.0, value)
}

/// These arrays in f32, in which steps of half-precision parameters are computed.
pub(super) fn wide<const N: usize>(arrays: [&Array; N]) -> Result<[Array; N]> {
    let mut wide = arrays.map(Array::clone);
    for array in &mut wide {
        *array = array.to_dtype(DType::F32)?;
    }
    Ok(wide)
}
