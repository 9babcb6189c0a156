//! Functions of one array.

#[cfg(feature = "cuda")]
use super::cuda;
use super::map::{map, map_each};
use crate::array::{HostArray, HostResult};
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::host::simd::has_fma;
use crate::host::Real;
use crate::kernel::{arrays, run, Kernel};
use crate::{Array, DType, Result};
use std::mem::MaybeUninit;
#[cfg(feature = "cuda")]
use std::sync::Arc;
use xt_macros::simd;

/// Functions of one number. Integers have [`Unary::Abs`] and [`Unary::Sign`] only.
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
    /// The sine.
    Sin,
    /// The cosine.
    Cos,
    /// The nearest integer; of two, the even one.
    Round,
    /// The greatest integer that is not greater.
    Floor,
    /// The least integer that is not less.
    Ceil,
}

/// Kernel of [`unary`].
#[derive(Clone)]
pub(super) struct UnaryKernel {
    x: Array,
    op: Unary,
}

impl Kernel for UnaryKernel {
    const NAME: &'static str = "unary";
    type Out = Array;

    fn check(&self) -> Result<()> {
        let integers = matches!(self.op, Unary::Abs | Unary::Sign);
        if !self.x.dtype().is_float() && !integers {
            bail!("{:?} needs a floating-point array, got {:?}", self.op, self.x.dtype());
        }
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
            Unary::Sin => by_f64(x, f64::sin)?,
            Unary::Cos => by_f64(x, f64::cos)?,
            Unary::Round => by_f64(x, f64::round_ties_even)?,
            Unary::Floor => by_f64(x, f64::floor)?,
            Unary::Ceil => by_f64(x, f64::ceil)?,
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
            // one loop for all of these
            Unary::Sin => map_each::<T>(x, T::sin as fn(T) -> T),
            Unary::Cos => map_each::<T>(x, T::cos as fn(T) -> T),
            Unary::Round => map_each::<T>(x, T::round as fn(T) -> T),
            Unary::Floor => map_each::<T>(x, T::floor as fn(T) -> T),
            Unary::Ceil => map_each::<T>(x, T::ceil as fn(T) -> T),
        }
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        cuda::unary(&self.x, self.op as u32, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let any = [Unary::Neg, Unary::Abs, Unary::Sign, Unary::Square, Unary::Exp, Unary::Tanh];
        let whole = [Unary::Round, Unary::Floor, Unary::Ceil];
        let of = |dims: &[usize]| {
            let x = crate::testing::normal64(dims, 2);
            let positive = crate::testing::map(&x, |x| x.abs() + 0.01);
            let roots = [Unary::Sqrt, Unary::Log].map(|op| Self { x: positive.clone(), op });
            let waves = [Unary::Sin, Unary::Cos].map(|op| Self { x: x.clone(), op });
            // halves, which are as near to one integer as to another
            let halves = crate::testing::map(&x, |x| (8.0 * x).floor() / 2.0);
            let whole = whole.map(|op| Self { x: halves.clone(), op });
            let any = any.map(|op| Self { x: x.clone(), op });
            any.into_iter().chain(roots).chain(waves).chain(whole).collect::<Vec<_>>()
        };
        [&[5000, 7][..], &[3, 5], &[], &[0, 2], &[1]].into_iter().flat_map(of).collect()
    }
}

/// Applies `f` to each element. Not candle's functions, each of which is compiled for every dtype:
/// 50 KB of WebAssembly.
fn by_f64(x: &HostArray, f: fn(f64) -> f64) -> HostResult<HostArray> {
    if x.elem_count() == 0 {
        return x.zeros_like(); // candle would read past the end of the storage
    }
    let values = x.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    let y = values.into_iter().map(f).collect();
    HostArray::from_vec(y, x.shape(), x.device())?.to_dtype(x.dtype())
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
pub(super) struct Affine {
    x: Array,
    scale: f64,
    offset: f64,
}

arrays! {
    UnaryKernel { x }
    Affine { x }
}

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

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        cuda::affine(&self.x, self.scale, self.offset, gpu)
    }

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

#[simd]
fn exponentials<T: Real>(x: &[T], y: &mut [MaybeUninit<T>]) {
    const FMA: bool = has_fma!();
    for (y, x) in y.iter_mut().zip(x) {
        *y = MaybeUninit::new(x.exp::<FMA>());
    }
}

/// A number as an array without axes, of the type and on the device of `like`. It is computed
/// there, without a copy.
pub(crate) fn scalar(value: f64, like: &Array) -> Result<Array> {
    affine(&Array::zeros((), like.dtype(), &like.device())?, 0.0, value)
}
