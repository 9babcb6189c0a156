//! Element-wise operations with broadcasting, distributed over threads.

use crate::array::HostArray;
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::host::parallel::{build_uninit, nth_chunk, PIECE};
use crate::host::simd::has_fma;
use crate::host::{self, Real};
use crate::kernel::{arrays, no_cuda, run, Kernel};
use crate::ops::layout::{contiguous, RowCursor};
use crate::{Array, Element, Result, Shape};
use std::mem::MaybeUninit;
use xt_macros::simd;

/// Functions of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a · b`.
    Mul,
    /// `a / b`.
    Div,
    /// The greater one; NaN if one of them is NaN.
    Max,
    /// The smaller one; NaN if one of them is NaN.
    Min,
}

/// Functions of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unary {
    /// `-x`.
    Neg,
    /// The absolute value.
    Abs,
    /// The sign: -1, 0 or 1.
    Sign,
    /// `x²`.
    Square,
    /// The square root.
    Sqrt,
    /// The exponential function.
    Exp,
    /// The natural logarithm.
    Log,
    /// The hyperbolic tangent.
    Tanh,
}

/// Returns `y` if `second`, `x` if `first`, and NaN if both comparisons are false. A plain select
/// between `x` and `y` would be compiled to `relaxed_max` of WebAssembly relaxed SIMD, which may
/// lose NaN.
#[inline(always)]
fn ordered<T: Copy + std::ops::Add<Output = T>>(second: bool, first: bool, x: T, y: T) -> T {
    if second {
        y
    } else if first {
        x
    } else {
        x + y
    }
}

/// Whether `x` is NaN; false for integers.
#[inline(always)]
#[allow(clippy::eq_op)]
pub(crate) fn is_nan<T: PartialEq>(x: T) -> bool {
    x != x
}

/// Kernel of [`binary`].
#[derive(Clone)]
struct BinaryKernel {
    a: Array,
    b: Array,
    op: Binary,
}

arrays!(BinaryKernel { a, b });

impl BinaryKernel {
    /// The broadcast shape of the operands.
    fn dims(&self) -> Result<Shape> {
        if self.a.dims() == self.b.dims() {
            return Ok(self.a.shape().clone());
        }
        Ok(self.a.shape().broadcast_shape_binary_op(self.b.shape(), "broadcast")?)
    }

    /// CPU kernel, for any type.
    fn of<T: Element>(&self) -> Result<Array> {
        let Self { a, b, op } = self;
        match op {
            Binary::Add => broadcast::<T>(a, b, |x, y| x + y),
            Binary::Sub => broadcast::<T>(a, b, |x, y| x - y),
            Binary::Mul => broadcast::<T>(a, b, |x, y| x * y),
            Binary::Div => broadcast::<T>(a, b, |x, y| x / y),
            Binary::Max => broadcast::<T>(a, b, |x, y| ordered(x < y, x >= y, x, y)),
            Binary::Min => broadcast::<T>(a, b, |x, y| ordered(x > y, x <= y, x, y)),
        }
    }
}

impl Kernel for BinaryKernel {
    const NAME: &'static str = "binary";
    type Out = Array;

    fn check(&self) -> Result<()> {
        if self.a.dtype() != self.b.dtype() {
            bail!("types {:?} and {:?} differ", self.a.dtype(), self.b.dtype());
        }
        self.dims().map(|_| ())
    }

    fn reference(&self) -> Result<Array> {
        let (a, b) = (self.a.host()?, self.b.host()?);
        let y = match self.op {
            Binary::Add => a.broadcast_add(b)?,
            Binary::Sub => a.broadcast_sub(b)?,
            Binary::Mul => a.broadcast_mul(b)?,
            Binary::Div => a.broadcast_div(b)?,
            Binary::Max => select(a, b, |x, y| x.lt(y))?,
            Binary::Min => select(a, b, |x, y| x.gt(y))?,
        };
        Ok(y.into())
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
        let shapes: [(&[usize], &[usize]); 14] = [
            (&[7, 500], &[7, 500]),
            (&[2, 3, 5], &[5]),
            (&[2, 3, 5], &[3, 1]),
            (&[2, 1, 5], &[3, 1]),
            (&[4, 1], &[1, 6]),
            (&[], &[3, 4]),
            (&[1, 1], &[1]),
            (&[1], &[100_000]),
            (&[3, 70, 130], &[1, 70, 130]),
            (&[3, 1, 130], &[3, 70, 1]),
            (&[2, 5, 40, 40], &[5, 1, 1]),
            (&[20_000], &[2, 1]),
            (&[0, 3], &[3]),
            (&[40, 30], &[40, 1]),
        ];
        let all = [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Max, Binary::Min];
        let both = |(one, other): (&[usize], &[usize])| {
            // Divisors that are not close to 0.
            let b = crate::testing::normal64(other, 2);
            let b = crate::testing::map(&b, |x| x + x.signum());
            let a = crate::testing::normal64(one, 1);
            all.map(|op| {
                [
                    Self { a: a.clone(), b: b.clone(), op },
                    Self { a: b.clone(), b: crate::testing::map(&a, |x| x + x.signum()), op },
                ]
            })
        };
        shapes.into_iter().flat_map(both).flatten().collect()
    }
}

/// `b` where it wins over `a` or is NaN, otherwise `a`.
fn select(
    a: &HostArray,
    b: &HostArray,
    wins: impl Fn(&HostArray, &HostArray) -> candle_core::Result<HostArray>,
) -> candle_core::Result<HostArray> {
    let dims = a.shape().broadcast_shape_binary_op(b.shape(), "broadcast")?;
    let (a, b) = (a.broadcast_as(&dims)?, b.broadcast_as(&dims)?);
    wins(&a, &b)?.maximum(&b.ne(&b)?)?.where_cond(&b, &a)
}

/// Applies `op` to `a` and `b` element by element, with broadcasting. The operands must have the
/// same type.
///
/// # Errors
/// If the types differ, or the shapes cannot be broadcast.
pub fn binary(a: &Array, b: &Array, op: Binary) -> Result<Array> {
    run(&BinaryKernel { a: a.clone(), b: b.clone(), op })
}

/// Computes `a + b` with broadcasting.
pub fn add(a: &Array, b: &Array) -> Result<Array> {
    binary(a, b, Binary::Add)
}

/// Computes `a - b` with broadcasting.
pub fn sub(a: &Array, b: &Array) -> Result<Array> {
    binary(a, b, Binary::Sub)
}

/// Computes `a · b` element by element, with broadcasting.
pub fn mul(a: &Array, b: &Array) -> Result<Array> {
    binary(a, b, Binary::Mul)
}

/// Computes `a / b` element by element, with broadcasting.
pub fn div(a: &Array, b: &Array) -> Result<Array> {
    binary(a, b, Binary::Div)
}

/// Kernel of [`unary`].
#[derive(Clone)]
struct UnaryKernel {
    x: Array,
    op: Unary,
}

arrays!(UnaryKernel { x });

impl Kernel for UnaryKernel {
    const NAME: &'static str = "unary";
    type Out = Array;

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn reference(&self) -> Result<Array> {
        let x = self.x.host()?;
        let y = match self.op {
            Unary::Neg => x.neg()?,
            Unary::Abs => x.abs()?,
            Unary::Sign => x.sign()?,
            Unary::Square => x.sqr()?,
            Unary::Sqrt => x.sqrt()?,
            Unary::Exp => x.exp()?,
            Unary::Log => x.log()?,
            Unary::Tanh => x.tanh()?,
        };
        Ok(y.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        let x = &self.x;
        match self.op {
            Unary::Neg => map_each::<T>(x, |x| -x),
            Unary::Abs => map_each::<T>(x, Real::abs),
            Unary::Sign => map_each::<T>(x, sign),
            Unary::Square => map_each::<T>(x, |x| x * x),
            Unary::Sqrt => map_each::<T>(x, Real::sqrt),
            // SAFETY: `exponentials` writes an output for each input.
            Unary::Exp => unsafe { map::<T>(x, exponentials) },
            Unary::Log => map_each::<T>(x, Real::ln),
            Unary::Tanh => map_each::<T>(x, Real::tanh),
        }
    }

    no_cuda!();

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let any = [Unary::Neg, Unary::Abs, Unary::Sign, Unary::Square, Unary::Exp, Unary::Tanh];
        let of = |dims: &[usize]| {
            let x = crate::testing::normal64(dims, 2);
            let positive = crate::testing::map(&x, |x| x.abs() + 0.01);
            let roots = [Unary::Sqrt, Unary::Log].map(|op| Self { x: positive.clone(), op });
            any.map(|op| Self { x: x.clone(), op }).into_iter().chain(roots).collect::<Vec<_>>()
        };
        [&[5000, 7][..], &[3, 5], &[], &[0, 2], &[1]].into_iter().flat_map(of).collect()
    }
}

/// -1, 0 or 1; 0 for NaN.
#[inline(always)]
fn sign<T: Real>(x: T) -> T {
    if x > T::ZERO {
        T::ONE
    } else if x < T::ZERO {
        -T::ONE
    } else {
        T::ZERO
    }
}

/// Applies `op` to each element of `x`.
pub fn unary(x: &Array, op: Unary) -> Result<Array> {
    run(&UnaryKernel { x: x.clone(), op })
}

/// Kernel of [`affine`].
#[derive(Clone)]
struct Affine {
    x: Array,
    scale: f64,
    offset: f64,
}

arrays!(Affine { x });

impl Kernel for Affine {
    const NAME: &'static str = "affine";
    type Out = Array;

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn reference(&self) -> Result<Array> {
        Ok(self.x.host()?.affine(self.scale, self.offset)?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        let (scale, offset) = (T::of(self.scale), T::of(self.offset));
        map_each::<T>(&self.x, |x| x * scale + offset)
    }

    no_cuda!();

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |dims: &[usize]| Self {
            x: crate::testing::normal64(dims, 2),
            scale: 0.3,
            offset: -2.0,
        };
        [&[5000, 7][..], &[3, 5], &[], &[0, 2]].map(of).into()
    }
}

/// Computes `x · scale + offset` element by element.
pub fn affine(x: &Array, scale: f64, offset: f64) -> Result<Array> {
    run(&Affine { x: x.clone(), scale, offset })
}

/// Applies `f`, which gets slices of the input and the output, to pieces of `x` on several threads.
///
/// # Safety
/// `f` must write every element of its output, which is as long as its input.
pub(crate) unsafe fn map<T: Real>(
    x: &Array,
    f: impl Fn(&[T], &mut [MaybeUninit<T>]) + Sync,
) -> Result<Array> {
    let x = contiguous(x)?;
    let xs = host::slice::<T>(&x)?;
    let xs: &[T] = &xs;
    // SAFETY: the caller guarantees that `f` writes its whole output.
    let y = unsafe { build_uninit(xs.len(), PIECE, |piece, y| f(nth_chunk(xs, piece, PIECE), y)) }?;
    host::array(y, x.dims())
}

/// Applies `f`, which gets slices of both inputs and the output, to pieces of `a` and `b`, which
/// have the same shape.
///
/// # Safety
/// As for [`map`].
///
/// # Errors
/// If the shapes differ.
pub(crate) unsafe fn zip<T: Element>(
    a: &Array,
    b: &Array,
    f: impl Fn(&[T], &[T], &mut [MaybeUninit<T>]) + Sync,
) -> Result<Array> {
    if a.dims() != b.dims() {
        bail!("shapes {:?} and {:?} differ", a.dims(), b.dims());
    }
    let (a, b) = (contiguous(a)?, contiguous(b)?);
    let (xs, ys) = (host::slice::<T>(&a)?, host::slice::<T>(&b)?);
    let (xs, ys): (&[T], &[T]) = (&xs, &ys);
    // SAFETY: the caller guarantees that `f` writes its whole output.
    let z = unsafe {
        build_uninit(xs.len(), PIECE, |piece, z| {
            f(nth_chunk(xs, piece, PIECE), nth_chunk(ys, piece, PIECE), z)
        })
    }?;
    host::array(z, a.dims())
}

#[simd]
fn exponentials<T: Real>(x: &[T], y: &mut [MaybeUninit<T>]) {
    const FMA: bool = has_fma!();
    for (y, x) in y.iter_mut().zip(x) {
        *y = MaybeUninit::new(x.exp::<FMA>());
    }
}

/// Applies `f` to each element of `x`.
fn map_each<T: Real>(x: &Array, f: impl Fn(T) -> T + Sync) -> Result<Array> {
    // SAFETY: the closure writes an output for each input.
    unsafe { map::<T>(x, |x, y| x.iter().zip(y).for_each(|(x, y)| *y = MaybeUninit::new(f(*x)))) }
}

/// Writes `f(x, y)` for each pair.
fn zip_slices<T: Copy>(xs: &[T], ys: &[T], zs: &mut [MaybeUninit<T>], f: impl Fn(T, T) -> T) {
    for ((z, x), y) in zs.iter_mut().zip(xs).zip(ys) {
        *z = MaybeUninit::new(f(*x, *y));
    }
}

/// Applies `f` to each pair of elements of `a` and `b`, with broadcasting.
fn broadcast<T: Element>(a: &Array, b: &Array, f: impl Fn(T, T) -> T + Sync) -> Result<Array> {
    if a.dims() == b.dims() {
        // SAFETY: `zip_slices` writes an output for each pair of inputs.
        return unsafe { zip::<T>(a, b, |xs, ys, zs| zip_slices(xs, ys, zs, &f)) };
    }
    let dims = a.shape().broadcast_shape_binary_op(b.shape(), "broadcast")?;
    let (a, b) = (contiguous(a)?, contiguous(b)?);
    let axes = Axes::of(&dims, &a, &b)?;
    let (xs, ys) = (host::slice::<T>(&a)?, host::slice::<T>(&b)?);
    let (xs, ys): (&[T], &[T]) = (&xs, &ys);
    // SAFETY: `write_piece` fills the piece row by row until it is complete.
    let z = unsafe {
        build_uninit(dims.elem_count(), PIECE, |piece, zs| {
            axes.write_piece((xs, ys), piece * PIECE, zs, &f)
        })
    }?;
    host::array(z, dims)
}

/// The axes of a broadcast result. Adjacent axes that both operands traverse with uniform strides
/// are merged.
struct Axes {
    /// Sizes of all axes but the last.
    outer: Vec<usize>,
    /// Strides of both operands along the outer axes.
    outer_strides: [Vec<usize>; 2],
    /// Size of the last axis.
    width: usize,
    /// Strides of both operands along the last axis: 1, or 0 if one element is broadcast to the
    /// row.
    strides: [usize; 2],
}

impl Axes {
    /// Merges the axes of the shape `dims`, to which `a` and `b` are broadcast.
    fn of(dims: &Shape, a: &Array, b: &Array) -> Result<Self> {
        let (a, b) = (a.broadcast_as(dims)?, b.broadcast_as(dims)?);
        let mut axes: Vec<(usize, [usize; 2])> = Vec::new();
        for (axis, dim) in dims.dims().iter().enumerate().filter(|(_, dim)| **dim != 1) {
            let strides = [a.stride()[axis], b.stride()[axis]];
            match axes.last_mut() {
                Some((before, wider)) if (0..2).all(|i| wider[i] == dim * strides[i]) => {
                    (*before, *wider) = (*before * dim, strides);
                }
                _ => axes.push((*dim, strides)),
            }
        }
        let (width, strides) = axes.pop().unwrap_or((1, [0, 0]));
        let outer_strides = [0, 1].map(|i| axes.iter().map(|(_, strides)| strides[i]).collect());
        Ok(Self {
            outer: axes.into_iter().map(|(dim, _)| dim).collect(),
            outer_strides,
            width,
            strides,
        })
    }

    /// Writes the piece `zs` of the result, which starts at element `first`.
    fn write_piece<T: Copy>(
        &self,
        (xs, ys): (&[T], &[T]),
        first: usize,
        mut zs: &mut [MaybeUninit<T>],
        f: impl Fn(T, T) -> T,
    ) {
        let (row, mut column) = (first / self.width, first % self.width);
        let [mut x, mut y] =
            [0, 1].map(|i| RowCursor::new(&self.outer, &self.outer_strides[i], row));
        while !zs.is_empty() {
            let (now, rest) = zs.split_at_mut(zs.len().min(self.width - column));
            let from = |values: &'_ [T], cursor: &RowCursor, stride: usize| {
                cursor.offset + stride * column..values.len()
            };
            let (xs, ys) = (&xs[from(xs, &x, self.strides[0])], &ys[from(ys, &y, self.strides[1])]);
            match self.strides {
                [0, 0] => now.fill(MaybeUninit::new(f(xs[0], ys[0]))),
                [0, _] => {
                    now.iter_mut().zip(ys).for_each(|(z, y)| *z = MaybeUninit::new(f(xs[0], *y)))
                }
                [_, 0] => {
                    now.iter_mut().zip(xs).for_each(|(z, x)| *z = MaybeUninit::new(f(*x, ys[0])))
                }
                _ => zip_slices(xs, ys, now, &f),
            }
            (zs, column) = (rest, 0);
            x.advance();
            y.advance();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_matches_reference, normal};
    use crate::{DType, Device};

    #[test]
    fn equals_the_reference() {
        assert_matches_reference::<BinaryKernel>(1e-6);
        assert_matches_reference::<UnaryKernel>(2e-6);
        assert_matches_reference::<Affine>(1e-6);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let (a, b) = (normal(&[7, 500], 1), normal(&[7], 1));
        assert!(binary(&a, &b, Binary::Add).is_err());
        assert!(add(&a, &a.to_dtype(DType::F64).unwrap()).is_err());
    }

    const BINARY: [Binary; 6] =
        [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Max, Binary::Min];

    #[test]
    fn every_type_is_combined() {
        for dtype in [DType::U8, DType::U32, DType::I64, DType::F16, DType::BF16, DType::F64] {
            let of = |values: &[f32], dims: &[usize]| {
                Array::from_slice(values, dims, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
            };
            let (a, b) = (of(&[6.0, 7.0, 8.0, 9.0], &[2, 2]), of(&[2.0, 3.0], &[2]));
            for op in BINARY {
                let kernel = BinaryKernel { a: a.clone(), b: b.clone(), op };
                let (got, want) = (run(&kernel).unwrap(), kernel.reference().unwrap());
                assert_eq!(got.dtype(), dtype);
                let values = |x: &Array| {
                    x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap()
                };
                assert_eq!(values(&got), values(&want), "{op:?} of {dtype:?}");
            }
        }
    }

    #[test]
    fn extremes_of_two_are_nan_where_one_is() {
        let bits = |x: &Array| -> Vec<u64> {
            crate::testing::values(x)
                .into_iter()
                .map(|x| if x.is_nan() { 1 } else { x.to_bits() })
                .collect()
        };
        for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
            let of = |values: Vec<f64>| {
                let count = values.len();
                Array::from_vec(values, count, &Device::Cpu).unwrap().to_dtype(dtype).unwrap()
            };
            for length in 1..=70 {
                for at in 0..length {
                    let mut values = crate::testing::values(&normal(&[length], 1));
                    let other = of(crate::testing::values(&normal(&[length], 2)));
                    values[at] = f64::NAN;
                    let (x, one, nan) = (of(values), of(vec![0.1]), of(vec![f64::NAN]));
                    for op in [Binary::Max, Binary::Min] {
                        for (a, b) in [(&x, &other), (&other, &x), (&x, &one), (&one, &x)] {
                            let got = binary(a, b, op).unwrap();
                            assert!(
                                (0..length).all(|i| (bits(&got)[i] == 1) == (i == at)),
                                "{length}, {at}"
                            );
                            let kernel = BinaryKernel { a: a.clone(), b: b.clone(), op };
                            assert_eq!(bits(&got), bits(&kernel.reference().unwrap()));
                        }
                        for (a, b) in [(&nan, &other), (&other, &nan)] {
                            assert!(bits(&binary(a, b, op).unwrap()).iter().all(|x| *x == 1));
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn integers_fall_back_to_the_reference() {
        let whole = Array::new(&[-3i64, 0, 4], &Device::Cpu).unwrap();
        assert_eq!(unary(&whole, Unary::Abs).unwrap().to_vec1::<i64>().unwrap(), [3, 0, 4]);
        assert!(crate::kernel::fallbacks()
            .iter()
            .any(|(of, _)| (of.kernel, of.dtype) == ("unary", "i64")));
    }
}
