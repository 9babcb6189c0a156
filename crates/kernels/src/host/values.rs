//! Access to the values of arrays in host memory.

use crate::array::Element;
use crate::error::bail;
use crate::memory::alloc;
use crate::{Array, DType, Device, Result, Shape};
use candle_core::{Storage, StorageRef};
use std::ops::{Deref, Range};

/// The borrowed values of a contiguous CPU array.
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

/// Borrows the values of `array`.
///
/// # Errors
/// If `array` is not contiguous, not on the CPU, or not of type `T`.
pub fn slice<T: Element>(array: &Array) -> Result<Slice<'_, T>> {
    let (storage, layout) = array.host()?.storage_and_layout();
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("a contiguous array is needed here, got strides {:?}", layout.stride());
    };
    if array.dtype() != T::DTYPE || !array.device().is_cpu() {
        bail!(
            "expected {:?} on the CPU, got {:?} on {:?}",
            T::DTYPE,
            array.dtype(),
            array.device()
        );
    }
    Ok(Slice { storage, range: start..end, element: std::marker::PhantomData })
}

/// Returns the whole storage of a CPU array and the offset of its first element, for kernels that
/// handle strides themselves.
///
/// # Errors
/// If `array` is not on the CPU.
pub fn strided<T: Element>(array: &Array) -> Result<(Slice<'_, T>, usize)> {
    let (storage, layout) = array.host()?.storage_and_layout();
    let start = layout.start_offset();
    let length = cpu_values::<T>(&storage).len();
    Ok((Slice { storage, range: 0..length, element: std::marker::PhantomData }, start))
}

/// Copies the values into a vector, in row-major order.
///
/// # Errors
/// If `array` is not of type `T`, or memory is short.
pub fn to_vec<T: Element>(array: &Array) -> Result<Vec<T>> {
    if array.elem_count() == 0 {
        // candle would read past the end of the storage
        return Ok(vec![]);
    }
    alloc::check_like(array, T::DTYPE, if array.is_contiguous() { 1 } else { 2 })?;
    array.flatten_all()?.to_vec1()
}

/// Runs `f` on the bytes of the values in row-major order.
///
/// # Errors
/// If the dtype is one that no kernel has, and the errors of `f`.
#[cfg(feature = "cuda")]
pub(crate) fn with_bytes<R>(
    array: &crate::array::HostArray,
    f: impl FnOnce(&[u8]) -> Result<R>,
) -> Result<R> {
    use candle_core::CpuStorage;
    if array.elem_count() == 0 {
        return f(&[]);
    }
    let array = array.contiguous()?;
    let (storage, layout) = array.storage_and_layout();
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("a contiguous array is needed here, got strides {:?}", layout.stride());
    };
    fn bytes<T>(values: &[T]) -> &[u8] {
        // SAFETY: numbers without padding, as bytes, for as long as they are borrowed.
        unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), std::mem::size_of_val(values)) }
    }
    match &*storage {
        Storage::Cpu(CpuStorage::U8(values)) => f(&values[start..end]),
        Storage::Cpu(CpuStorage::U32(values)) => f(bytes(&values[start..end])),
        Storage::Cpu(CpuStorage::I64(values)) => f(bytes(&values[start..end])),
        Storage::Cpu(CpuStorage::F16(values)) => f(bytes(&values[start..end])),
        Storage::Cpu(CpuStorage::BF16(values)) => f(bytes(&values[start..end])),
        Storage::Cpu(CpuStorage::F32(values)) => f(bytes(&values[start..end])),
        Storage::Cpu(CpuStorage::F64(values)) => f(bytes(&values[start..end])),
        _ => bail!("arrays of type {:?} stay on the CPU", array.dtype()),
    }
}

/// Creates a CPU array from values in row-major order.
///
/// # Errors
/// If `values` does not have as many elements as `shape`.
pub fn array<T: Element>(values: Vec<T>, shape: impl Into<Shape>) -> Result<Array> {
    Array::from_vec(values, shape.into(), &Device::Cpu)
}

/// The dtype in which sums of `dtype` are accumulated: f32 for half precision, where a long sum
/// would soon stop growing.
pub fn accumulation_dtype(dtype: DType) -> DType {
    match dtype {
        DType::F16 | DType::BF16 => DType::F32,
        _ => dtype,
    }
}

/// The distance of 1 from the next number of a floating-point dtype.
pub fn epsilon(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => f64::EPSILON,
        DType::F16 => half::f16::EPSILON.to_f64(),
        DType::BF16 => half::bf16::EPSILON.to_f64(),
        _ => f64::from(f32::EPSILON),
    }
}

/// Runs `run` on `x` converted to f32 and converts the result back to the dtype of `x`. Returns
/// `None` if sums can be accumulated in the dtype of `x`, and on GPUs, whose kernels do so in f32.
pub fn via_f32_if_half(x: &Array, run: impl Fn(&Array) -> Result<Array>) -> Option<Result<Array>> {
    let through = || {
        alloc::check_like(x, DType::F32, 2)?;
        run(&x.to_dtype(DType::F32)?)?.to_dtype(x.dtype())
    };
    (x.device().is_cpu() && accumulation_dtype(x.dtype()) != x.dtype()).then(through)
}

/// Checks that all arrays that are given in `others` have the shape of `x`.
///
/// # Errors
/// If one has another shape.
pub fn check_like<'a>(
    x: &Array,
    others: impl IntoIterator<Item = Option<&'a Array>>,
) -> Result<()> {
    match others.into_iter().flatten().find(|other| other.dims() != x.dims()) {
        Some(other) => bail!("{:?} beside {:?}", other.dims(), x.dims()),
        None => Ok(()),
    }
}

/// Returns (rows, width): `width` is the size of the last axis, `rows` the product of all others.
pub fn rows_and_width(array: &Array) -> (usize, usize) {
    let width = array.dims().last().copied().unwrap_or(1);
    (array.elem_count() / width.max(1), width)
}

/// The shape of `x` with `width` as the size of the last axis.
pub(crate) fn with_width(x: &Array, width: usize) -> Vec<usize> {
    let mut dims = x.dims().to_vec();
    if let Some(last) = dims.last_mut() {
        *last = width;
    }
    dims
}
