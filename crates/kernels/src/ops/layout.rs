//! Copies of views into row-major order, shared over threads.
//!
//! Heads that were split, parts of an axis and the like are views whose last axis is whole: rows of memory, copied one by one. Where the axis before
//! the last is whole (transposed matrices, patches of an image), its lines are turned. Of others the rows are gathered.

use crate::host::gemm::blas::Blas;
use crate::host::parallel::{computed, rows_per_piece};
use crate::host::{self, dispatch};
use crate::memory::alloc;
use crate::{Array, Result};
use candle_core::WithDType;

/// The copy on candle's own operations.
pub fn reference(x: &Array) -> Result<Array> {
    crate::memory::alloc::check_like(x, x.dtype(), 1)?;
    x.contiguous()
}

/// A view of `length` entries of `axis` from `start` on. One without elements has memory of its own:
/// candle would look past the end of the storage, which holds nothing either.
#[allow(clippy::disallowed_methods)]
pub fn narrow(x: &Array, axis: usize, start: usize, length: usize) -> Result<Array> {
    let y = x.narrow(axis, start, length)?;
    if y.elem_count() > 0 {
        return Ok(y);
    }
    Array::zeros(y.dims(), y.dtype(), y.device())
}

/// `x` itself where it is in row-major order, else a copy that is.
pub fn contiguous(x: &Array) -> Result<Array> {
    if x.is_contiguous() {
        return Ok(x.clone());
    }
    dispatch!(x, T => copied::<T>(x), else reference(x))
}

fn copied<T: Blas>(x: &Array) -> Result<Array> {
    let (dims, strides) = (x.dims(), x.stride());
    let (Some(width), Some(step)) = (dims.last().copied(), strides.last().copied()) else {
        return reference(x);
    };
    if x.elem_count() == 0 {
        return reference(x);
    }
    let outer = dims.len() - 1;
    let (source, start) = host::strided::<T>(x)?;
    let source: &[T] = &source;
    let count = rows_per_piece(width);
    let turned = step > 1 && strides[..outer].last() == Some(&1);
    let y = computed(x.elem_count(), count * width, |piece, mut y: &mut [T]| {
        let mut place = Place::new(&dims[..outer], &strides[..outer], piece * count);
        while !y.is_empty() {
            let from = &source[start + place.offset..];
            let rows = if turned { place.left().min(y.len() / width) } else { 1 };
            let (now, rest) = y.split_at_mut(rows * width);
            match step {
                1 => now.copy_from_slice(&from[..width]),
                0 => now.fill(from[0]),
                _ if turned => T::turn(now, width, from, step, (width, rows)),
                _ => now.iter_mut().zip(from.iter().step_by(step)).for_each(|(y, x)| *y = *x),
            }
            place.advance_by(rows);
            y = rest;
        }
    })?;
    host::array(y, dims)
}

/// A row of a strided array: its index along each axis, and its offset.
pub(crate) struct Place<'a> {
    dims: &'a [usize],
    strides: &'a [usize],
    index: Vec<usize>,
    pub offset: usize,
}

impl<'a> Place<'a> {
    pub fn new(dims: &'a [usize], strides: &'a [usize], row: usize) -> Self {
        let mut rest = row;
        let mut index = vec![0; dims.len()];
        for (at, dim) in index.iter_mut().zip(dims).rev() {
            (*at, rest) = (rest % dim, rest / dim);
        }
        let offset = index.iter().zip(strides).map(|(at, stride)| at * stride).sum();
        Self { dims, strides, index, offset }
    }

    /// Rows until the end of the last axis.
    fn left(&self) -> usize {
        self.dims.last().zip(self.index.last()).map_or(1, |(dim, at)| dim - at)
    }

    /// To the next row; behind the last one, to the first.
    pub fn advance(&mut self) {
        self.advance_by(1);
    }

    /// Some rows on, at most to the [end](Self::left) of the last axis.
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

/// The values of a CPU array in row-major order, each as the bytes that `bytes` makes of it.
pub fn bytes<T: WithDType, const N: usize>(array: &Array, bytes: impl Fn(T) -> [u8; N]) -> Result<Vec<u8>> {
    let array = contiguous(array)?;
    let values = host::slice::<T>(&array)?;
    let mut all = alloc::filled(0u8, values.len().saturating_mul(N))?;
    all.chunks_exact_mut(N).zip(values.iter()).for_each(|(to, x)| to.copy_from_slice(&bytes(*x)));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::normal;

    #[test]
    fn every_view_is_copied_as_candle_does() {
        let x = normal(&[3, 50, 6, 40], 1);
        let views = [
            x.clone(),
            x.transpose(1, 2).unwrap(),
            x.transpose(2, 3).unwrap(),
            x.narrow(3, 7, 20).unwrap(),
            x.narrow(1, 1, 1).unwrap().broadcast_as((3, 50, 6, 40)).unwrap(),
            x.permute([2, 0, 1, 3]).unwrap().narrow(0, 2, 3).unwrap(),
            x.permute([3, 1, 0, 2]).unwrap(),
            x.permute([1, 0, 3, 2]).unwrap(),
            x.narrow(2, 1, 3).unwrap().permute([1, 3, 0, 2]).unwrap(),
            x.reshape((450, 80)).unwrap().t().unwrap(),
            x.reshape((9000, 4)).unwrap().t().unwrap(),
            x.reshape((4, 9000)).unwrap().t().unwrap(),
            x.reshape((5, 3, 30, 2, 40)).unwrap().permute([0, 2, 4, 3, 1]).unwrap(),
            x.narrow(3, 5, 1).unwrap().broadcast_as((3, 50, 6, 40)).unwrap(),
            x.narrow(0, 1, 1).unwrap().permute([1, 2, 3, 0]).unwrap(),
            x.narrow(0, 0, 0).unwrap(),
        ];
        for view in views {
            let (got, want) = (contiguous(&view).unwrap(), reference(&view).unwrap());
            assert!(got.is_contiguous());
            let values = |a: &Array| a.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!((got.dims(), values(&got)), (want.dims(), values(&want)));
        }
    }
}
