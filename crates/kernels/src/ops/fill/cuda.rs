//! Launches of the kernels in `fill.cu`.

use crate::cuda::{kernel_args, Array as CudaArray, Gpu, Name};
use crate::ops::layout::by_size;
use crate::{Array, DType, Element, Result, Shape};
use std::sync::Arc;

kernel_args! {
    FillArgs { y: u64, count: u64, bits: u64 }
    RangeArgs { y: u64, count: u64, start: f64 }
}

/// An array filled with the value that has these bits.
pub(super) fn full_of_bits(
    bits: u64,
    dtype: DType,
    shape: impl Into<Shape>,
    gpu: &Arc<Gpu>,
) -> Result<Array> {
    let y = CudaArray::uninit(gpu, dtype, shape)?;
    let count = y.layout().shape().elem_count();
    let args = FillArgs { y: y.address(), count: count as u64, bits };
    gpu.for_each(Name { module: "fill", kernel: "fill", dtype: by_size(dtype) }, count, &args)?;
    Ok(y.into())
}

/// An array filled with `value`.
pub(super) fn full<T: Element>(value: T, shape: impl Into<Shape>, gpu: &Arc<Gpu>) -> Result<Array> {
    full_of_bits(bits(value), T::DTYPE, shape, gpu)
}

/// The bits of a number, in the low bytes.
fn bits<T: Element>(value: T) -> u64 {
    let mut bytes = [0; 8];
    let size = size_of::<T>().min(8);
    // SAFETY: the number types have no padding, and `size` is at most their size.
    let own = unsafe { std::slice::from_raw_parts((&raw const value).cast::<u8>(), size) };
    bytes[..size].copy_from_slice(own);
    u64::from_le_bytes(bytes)
}

/// `count` numbers from `start` on, in steps of 1.
pub(super) fn range(start: f64, count: usize, dtype: DType, gpu: &Arc<Gpu>) -> Result<Array> {
    let y = CudaArray::uninit(gpu, dtype, count)?;
    let args = RangeArgs { y: y.address(), count: count as u64, start };
    gpu.for_each(Name { module: "fill", kernel: "range", dtype }, count, &args)?;
    Ok(y.into())
}
