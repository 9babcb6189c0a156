//! Optimizer steps and the norm of gradients, for many parameters in one pass.

#[cfg(feature = "cuda")]
mod cuda;
mod in_place;
mod muon;
mod norm;
mod out_of_place;
mod step;
#[cfg(test)]
mod tests;

use crate::{Array, DType, Result};

pub use in_place::update_all;
pub use muon::{muon, AdjustLr, Muon};
pub use norm::sum_of_squares;
pub use out_of_place::update_out_of_place;
pub use step::{Adam, Lion, Sgd, Step, Update};

/// A number as an array without axes, of the type and on the device of `like`.
fn scalar(value: f64, like: &Array) -> Result<Array> {
    crate::ops::elementwise::affine(&Array::zeros((), like.dtype(), &like.device())?, 0.0, value)
}

/// These arrays in f32, in which steps of half-precision parameters are computed.
fn wide<const N: usize>(arrays: [&Array; N]) -> Result<[Array; N]> {
    let mut wide = arrays.map(Array::clone);
    for array in &mut wide {
        *array = array.to_dtype(DType::F32)?;
    }
    Ok(wide)
}
