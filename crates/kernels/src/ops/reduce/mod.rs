//! Sums along axes.
//!
//! As in PyTorch, sums of integers and booleans are i64. Half-precision numbers are accumulated in
//! f32.

mod axes;
#[cfg(feature = "cuda")]
mod cuda;

pub(crate) use axes::{groups, split};

#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::host::parallel::{build_zeroed, map, nth_chunk, rows_per_piece, PIECE};
use crate::host::simd::sum_by;
use crate::host::{self, Real};
use crate::kernel::{arrays, run, Kernel};
use crate::memory::alloc;
use crate::ops::layout::contiguous;
use crate::{Array, DType, Element, Result};
use std::borrow::Cow;
#[cfg(feature = "cuda")]
use std::sync::Arc;

/// Kernel of [`sum`].
#[derive(Clone)]
struct Sum {
    x: Array,
    axes: Vec<usize>,
}

arrays!(Sum { x });

impl Kernel for Sum {
    const NAME: &'static str = "sum";
    type Out = Array;

    fn check(&self) -> Result<()> {
        match self.axes.iter().find(|axis| **axis >= self.x.rank()) {
            Some(axis) => bail!("there is no axis {axis} in shape {:?}", self.x.dims()),
            None => Ok(()),
        }
    }

    fn reference(&self) -> Result<Array> {
        let (x, axes) = (self.x.host()?, self.axes.as_slice());
        let y = match x.dtype() {
            DType::F16 | DType::BF16 => {
                x.to_dtype(DType::F32)?.sum_keepdim(axes)?.to_dtype(x.dtype())?
            }
            dtype if dtype.is_float() => x.sum_keepdim(axes)?,
            _ => x.to_dtype(DType::I64)?.sum_keepdim(axes)?,
        };
        Ok(y.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        by_axes::<T>(&self.x, &self.axes, sum_axis)
    }

    fn cpu_other<T: Element>(&self) -> Option<Result<Array>> {
        let Self { x, axes } = self;
        Some(match T::DTYPE {
            DType::U8 => sum_integers::<u8>(x, axes),
            DType::U32 => sum_integers::<u32>(x, axes),
            DType::I64 => sum_integers::<i64>(x, axes),
            DType::F16 | DType::BF16 => sum_in_f32(x, axes),
            _ => return None,
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        cuda::sum(&self.x, &self.axes, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let cases: [(&[usize], &[usize]); 15] = [
            (&[2, 3, 5], &[2]),
            (&[2, 3, 5], &[1]),
            (&[2, 3, 5], &[0]),
            (&[2, 3, 5], &[0, 2]),
            (&[2, 3, 5], &[2, 1, 0]),
            (&[2, 3, 5], &[]),
            (&[4, 1, 6], &[1, 2]),
            (&[8, 65, 512], &[1]),
            (&[2, 3, 4, 5, 6], &[1, 3]),
            (&[3, 20_000], &[1]),
            (&[20_000, 3], &[0]),
            (&[8, 9000], &[0]),
            (&[3, 8, 9000], &[1]),
            (&[700, 3, 2], &[1]),
            (&[2, 0, 3], &[1]),
        ];
        cases
            .map(|(dims, axes)| Self { x: crate::testing::normal64(dims, 1), axes: axes.into() })
            .into()
    }
}

/// Computes the sum of `x` over `axes`, each of which is kept with size 1. No axis may be given
/// twice.
///
/// # Errors
/// If an axis does not exist.
pub fn sum(x: &Array, axes: &[usize]) -> Result<Array> {
    run(&Sum { x: x.clone(), axes: axes.into() })
}

impl Array {
    /// Computes the sum of all elements, a scalar.
    pub fn sum_all(&self) -> Result<Self> {
        sum(self, &(0..self.rank()).collect::<Vec<_>>())?.reshape(())
    }
}

/// Sums half-precision numbers in f32: an accumulator in half precision would soon stop growing.
fn sum_in_f32(x: &Array, axes: &[usize]) -> Result<Array> {
    by_axes::<f32>(&x.to_dtype(DType::F32)?, axes, sum_axis)?.to_dtype(x.dtype())
}

/// Reduces values of shape (outer, count, inner) over the middle axis.
pub(crate) type ReduceAxis<T> = fn(&[T], (usize, usize, usize)) -> Result<Vec<T>>;

/// Reduces `x` over `axes` by `reduce_axis`, one group of adjacent axes after another.
pub(crate) fn by_axes<T: Element>(
    x: &Array,
    axes: &[usize],
    reduce_axis: ReduceAxis<T>,
) -> Result<Array> {
    let mut dims = x.dims().to_vec();
    let x = contiguous(x)?;
    let xs = host::slice::<T>(&x)?;
    let mut values = Cow::Borrowed(&xs[..]);
    for range in groups(&dims, axes) {
        values = Cow::Owned(reduce_axis(&values, split(&dims, &range))?);
        dims[range].fill(1);
    }
    host::array(values.into_owned(), dims)
}

/// Sums integers. On overflow of 64 bits the sum wraps, as in PyTorch.
fn sum_integers<T: Integer>(x: &Array, axes: &[usize]) -> Result<Array> {
    let mut dims = x.dims().to_vec();
    let x = contiguous(x)?;
    let xs = host::slice::<T>(&x)?;
    let mut groups = groups(&dims, axes).into_iter();
    let Some(first) = groups.next() else {
        return x.to_dtype(DType::I64);
    };
    let mut values = sum_axis_to_i64(&xs, split(&dims, &first));
    dims[first].fill(1);
    for range in groups {
        values = sum_axis_to_i64(&values, split(&dims, &range));
        dims[range].fill(1);
    }
    host::array(values, dims)
}

/// Integer types that can be summed.
trait Integer: Element {
    /// Converts the number to i64.
    fn to_i64(self) -> i64;
}

macro_rules! integer_types {
    ($($type:ty),*) => { $(impl Integer for $type {
        #[inline(always)]
        fn to_i64(self) -> i64 {
            self as i64
        }
    })* };
}
integer_types!(u8, u32, i64);

/// Sums integers of shape (outer, count, inner) over the middle axis.
fn sum_axis_to_i64<T: Integer>(xs: &[T], (outer, count, inner): (usize, usize, usize)) -> Vec<i64> {
    let sum = |i: usize| {
        let (block, column) = (nth_chunk(xs, i / inner, count * inner), i % inner);
        block.iter().skip(column).step_by(inner).fold(0i64, |sum, x| sum.wrapping_add(x.to_i64()))
    };
    if inner == 1 {
        let row = |i: usize| {
            nth_chunk(xs, i, count).iter().fold(0i64, |sum, x| sum.wrapping_add(x.to_i64()))
        };
        return map(outer, rows_per_piece(count), row);
    }
    map(outer * inner, rows_per_piece(count), sum)
}

/// Sums numbers of shape (outer, count, inner) over the middle axis.
fn sum_axis<T: Real>(xs: &[T], (outer, count, inner): (usize, usize, usize)) -> Result<Vec<T>> {
    alloc::check(&[outer, inner], T::DTYPE)?;
    if inner == 1 {
        let sums = map(outer, rows_per_piece(count), |row| sum_row(nth_chunk(xs, row, count)));
        return Ok(sums);
    }
    if outer == 1 && inner < PIECE {
        return Ok(column_sums(xs, inner));
    }
    let size = (PIECE / count.max(1)).max(64);
    build_zeroed(outer * inner, size, |piece, mut sums: &mut [T]| {
        let mut at = piece * size;
        while !sums.is_empty() {
            let (block, first) = (nth_chunk(xs, at / inner, count * inner), at % inner);
            let (now, rest) = sums.split_at_mut(sums.len().min(inner - first));
            block.chunks_exact(inner).for_each(|row| add_assign(now, &row[first..][..now.len()]));
            at += now.len();
            sums = rest;
        }
    })
}

/// Sums a row as a tree of short sums, so that a long sum is as accurate as a short one, and is
/// distributed over threads.
fn sum_row<T: Real>(row: &[T]) -> T {
    const FEW: usize = 1024;
    if row.len() <= FEW {
        return sum_by(row, |x| x);
    }
    sum_row(&map(row.len().div_ceil(FEW), PIECE / FEW, |i| sum_by(nth_chunk(row, i, FEW), |x| x)))
}

/// Sums rows of `width` numbers over the rows.
pub(crate) fn column_sums<T: Real>(rows: &[T], width: usize) -> Vec<T> {
    // Partial sums of fixed blocks of rows, so that the result does not depend on the number of
    // threads.
    let block = rows_per_piece(width) * width;
    let sum = |piece: usize| {
        let mut sum = vec![T::ZERO; width];
        nth_chunk(rows, piece, block)
            .chunks_exact(width.max(1))
            .for_each(|row| add_assign(&mut sum, row));
        sum
    };
    sum_vectors(map(rows.len().div_ceil(block.max(1)), 1, sum), width)
}

/// Adds vectors of `width` numbers, in order.
pub(crate) fn sum_vectors<T: Real>(vectors: Vec<Vec<T>>, width: usize) -> Vec<T> {
    let mut total = vec![T::ZERO; width];
    vectors.iter().for_each(|v| add_assign(&mut total, v));
    total
}

/// Adds `xs` to `sum`, element by element.
pub(crate) fn add_assign<T: Real>(sum: &mut [T], xs: &[T]) {
    sum.iter_mut().zip(xs).for_each(|(s, x)| *s += *x);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        assert_close, assert_matches_reference, device, normal, on_device, reference,
    };

    #[test]
    fn equals_the_reference() {
        assert_matches_reference::<Sum>(1e-4);
        assert!(sum(&on_device(&normal(&[40, 30], 3)), &[2]).is_err());
    }

    fn plain(x: &Array, axes: &[usize]) -> Array {
        reference(&Sum { x: x.clone(), axes: axes.into() })
    }

    #[test]
    fn integers_are_summed_in_64_bits() {
        let axes: [&[usize]; 6] = [&[0], &[1], &[2], &[0, 2], &[0, 1, 2], &[]];
        for dtype in [DType::U8, DType::U32, DType::I64] {
            let x = Array::full(200u8, (3, 70, 5), &device()).unwrap().to_dtype(dtype).unwrap();
            for axes in axes {
                let (got, want) = (sum(&x, axes).unwrap(), plain(&x, axes));
                assert_eq!((got.dtype(), got.dims()), (DType::I64, want.dims()));
                let values = |a: &Array| a.flatten_all().unwrap().to_vec1::<i64>().unwrap();
                assert_eq!(values(&got), values(&want));
                let count: i64 = axes.iter().map(|a| x.dims()[*a] as i64).product();
                assert!(values(&got).iter().all(|v| *v == 200 * count));
            }
        }
        let none = Array::zeros((2, 0), DType::U8, &device()).unwrap();
        assert_eq!(
            sum(&none, &[1]).unwrap().flatten_all().unwrap().to_vec1::<i64>().unwrap(),
            [0, 0]
        );
    }

    #[test]
    fn half_precision_is_summed_in_f32() {
        for dtype in [DType::F16, DType::BF16] {
            let x = Array::ones((4096, 3), dtype, &device()).unwrap();
            for x in [x.clone(), x.t().unwrap().copy().unwrap().t().unwrap()] {
                assert_close(&sum(&x, &[0]).unwrap(), &plain(&x, &[0]), 0.0);
                assert_eq!(crate::testing::values(&sum(&x, &[0]).unwrap()), [4096.0; 3]);
                assert_eq!(sum(&x, &[0]).unwrap().dtype(), dtype);
            }
        }
    }

    /// A plain running sum of these numbers in f32 would be 1,087,937.
    #[test]
    fn a_long_sum_is_as_exact_as_a_short_one() {
        let x = Array::full(0.1f32, 10_000_000, &device()).unwrap();
        let total = sum(&x, &[0]).unwrap().to_vec1::<f32>().unwrap()[0];
        assert!((total - 1e6).abs() < 3.0, "{total}");
    }
}
