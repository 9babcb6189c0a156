//! Arrays of a constant, and arithmetic sequences.

#[cfg(feature = "cuda")]
mod cuda;

use crate::array::HostArray;
use crate::{Array, DType, Device, Element, Result, Shape};

/// Where candle creates arrays.
const HOST: candle_core::Device = candle_core::Device::Cpu;

impl Array {
    /// An array filled with `value`, of the type of `value`.
    pub fn full<T: Element>(value: T, shape: impl Into<Shape>, device: &Device) -> Result<Self> {
        match device {
            Device::Cpu => Ok(HostArray::full(value, shape.into(), &HOST)?.into()),
            #[cfg(feature = "cuda")]
            Device::Cuda(gpu) => cuda::full(value, shape, gpu),
        }
    }

    /// An array filled with 0.
    pub fn zeros(shape: impl Into<Shape>, dtype: DType, device: &Device) -> Result<Self> {
        match device {
            Device::Cpu => Ok(HostArray::zeros(shape.into(), dtype, &HOST)?.into()),
            #[cfg(feature = "cuda")]
            Device::Cuda(gpu) => cuda::full_of_bits(0, dtype, shape, gpu),
        }
    }

    /// An array filled with 1.
    pub fn ones(shape: impl Into<Shape>, dtype: DType, device: &Device) -> Result<Self> {
        match device {
            Device::Cpu => Ok(HostArray::ones(shape.into(), dtype, &HOST)?.into()),
            #[cfg(feature = "cuda")]
            Device::Cuda(gpu) => Array::full_of_dtype(1.0, dtype, shape, gpu),
        }
    }

    /// An array of `dtype` filled with `value`, converted as by `as` in Rust.
    #[cfg(feature = "cuda")]
    fn full_of_dtype(
        value: f64,
        dtype: DType,
        shape: impl Into<Shape>,
        gpu: &std::sync::Arc<crate::cuda::Gpu>,
    ) -> Result<Self> {
        match dtype {
            DType::U8 => cuda::full(value as u8, shape, gpu),
            DType::U32 => cuda::full(value as u32, shape, gpu),
            DType::I64 => cuda::full(value as i64, shape, gpu),
            DType::F16 => cuda::full(half::f16::from_f64(value), shape, gpu),
            DType::BF16 => cuda::full(half::bf16::from_f64(value), shape, gpu),
            DType::F64 => cuda::full(value, shape, gpu),
            _ => cuda::full(value as f32, shape, gpu),
        }
    }

    /// An array filled with 0, with the shape, type and device of `self`.
    pub fn zeros_like(&self) -> Result<Self> {
        Self::zeros(self.shape(), self.dtype(), &self.device())
    }

    /// An array filled with 1, with the shape, type and device of `self`.
    pub fn ones_like(&self) -> Result<Self> {
        Self::ones(self.shape(), self.dtype(), &self.device())
    }

    /// The numbers from `start`, included, to `end`, excluded, in steps of 1, as a vector.
    pub fn arange<T: Element>(start: T, end: T, device: &Device) -> Result<Self> {
        match device {
            Device::Cpu => Ok(HostArray::arange(start, end, &HOST)?.into()),
            #[cfg(feature = "cuda")]
            Device::Cuda(gpu) => {
                let (start, end) = (start.to_f64(), end.to_f64());
                cuda::range(start, (end - start).ceil().max(0.0) as usize, T::DTYPE, gpu)
            }
        }
    }
}
