//! Limits of values, and their gradient.

use super::binary::ordered;
#[cfg(feature = "cuda")]
use super::binary::{binary, mul, Binary};
use super::is_nan;
use super::map::{map_each, zip};
#[cfg(feature = "cuda")]
use super::scalar;
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::host::Real;
use crate::kernel::{arrays, run, Kernel};
#[cfg(feature = "cuda")]
use crate::ops::compare::{compare, Comparison};
#[cfg(feature = "cuda")]
use crate::ops::layout::contiguous;
use crate::{Array, DType, Device, Result};
use std::mem::MaybeUninit;
use std::ops::Add;
#[cfg(feature = "cuda")]
use std::sync::Arc;

/// Kernel of [`clamp`].
#[derive(Clone)]
pub(super) struct Clamp {
    x: Array,
    low: f64,
    high: f64,
}

/// Kernel of [`clamp_backward`].
#[derive(Clone)]
pub(super) struct ClampBackward {
    x: Array,
    grad: Array,
    low: f64,
    high: f64,
}

arrays! {
    Clamp { x }
    ClampBackward { x, grad }
}

impl Kernel for Clamp {
    const NAME: &'static str = "clamp";
    type Out = Array;

    fn check(&self) -> Result<()> {
        if !self.x.dtype().is_float() {
            bail!("clamp needs a floating-point array, got {:?}", self.x.dtype());
        }
        Ok(())
    }

    fn reference(&self) -> Result<Array> {
        let values = numbers(&self.x)?.into_iter().map(|x| limited(x, self.low, self.high));
        array(values.collect(), &self.x)
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        let (low, high) = (T::of(self.low), T::of(self.high));
        map_each::<T>(&self.x, |x| limited(x, low, high))
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, _: &Arc<Gpu>) -> Result<Array> {
        let mut y = self.x.clone();
        for (limit, op) in [(self.low, Binary::Max), (self.high, Binary::Min)] {
            if limit.is_finite() {
                y = binary(&y, &scalar(limit, &y)?, op)?;
            }
        }
        Ok(y)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |dims: &[usize]| {
            let x = crate::testing::normal64(dims, 2);
            let infinite = f64::INFINITY;
            [(-0.5, 0.75), (-infinite, 0.25), (-0.25, infinite), (1.0, -1.0)]
                .map(|(low, high)| Self { x: x.clone(), low, high })
        };
        [&[5000, 7][..], &[3, 5], &[], &[0, 2]].into_iter().flat_map(of).collect()
    }
}

impl Kernel for ClampBackward {
    const NAME: &'static str = "clamp_backward";
    type Out = Array;

    fn check(&self) -> Result<()> {
        let (x, grad) = (&self.x, &self.grad);
        if x.dims() != grad.dims() || x.dtype() != grad.dtype() || !x.dtype().is_float() {
            bail!(
                "clamp_backward needs floating-point arrays that are alike, got {:?} {:?} and {:?} \
                 {:?}",
                x.dims(),
                x.dtype(),
                grad.dims(),
                grad.dtype()
            );
        }
        Ok(())
    }

    fn reference(&self) -> Result<Array> {
        let pairs = numbers(&self.x)?.into_iter().zip(numbers(&self.grad)?);
        array(pairs.map(|(x, g)| passed(x, g, self.low, self.high)).collect(), &self.x)
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        let (low, high) = (T::of(self.low), T::of(self.high));
        let pass = |xs: &[T], grads: &[T], out: &mut [MaybeUninit<T>]| {
            for ((y, x), grad) in out.iter_mut().zip(xs).zip(grads) {
                *y = MaybeUninit::new(passed(*x, *grad, low, high));
            }
        };
        // SAFETY: `pass` writes an output for each pair of inputs.
        unsafe { zip::<T>(&self.x, &self.grad, pass) }
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, _: &Arc<Gpu>) -> Result<Array> {
        let mut within = self.x.eq(&self.x)?;
        for (limit, op) in [(self.low, Comparison::Gt), (self.high, Comparison::Lt)] {
            if limit.is_finite() {
                within = mul(&within, &compare(&self.x, &scalar(limit, &self.x)?, op)?)?;
            }
        }
        within.where_cond(&contiguous(&self.grad)?, &self.grad.zeros_like()?)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let cases = Clamp::cases().into_iter();
        let with_grad = |Clamp { x, low, high }| {
            let grad = crate::testing::normal64(x.dims(), 3);
            Self { x, grad, low, high }
        };
        cases.map(with_grad).collect()
    }
}

/// `min(max(x, low), high)`; NaN stays.
#[inline(always)]
fn limited<T: PartialOrd + Copy + Add<Output = T>>(x: T, low: T, high: T) -> T {
    let x = ordered(x < low, x >= low, x, low);
    ordered(x > high, x <= high, x, high)
}

/// The gradient of [`limited`]: that of the result between the limits, 0 elsewhere. An infinite
/// limit is none.
#[inline(always)]
fn passed<T: Real>(x: T, grad: T, low: T, high: T) -> T {
    let above = x > low || low == T::of(f64::NEG_INFINITY);
    let below = x < high || high == T::of(f64::INFINITY);
    if above && below && !is_nan(x) {
        grad
    } else {
        T::ZERO
    }
}

fn numbers(x: &Array) -> Result<Vec<f64>> {
    x.to_dtype(DType::F64)?.flatten_all()?.to_vec1()
}

fn array(values: Vec<f64>, like: &Array) -> Result<Array> {
    Array::from_vec(values, like.dims(), &Device::Cpu)?.to_dtype(like.dtype())
}

/// Limits each element to `low` to `high`, of which infinite ones are no limits. NaN stays NaN; a
/// `low` above `high` gives `high`.
///
/// # Errors
/// If the type is no floating-point one, or memory does not suffice.
pub fn clamp(x: &Array, low: f64, high: f64) -> Result<Array> {
    run(&Clamp { x: x.clone(), low, high })
}

/// The gradient of [`clamp`] for `x`, from that of its result, `grad`, of the same shape and type:
/// it passes between the limits, and is 0 at and outside of them.
///
/// # Errors
/// If the types are no floating-point ones or differ, or memory does not suffice.
pub fn clamp_backward(x: &Array, grad: &Array, low: f64, high: f64) -> Result<Array> {
    run(&ClampBackward { x: x.clone(), grad: grad.clone(), low, high })
}
