//! Views, and copies of views into row-major order, distributed over threads.
//!
//! Copies depend on the strides. If the last axis is contiguous, as in split heads and slices of an
//! axis, rows are copied as blocks of memory. If the axis before the last is contiguous, as in
//! transposed matrices and patches of images, blocks are transposed. Otherwise the elements of each
//! row are gathered one by one.

#[cfg(feature = "cuda")]
mod cuda;
use crate::array::{HostArray, HostResult};
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::error::bail;
use crate::host;
use crate::host::gemm::blas::Blas;
use crate::host::parallel::{build_zeroed, rows_per_piece};
use crate::kernel::{arrays, run, Kernel};
use crate::memory::alloc;
use crate::{Array, DType, Device, Element, Result, Shape};
#[cfg(feature = "cuda")]
pub(crate) use cuda::{by_size, copy_to};
use half::{bf16, f16};
#[cfg(feature = "cuda")]
use std::sync::Arc;

/// Kernel of [`contiguous`].
#[derive(Clone)]
struct Contiguous {
    x: Array,
}

arrays!(Contiguous { x });

impl Kernel for Contiguous {
    const NAME: &'static str = "contiguous";
    type Out = Array;

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn reference(&self) -> Result<Array> {
        alloc::check_like(&self.x, self.x.dtype(), 1)?;
        Ok(self.x.host()?.contiguous()?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        copy_cpu::<T>(&self.x)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        cuda::copy(&self.x, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let x = crate::testing::normal64(&[3, 50, 6, 40], 1);
        let shaped = |dims: &[usize]| x.reshape(dims).unwrap();
        let views = [
            x.clone(),
            x.transpose(1, 2).unwrap(),
            x.transpose(2, 3).unwrap(),
            narrow(&x, 3, 7, 20).unwrap(),
            narrow(&x, 1, 1, 1).unwrap().broadcast_as((3, 50, 6, 40)).unwrap(),
            narrow(&x.permute(&[2, 0, 1, 3]).unwrap(), 0, 2, 3).unwrap(),
            x.permute(&[3, 1, 0, 2]).unwrap(),
            x.permute(&[1, 0, 3, 2]).unwrap(),
            narrow(&x, 2, 1, 3).unwrap().permute(&[1, 3, 0, 2]).unwrap(),
            shaped(&[450, 80]).t().unwrap(),
            shaped(&[9000, 4]).t().unwrap(),
            shaped(&[4, 9000]).t().unwrap(),
            shaped(&[5, 3, 30, 2, 40]).permute(&[0, 2, 4, 3, 1]).unwrap(),
            narrow(&x, 3, 5, 1).unwrap().broadcast_as((3, 50, 6, 40)).unwrap(),
            narrow(&x, 0, 1, 1).unwrap().permute(&[1, 2, 3, 0]).unwrap(),
            narrow(&x, 0, 0, 0).unwrap(),
        ];
        views.map(|x| Self { x }).into()
    }
}

/// A view of `length` entries of `axis`, from index `start` on. An empty view gets its own memory,
/// since candle would compute an offset past the end of the storage.
///
/// # Errors
/// If the axis or the range does not exist.
pub fn narrow(x: &Array, axis: usize, start: usize, length: usize) -> Result<Array> {
    let y = x.narrow_view(axis, start, length)?;
    if y.elem_count() > 0 {
        return Ok(y);
    }
    Array::zeros(y.dims(), y.dtype(), &y.device())
}

/// [`narrow`] for host arrays.
#[allow(clippy::disallowed_methods)]
pub(crate) fn narrow_on_host(
    x: &HostArray,
    axis: usize,
    start: usize,
    length: usize,
) -> HostResult<HostArray> {
    let y = x.narrow(axis, start, length)?;
    if y.elem_count() > 0 {
        return Ok(y);
    }
    HostArray::zeros(y.dims(), y.dtype(), y.device())
}

/// Returns `x` itself if it is contiguous in row-major order, otherwise a contiguous copy.
pub fn contiguous(x: &Array) -> Result<Array> {
    if x.is_contiguous() {
        return Ok(x.clone());
    }
    run(&Contiguous { x: x.clone() })
}

#[cfg(target_endian = "big")]
compile_error!("the bytes of numbers are taken as they lie in memory, and files are little-endian");

/// The bytes of `numbers`.
fn raw<T: Element>(numbers: &[T]) -> &[u8] {
    // SAFETY: the number types have no padding, and every byte is a valid u8.
    unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(numbers)) }
}

/// Indices as kernels for GPUs read them: i64, contiguous.
#[cfg(feature = "cuda")]
pub(crate) fn indices(ids: &Array) -> Result<Array> {
    contiguous(&ids.to_dtype(DType::I64)?)
}

impl Array {
    /// Returns the values, in row-major order, in another shape. Copies only if the array is not
    /// contiguous.
    ///
    /// # Errors
    /// If the number of elements differs.
    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Self> {
        contiguous(self)?.reshape_view(&shape.into())
    }

    /// Returns the values as a vector, in row-major order.
    pub fn flatten_all(&self) -> Result<Self> {
        self.reshape(self.elem_count())
    }

    /// Returns a contiguous copy with its own memory.
    pub fn copy(&self) -> Result<Self> {
        if !self.is_contiguous() {
            return contiguous(self);
        }
        match self.device() {
            Device::Cpu => {
                alloc::check_like(self, self.dtype(), 1)?;
                Ok(self.host()?.force_contiguous()?.into())
            }
            #[cfg(feature = "cuda")]
            Device::Cuda(gpu) => cuda::copy(self, &gpu),
        }
    }

    /// Calls `f` with the bytes of the values, in row-major order, little-endian, on the host.
    ///
    /// # Errors
    /// If tensors do not support the type.
    pub fn with_bytes<R>(&self, f: impl FnOnce(&[u8]) -> R) -> Result<R> {
        let x = contiguous(self)?.to_device(&Device::Cpu)?;
        Ok(match x.dtype() {
            DType::U8 => f(&host::slice::<u8>(&x)?),
            DType::U32 => f(raw::<u32>(&host::slice(&x)?)),
            DType::I64 => f(raw::<i64>(&host::slice(&x)?)),
            DType::F16 => f(raw::<f16>(&host::slice(&x)?)),
            DType::BF16 => f(raw::<bf16>(&host::slice(&x)?)),
            DType::F32 => f(raw::<f32>(&host::slice(&x)?)),
            DType::F64 => f(raw::<f64>(&host::slice(&x)?)),
            other => bail!("there are no bytes of {other:?}"),
        })
    }
}

/// CPU kernel of [`contiguous`].
fn copy_cpu<T: Blas>(x: &Array) -> Result<Array> {
    let (dims, strides) = (x.dims(), x.stride());
    let plain = || Contiguous { x: x.clone() }.reference();
    let (Some(width), Some(step)) = (dims.last().copied(), strides.last().copied()) else {
        return plain();
    };
    if x.elem_count() == 0 {
        return plain();
    }
    let outer = dims.len() - 1;
    let (source, start) = host::strided::<T>(x)?;
    let source: &[T] = &source;
    let count = rows_per_piece(width);
    let transposed = step > 1 && strides[..outer].last() == Some(&1);
    let y = build_zeroed(x.elem_count(), count * width, |piece, mut y: &mut [T]| {
        let mut cursor = RowCursor::new(&dims[..outer], &strides[..outer], piece * count);
        while !y.is_empty() {
            let from = &source[start + cursor.offset..];
            let rows = if transposed { cursor.left().min(y.len() / width) } else { 1 };
            let (now, rest) = y.split_at_mut(rows * width);
            match step {
                1 => now.copy_from_slice(&from[..width]),
                0 => now.fill(from[0]),
                _ if transposed => T::transpose(now, width, from, step, (width, rows)),
                _ => now.iter_mut().zip(from.iter().step_by(step)).for_each(|(y, x)| *y = *x),
            }
            cursor.advance_by(rows);
            y = rest;
        }
    })?;
    host::array(y, dims)
}

/// The current row of a strided array, over all axes but the last: its index along each axis, and
/// its offset.
pub(crate) struct RowCursor<'a> {
    dims: &'a [usize],
    strides: &'a [usize],
    index: Vec<usize>,
    /// Offset of the row from the start of the array.
    pub offset: usize,
}

impl<'a> RowCursor<'a> {
    /// Starts at row `row`, counted in row-major order.
    pub fn new(dims: &'a [usize], strides: &'a [usize], row: usize) -> Self {
        let mut rest = row;
        let mut index = vec![0; dims.len()];
        for (at, dim) in index.iter_mut().zip(dims).rev() {
            (*at, rest) = (rest % dim, rest / dim);
        }
        let offset = index.iter().zip(strides).map(|(at, stride)| at * stride).sum();
        Self { dims, strides, index, offset }
    }

    /// The number of rows until the end of the last of these axes.
    fn left(&self) -> usize {
        self.dims.last().zip(self.index.last()).map_or(1, |(dim, at)| dim - at)
    }

    /// Moves to the next row; after the last row, to the first.
    pub fn advance(&mut self) {
        self.advance_by(1);
    }

    /// Moves by `rows`, at most [to the end](Self::left) of the last axis.
    fn advance_by(&mut self, mut rows: usize) {
        for axis in (0..self.dims.len()).rev() {
            self.index[axis] += rows;
            self.offset += rows * self.strides[axis];
            rows = 1;
            if self.index[axis] < self.dims[axis] {
                return;
            }
            self.offset -= self.dims[axis] * self.strides[axis];
            self.index[axis] = 0;
        }
    }
}

/// The values of a CPU array as bytes, in row-major order; `bytes` converts each value.
pub fn bytes<T: Element, const N: usize>(
    array: &Array,
    bytes: impl Fn(T) -> [u8; N],
) -> Result<Vec<u8>> {
    let array = contiguous(array)?;
    let values = host::slice::<T>(&array)?;
    let mut all = alloc::filled(0u8, values.len().saturating_mul(N))?;
    all.chunks_exact_mut(N).zip(values.iter()).for_each(|(to, x)| to.copy_from_slice(&bytes(*x)));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_matches_reference, on_device};

    #[test]
    fn equals_the_reference() {
        assert_matches_reference::<Contiguous>(0.0);
        for Contiguous { x } in Contiguous::cases() {
            // views become contiguous on their way to a GPU, hence another one there
            for x in [on_device(&x).t().unwrap(), on_device(&x)] {
                assert!(run(&Contiguous { x }).unwrap().is_contiguous());
            }
        }
    }
}
