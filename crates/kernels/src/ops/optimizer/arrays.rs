//! Arrays that steps are made of.

use crate::{Array, DType, Result};

/// These arrays in f32, in which steps of half-precision parameters are computed.
pub(super) fn wide<const N: usize>(arrays: [&Array; N]) -> Result<[Array; N]> {
    let mut wide = arrays.map(Array::clone);
    for array in &mut wide {
        *array = array.to_dtype(DType::F32)?;
    }
    Ok(wide)
}
