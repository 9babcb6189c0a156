//! Maximum and minimum along axes, and the position of the maximum.
//!
//! NaN propagates, as in PyTorch: if a value is NaN, maximum and minimum are NaN, and argmax is the
//! position of the first NaN.

use crate::array::HostArray;
use crate::error::bail;
use crate::host;
use crate::host::gemm::blas::Blas;
use crate::host::parallel::{assume_init_mut, build_uninit, map, nth_chunk, rows_per_piece, PIECE};
use crate::kernel::{arrays, no_cuda, run, Kernel};
use crate::ops::elementwise::is_nan;
use crate::ops::layout::contiguous;
use crate::ops::reduce::by_axes;
use crate::{Array, DType, Element, Result};
use std::mem::MaybeUninit;
use xt_macros::simd;

/// The kinds of extreme value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extreme {
    /// The maximum.
    Max,
    /// The minimum.
    Min,
}

/// Kernel of [`extreme`].
#[derive(Clone)]
struct Reduce {
    x: Array,
    axes: Vec<usize>,
    kind: Extreme,
}

/// Kernel of [`argmax`].
#[derive(Clone)]
struct ArgMax {
    x: Array,
    axis: usize,
}

arrays! {
    Reduce { x }
    ArgMax { x }
}

/// Checks that the axes exist and are not empty.
fn check(x: &Array, axes: &[usize]) -> Result<()> {
    match axes.iter().find(|axis| x.dims().get(**axis).is_none_or(|size| *size == 0)) {
        Some(axis) => bail!("axis {axis} of shape {:?} holds nothing", x.dims()),
        None => Ok(()),
    }
}

/// The result for an empty array whose reduced axes are not empty.
fn empty_result(x: &Array, axes: &[usize], dtype: DType) -> Result<Array> {
    let size = |(axis, size): (usize, &usize)| if axes.contains(&axis) { 1 } else { *size };
    Array::zeros(x.dims().iter().enumerate().map(size).collect::<Vec<_>>(), dtype, &x.device())
}

#[cfg(test)]
const SIZES: [(&[usize], &[usize]); 12] = [
    (&[2, 3, 5], &[2]),
    (&[2, 3, 5], &[1]),
    (&[2, 3, 5], &[0]),
    (&[2, 3, 5], &[0, 2]),
    (&[2, 3, 5], &[]),
    (&[4, 1, 6], &[1, 2]),
    (&[2, 3, 4, 5, 6], &[1, 3]),
    (&[3, 20_000], &[1]),
    (&[20_000, 3], &[0]),
    (&[3, 8, 9000], &[1]),
    (&[0, 3], &[1]),
    (&[3, 2, 0], &[1]),
];

/// Numbers with many equal values.
#[cfg(test)]
fn numbers(dims: &[usize]) -> Array {
    crate::testing::map(&crate::testing::normal64(dims, 1), |x| (20.0 * x.abs()).floor())
}

impl Kernel for Reduce {
    const NAME: &'static str = "extreme";
    type Out = Array;

    fn check(&self) -> Result<()> {
        check(&self.x, &self.axes)
    }

    fn reference(&self) -> Result<Array> {
        let (x, kind) = (self.x.host()?, self.kind);
        if x.elem_count() == 0 {
            return empty_result(&self.x, &self.axes, x.dtype());
        }
        let mut y = x.clone();
        // candle ignores NaN.
        let mut missing = x.ne(x)?;
        for axis in &self.axes {
            y = if kind == Extreme::Max { y.max_keepdim(*axis)? } else { y.min_keepdim(*axis)? };
            missing = missing.max_keepdim(*axis)?;
        }
        if !x.dtype().is_float() {
            return Ok(y.into());
        }
        let nan = HostArray::full(f64::NAN, y.shape(), y.device())?.to_dtype(y.dtype())?;
        Ok(missing.where_cond(&nan, &y)?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        self.of::<T>()
    }

    fn cpu_other<T: Element>(&self) -> Option<Result<Array>> {
        Some(self.of::<T>())
    }

    no_cuda!();

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |(dims, axes): (&[usize], &[usize])| {
            [Extreme::Max, Extreme::Min].map(|kind| Self {
                x: numbers(dims),
                axes: axes.into(),
                kind,
            })
        };
        SIZES.into_iter().flat_map(of).collect()
    }
}

impl Reduce {
    /// CPU kernel, for any type.
    fn of<T: Element>(&self) -> Result<Array> {
        let Self { x, axes, kind } = self;
        match kind {
            Extreme::Max => {
                by_axes::<T>(x, axes, |xs, dims| extreme_axis(xs, dims, row_max, larger))
            }
            Extreme::Min => {
                by_axes::<T>(x, axes, |xs, dims| extreme_axis(xs, dims, row_min, smaller))
            }
        }
    }
}

impl Kernel for ArgMax {
    const NAME: &'static str = "argmax";
    type Out = Array;

    fn check(&self) -> Result<()> {
        check(&self.x, &[self.axis])
    }

    fn reference(&self) -> Result<Array> {
        let (x, axis) = (self.x.host()?, self.axis);
        if x.elem_count() == 0 {
            return empty_result(&self.x, &[axis], DType::I64);
        }
        let missing = x.ne(x)?;
        let first = missing.argmax_keepdim(axis)?;
        Ok(missing
            .max_keepdim(axis)?
            .where_cond(&first, &x.argmax_keepdim(axis)?)?
            .to_dtype(DType::I64)?
            .into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        self.of::<T>()
    }

    fn cpu_other<T: Element>(&self) -> Option<Result<Array>> {
        Some(self.of::<T>())
    }

    no_cuda!();

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let one = |(dims, axes): (&[usize], &[usize])| match axes {
            [axis] => Some(Self { x: numbers(dims), axis: *axis }),
            _ => None,
        };
        SIZES.into_iter().filter_map(one).collect()
    }
}

impl ArgMax {
    /// CPU kernel, for any type.
    fn of<T: Element>(&self) -> Result<Array> {
        let last = self.x.rank() - 1;
        let lines = contiguous(&self.x.transpose(self.axis, last)?)?;
        argmax_last_axis::<T>(&lines)?.transpose(self.axis, last)
    }
}

/// Computes the maximum or minimum of `x` over `axes`, each of which is kept with size 1. No axis
/// may be given twice.
///
/// # Errors
/// If an axis does not exist or is empty.
pub fn extreme(x: &Array, axes: &[usize], kind: Extreme) -> Result<Array> {
    run(&Reduce { x: x.clone(), axes: axes.into(), kind })
}

/// The greater number, or `x` if it is NaN. A NaN in `best` stays.
#[inline(always)]
fn larger<T: Element>(best: T, x: T) -> T {
    if x > best || is_nan(x) {
        x
    } else {
        best
    }
}

/// The smaller number, or `x` if it is NaN. A NaN in `best` stays.
#[inline(always)]
fn smaller<T: Element>(best: T, x: T) -> T {
    if x < best || is_nan(x) {
        x
    } else {
        best
    }
}

/// Number of independent accumulators, so that comparisons do not wait for each other.
const LANES: usize = 32;

/// Reduces a row, which is not empty, by `join`.
#[inline(always)]
fn reduce_row<T: Element>(row: &[T], join: impl Fn(T, T) -> T) -> T {
    let (chunks, rest) = row.as_chunks::<LANES>();
    let mut best = row[0];
    if let [first, others @ ..] = chunks {
        let mut lanes = *first;
        for chunk in others {
            for l in 0..LANES {
                lanes[l] = join(lanes[l], chunk[l]);
            }
        }
        for x in lanes {
            best = join(best, x);
        }
    }
    for x in rest {
        best = join(best, *x);
    }
    best
}

#[simd]
fn row_max<T: Element>(row: &[T]) -> T {
    reduce_row(row, larger)
}

#[simd]
fn row_min<T: Element>(row: &[T]) -> T {
    reduce_row(row, smaller)
}

/// Reduces values of shape (outer, count, inner) over the middle axis, which is not empty.
fn extreme_axis<T: Element>(
    xs: &[T],
    (outer, count, inner): (usize, usize, usize),
    reduce_row: fn(&[T]) -> T,
    join: fn(T, T) -> T,
) -> Result<Vec<T>> {
    if inner == 1 {
        return Ok(map(outer, rows_per_piece(count), |row| {
            reduce_long_row(nth_chunk(xs, row, count), reduce_row)
        }));
    }
    let size = (PIECE / count).max(64);
    let write = |piece: usize, mut ys: &mut [MaybeUninit<T>]| {
        let mut at = piece * size;
        while !ys.is_empty() {
            let (block, first) = (nth_chunk(xs, at / inner, count * inner), at % inner);
            let (now, rest) = ys.split_at_mut(ys.len().min(inner - first));
            let mut rows = block.chunks_exact(inner).map(|row| &row[first..][..now.len()]);
            let top = rows.next().unwrap_or_default();
            now.iter_mut().zip(top).for_each(|(y, x)| *y = MaybeUninit::new(*x));
            // SAFETY: the line above has written every element, since the first row is as long as
            // `now`.
            let best = unsafe { assume_init_mut(&mut *now) };
            block.chunks_exact(inner).skip(1).for_each(|row| {
                best.iter_mut().zip(&row[first..]).for_each(|(y, x)| *y = join(*y, *x));
            });
            at += best.len();
            ys = rest;
        }
    };
    // SAFETY: `write` fills its piece until it is complete.
    unsafe { build_uninit(outer * inner, size, write) }
}

/// Reduces a row, on several threads if it is long.
fn reduce_long_row<T: Element>(row: &[T], reduce_row: fn(&[T]) -> T) -> T {
    if row.len() <= PIECE {
        return reduce_row(row);
    }
    reduce_long_row(
        &map(row.len().div_ceil(PIECE), 1, |i| reduce_row(nth_chunk(row, i, PIECE))),
        reduce_row,
    )
}

/// Computes the index of the maximum along `axis`, which is kept with size 1, as i64. If several
/// values are equal, the first one counts.
///
/// # Errors
/// If the axis does not exist or is empty.
pub fn argmax(x: &Array, axis: usize) -> Result<Array> {
    run(&ArgMax { x: x.clone(), axis })
}

/// Computes the index of the maximum along the last axis; `x` is contiguous.
fn argmax_last_axis<T: Element>(x: &Array) -> Result<Array> {
    let (rows, width) = host::rows_and_width(x);
    let xs = host::slice::<T>(x)?;
    let xs: &[T] = &xs;
    let index = |row: usize| {
        let row = nth_chunk(xs, row, width);
        let top = reduce_long_row(row, row_max);
        row.iter().position(|x| *x == top || is_nan(*x)).unwrap_or(0) as i64
    };
    let indices = map(rows, rows_per_piece(width), index);
    let mut dims = x.dims().to_vec();
    dims[x.rank() - 1] = 1;
    host::array(indices, dims)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_matches_reference, normal};
    use crate::Device;

    const TYPES: [DType; 7] =
        [DType::F32, DType::F64, DType::F16, DType::BF16, DType::I64, DType::U32, DType::U8];
    const BOTH: [Extreme; 2] = [Extreme::Max, Extreme::Min];

    /// The bits of each value, with one pattern for all NaN, so that NaN equals itself.
    fn bits(x: &Array) -> Vec<u64> {
        crate::testing::values(x)
            .into_iter()
            .map(|x| if x.is_nan() { 1 } else { x.to_bits() })
            .collect()
    }

    fn same(x: &Array, axes: &[usize]) {
        for kind in BOTH {
            let (got, want) = (extreme(x, axes, kind).unwrap(), reference(x, axes, kind).unwrap());
            assert_eq!((got.dims(), got.dtype()), (want.dims(), x.dtype()));
            assert_eq!(bits(&got), bits(&want), "{kind:?} of {:?} over {axes:?}", x.dims());
        }
        if let [axis] = axes {
            let (got, want) = (argmax(x, *axis).unwrap(), argmax_reference(x, *axis).unwrap());
            assert_eq!((got.dims(), got.dtype()), (want.dims(), DType::I64));
            assert_eq!(bits(&got), bits(&want), "argmax of {:?} over {axes:?}", x.dims());
        }
    }

    fn reference(x: &Array, axes: &[usize], kind: Extreme) -> Result<Array> {
        let kernel = Reduce { x: x.clone(), axes: axes.into(), kind };
        kernel.check()?;
        kernel.reference()
    }

    fn argmax_reference(x: &Array, axis: usize) -> Result<Array> {
        let kernel = ArgMax { x: x.clone(), axis };
        kernel.check()?;
        kernel.reference()
    }

    #[test]
    fn equals_the_reference() {
        assert_matches_reference::<Reduce>(0.0);
        assert_matches_reference::<ArgMax>(0.0);
        for dtype in TYPES {
            for (dims, axes) in SIZES {
                same(&numbers(dims).to_dtype(dtype).unwrap(), axes);
            }
        }
    }

    #[test]
    fn nan_goes_on_from_every_place() {
        for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
            for length in 1..=70 {
                for at in 0..length {
                    let mut values = crate::testing::values(&normal(&[length], 2));
                    values[at] = f64::NAN;
                    let row = Array::from_vec(values, length, &Device::Cpu)
                        .unwrap()
                        .to_dtype(dtype)
                        .unwrap();
                    let three = Array::stack(&[&row, &row, &row], 1).unwrap();
                    for (x, axis) in [(&row, 0), (&three, 0), (&three.t().unwrap(), 1)] {
                        for kind in BOTH {
                            let y = extreme(x, &[axis], kind).unwrap();
                            assert!(
                                crate::testing::values(&y).iter().all(|y| y.is_nan()),
                                "{length}, {at}"
                            );
                        }
                        let indices = argmax(x, axis)
                            .unwrap()
                            .flatten_all()
                            .unwrap()
                            .to_vec1::<i64>()
                            .unwrap();
                        assert!(indices.iter().all(|index| *index == at as i64), "{length}, {at}");
                        same(x, &[axis]);
                    }
                }
            }
        }
    }

    #[test]
    fn infinities_are_values_and_the_first_of_equal_ones_is_named() {
        let x = Array::new(&[f32::NEG_INFINITY; 40], &Device::Cpu).unwrap();
        assert_eq!(
            extreme(&x, &[0], Extreme::Max).unwrap().to_vec1::<f32>().unwrap(),
            [f32::NEG_INFINITY]
        );
        let x = Array::new(&[1.0f32, f32::INFINITY, f32::NAN, f32::NAN], &Device::Cpu).unwrap();
        assert_eq!(argmax(&x, 0).unwrap().to_vec1::<i64>().unwrap(), [2]);
        let x = Array::new(&[1i64, 7, 7], &Device::Cpu).unwrap();
        assert_eq!(argmax(&x, 0).unwrap().to_vec1::<i64>().unwrap(), [1]);
    }

    #[test]
    fn of_nothing_there_is_none() {
        let x = normal(&[2, 0], 1);
        for kind in BOTH {
            assert!(extreme(&x, &[1], kind).is_err() && extreme(&x, &[2], kind).is_err());
            assert!(reference(&x, &[1], kind).is_err());
        }
        assert!(argmax(&x, 1).is_err() && argmax_reference(&x, 1).is_err());
    }
}
