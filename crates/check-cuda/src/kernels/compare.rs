//! How far two arrays are apart.

use crate::error::Result;
use xt_core::{Array, DType};

/// How far numbers may be off: `relative` to the largest finite one, which counts as at least
/// `floor`.
#[derive(Clone, Copy)]
pub struct Tolerance {
    /// The share of the largest number.
    pub relative: f64,
    /// The least number that counts as the largest.
    pub floor: f64,
}

/// The largest difference of `got` from `want`, relative to the largest finite number of `want`.
///
/// # Errors
/// If the shapes differ, or a number is off by more than the tolerance; NaN equals NaN alone.
pub fn difference(got: &Array, want: &Array, tolerance: Tolerance) -> Result<f64> {
    if got.dims() != want.dims() {
        return Err(format!("shape {:?}, expected {:?}", got.dims(), want.dims()).into());
    }
    let (got, want) = (values(got)?, values(want)?);
    let finite = want.iter().filter(|x| x.is_finite());
    let scale = finite.fold(tolerance.floor, |most, x| most.max(x.abs()));
    let mut worst = 0.0f64;
    for (at, (got, want)) in got.iter().zip(&want).enumerate() {
        if got == want || (got.is_nan() && want.is_nan()) {
            continue;
        }
        let off = (got - want).abs() / scale;
        if off.is_nan() || off > tolerance.relative {
            return Err(format!("entry {at} is {got}, expected {want}").into());
        }
        worst = worst.max(off);
    }
    Ok(worst)
}

/// All numbers as f64, converted on the CPU.
fn values(array: &Array) -> Result<Vec<f64>> {
    let host = array.to_device(&xt_core::Device::Cpu)?;
    Ok(host.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}
