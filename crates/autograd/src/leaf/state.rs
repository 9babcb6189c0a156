//! The values of a leaf.

use crate::error::invalid;
use crate::{Array, DType, Device, Error, Result};
use std::sync::Arc;
use xt_kernels::ops::quantized::Packed;

/// Computes the initial values of a leaf on the CPU.
type Initial = Box<dyn Fn() -> xt_kernels::Result<Array> + Send + Sync>;

pub(super) struct State {
    pub(super) device: Device,
    pub(super) dtype: DType,
    pub(super) values: Values,
}

/// The storage of a leaf's values.
pub(super) enum Values {
    /// Not initialised yet.
    Pending(Initial),
    /// Plain values.
    Ready(Array),
    /// Quantized f32 values on the CPU, for inference.
    Packed(Arc<Packed>),
    /// Freed for good.
    Released,
}

/// Bytes of an array of this shape and type; saturates instead of overflowing.
pub(super) fn bytes(shape: &[usize], dtype: DType) -> u64 {
    shape.iter().fold(dtype.size_in_bytes() as u64, |n, d| n.saturating_mul(*d as u64))
}

/// Returns an error if memory does not suffice to initialise values of this shape: on the CPU,
/// where they are drawn, and on their device.
fn check_init_memory(shape: &[usize], dtype: DType, device: &Device) -> Result<()> {
    let in_f64 = match dtype {
        DType::F64 => 0,
        _ => bytes(shape, DType::F64),
    };
    let needed = bytes(shape, dtype).saturating_add(in_f64);
    if shape.contains(&0) {
        return Ok(());
    }
    xt_kernels::memory::alloc::check_wide(&[needed], DType::U8)?;
    if device.is_cpu() {
        return Ok(());
    }
    Ok(xt_kernels::memory::alloc::check_on(device, shape, dtype)?)
}

/// Converts to a type and device, after a check that memory suffices.
pub(super) fn converted(values: &Array, dtype: DType, device: &Device) -> Result<Array> {
    if values.dtype() != dtype {
        xt_kernels::memory::alloc::check_like(values, dtype, 1)?;
    }
    if !values.device().same_device(device) {
        xt_kernels::memory::alloc::check_on(device, values.dims(), dtype)?;
    }
    Ok(values.to_dtype(dtype)?.to_device(device)?)
}

impl State {
    /// The values; computes them if they are not initialised yet, without storing them.
    pub(super) fn array(&self, shape: &[usize]) -> Result<Array> {
        Ok(match &self.values {
            Values::Ready(array) => array.clone(),
            Values::Pending(initial) => {
                // initial values are drawn in f64
                check_init_memory(shape, self.dtype, &self.device)?;
                initial()?.to_dtype(self.dtype)?.to_device(&self.device)?
            }
            Values::Packed(packed) => packed.values()?,
            Values::Released => return Err(Error::Released { shape: shape.to_vec() }),
        })
    }

    /// Returns an error if values of this type, or on this device, cannot be quantized.
    pub(super) fn check_quantizable(&self) -> Result<()> {
        if self.dtype == DType::F32 && self.device.is_cpu() {
            return Ok(());
        }
        let place = self.device.name();
        invalid(format!(
            "only f32 weights on the CPU can be quantized, not {:?} on {place}",
            self.dtype
        ))
    }
}
