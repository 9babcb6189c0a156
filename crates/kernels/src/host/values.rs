//! Access to the values of arrays in the processor's memory.

use crate::array::Element;
use crate::error::bail;
use crate::memory::alloc;
use crate::{Array, DType, Device, Result, Shape};
use candle_core::{Storage, StorageRef};
use std::ops::{Deref, Range};

/// The values of a contiguous CPU array, borrowed.
pub struct Slice<'a, T> {
    storage: StorageRef<'a>,
    range: Range<usize>,
    element: std::marker::PhantomData<T>,
}

impl<T: Element> Deref for Slice<'_, T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        cpu_values(&self.storage).get(self.range.clone()).unwrap_or_default()
    }
}

fn cpu_values<T: Element>(storage: &Storage) -> &[T] {
    match storage {
        Storage::Cpu(cpu) => cpu.as_slice::<T>().unwrap_or_default(),
        _ => &[],
    }
}

/// Borrows the values of `array`, which must be contiguous, on the CPU, and of type `T`.
pub fn slice<T: Element>(array: &Array) -> Result<Slice<'_, T>> {
    let (storage, layout) = array.host()?.storage_and_layout();
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("a contiguous array is needed here, got strides {:?}", layout.stride());
    };
    if array.dtype() != T::DTYPE || !array.device().is_cpu() {
        bail!("expected {:?} on the CPU, got {:?} on {:?}", T::DTYPE, array.dtype(), array.device());
    }
    Ok(Slice { storage, range: start..end, element: std::marker::PhantomData })
}

/// The whole storage behind a CPU array, for kernels that follow strides themselves, with the offset of the first element.
pub fn strided<T: Element>(array: &Array) -> Result<(Slice<'_, T>, usize)> {
    let (storage, layout) = array.host()?.storage_and_layout();
    let start = layout.start_offset();
    let length = cpu_values::<T>(&storage).len();
    Ok((Slice { storage, range: 0..length, element: std::marker::PhantomData }, start))
}

/// The values in row-major order, in a vector of their own.
pub fn vector<T: Element>(array: &Array) -> Result<Vec<T>> {
    if array.elem_count() == 0 {
        // candle would begin past the end of the storage
        return Ok(vec![]);
    }
    alloc::check_like(array, T::DTYPE, if array.is_contiguous() { 1 } else { 2 })?;
    array.flatten_all()?.to_vec1()
}

/// An array from values in row-major order.
pub fn array<T: Element>(values: Vec<T>, shape: impl Into<Shape>) -> Result<Array> {
    Array::from_vec(values, shape.into(), &Device::Cpu)
}

/// The type that sums of `dtype` are taken in: half precision would prefetch stop growing.
pub fn wide(dtype: DType) -> DType {
    match dtype {
        DType::F16 | DType::BF16 => DType::F32,
        _ => dtype,
    }
}

/// `run` of `x` as f32, back in the type of `x`; `None` where that is wide enough for sums.
pub fn widened(x: &Array, run: impl Fn(&Array) -> Result<Array>) -> Option<Result<Array>> {
    let through = || {
        alloc::check_like(x, DType::F32, 2)?;
        run(&x.to_dtype(DType::F32)?)?.to_dtype(x.dtype())
    };
    (wide(x.dtype()) != x.dtype()).then(through)
}

/// An error where one of them has another shape than `x`.
pub fn check_like<'a>(x: &Array, others: impl IntoIterator<Item = Option<&'a Array>>) -> Result<()> {
    match others.into_iter().flatten().find(|other| other.dims() != x.dims()) {
        Some(other) => bail!("{:?} beside {:?}", other.dims(), x.dims()),
        None => Ok(()),
    }
}

/// The last axis of a shape and the number of rows before it.
pub fn rows_and_width(array: &Array) -> (usize, usize) {
    let width = array.dims().last().copied().unwrap_or(1);
    (array.elem_count() / width.max(1), width)
}

/// The shape of `x` with rows of `width`.
pub(crate) fn with_width(x: &Array, width: usize) -> Vec<usize> {
    let mut dims = x.dims().to_vec();
    if let Some(last) = dims.last_mut() {
        *last = width;
    }
    dims
}
