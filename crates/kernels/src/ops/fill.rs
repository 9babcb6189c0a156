//! Arrays of a constant, and arithmetic sequences.

use crate::array::HostArray;
use crate::{Array, DType, Device, Element, Result, Shape};

/// Arrays are created on the host, and then uploaded.
const HOST: candle_core::Device = candle_core::Device::Cpu;

impl Array {
    /// An array filled with `value`, of the type of `value`.
    pub fn full<T: Element>(value: T, shape: impl Into<Shape>, device: &Device) -> Result<Self> {
        Self::upload(HostArray::full(value, shape.into(), &HOST)?, device)
    }

    /// An array filled with 0.
    pub fn zeros(shape: impl Into<Shape>, dtype: DType, device: &Device) -> Result<Self> {
        Self::upload(HostArray::zeros(shape.into(), dtype, &HOST)?, device)
    }

    /// An array filled with 1.
    pub fn ones(shape: impl Into<Shape>, dtype: DType, device: &Device) -> Result<Self> {
        Self::upload(HostArray::ones(shape.into(), dtype, &HOST)?, device)
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
        Self::upload(HostArray::arange(start, end, &HOST)?, device)
    }
}
