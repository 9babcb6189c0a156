//! Arrays of the same number everywhere, and of numbers in a row.

use crate::array::HostArray;
use crate::{Array, DType, Device, Element, Result, Shape};

const HOST: candle_core::Device = candle_core::Device::Cpu;

impl Array {
    /// `value` everywhere, in its type.
    pub fn full<T: Element>(value: T, shape: impl Into<Shape>, device: &Device) -> Result<Self> {
        Self::upload(HostArray::full(value, shape.into(), &HOST)?, device)
    }

    /// 0 everywhere.
    pub fn zeros(shape: impl Into<Shape>, dtype: DType, device: &Device) -> Result<Self> {
        Self::upload(HostArray::zeros(shape.into(), dtype, &HOST)?, device)
    }

    /// 1 everywhere.
    pub fn ones(shape: impl Into<Shape>, dtype: DType, device: &Device) -> Result<Self> {
        Self::upload(HostArray::ones(shape.into(), dtype, &HOST)?, device)
    }

    /// 0 everywhere, of the shape, type and device of `self`.
    pub fn zeros_like(&self) -> Result<Self> {
        Self::zeros(self.shape(), self.dtype(), &self.device())
    }

    /// 1 everywhere, of the shape, type and device of `self`.
    pub fn ones_like(&self) -> Result<Self> {
        Self::ones(self.shape(), self.dtype(), &self.device())
    }

    /// The numbers from `start` to `end`, which is not among them.
    pub fn arange<T: Element>(start: T, end: T, device: &Device) -> Result<Self> {
        Self::upload(HostArray::arange(start, end, &HOST)?, device)
    }
}
