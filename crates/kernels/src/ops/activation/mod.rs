//! Element-wise activation functions.
//!
//! GELU is the exact form `x Φ(x)`, <https://arxiv.org/abs/1606.08415>. SiLU (Swish) is `x σ(x)`,
//! <https://arxiv.org/abs/1710.05941>.

#[cfg(feature = "cuda")]
mod cuda;

use crate::array::{HostArray, HostResult};
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::host::gemm::blas::Blas;
use crate::host::simd::has_fma;
use crate::host::{self, Real};
use crate::kernel::{arrays, run, Kernel};
use crate::ops::elementwise::{map, zip};
use crate::ops::select;
#[cfg(test)]
use crate::testing::normal64;
use crate::{Array, Result};

use std::mem::MaybeUninit;
#[cfg(feature = "cuda")]
use std::sync::Arc;
use xt_macros::simd;

/// The activation functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x Φ(x)`, where Φ is the cumulative distribution function of the normal distribution.
    Gelu,
    /// `x σ(x)`, where σ is the logistic function.
    Silu,
    /// `max(x, 0)`.
    Relu,
    /// `max(x, 0)^2`. Source: Primer, <https://arxiv.org/abs/2109.08668>.
    ReluSquared,
    /// The logistic function, `1 / (1 + exp(-x))`.
    Sigmoid,
}

/// [`forward`] for host arrays.
pub(crate) fn on_host(x: &HostArray, kind: Activation) -> HostResult<HostArray> {
    match kind {
        Activation::Gelu => x.gelu_erf(),
        Activation::Silu => x * candle_nn::ops::sigmoid(x)?,
        Activation::Relu => rectified(x),
        Activation::ReluSquared => rectified(x)?.sqr(),
        Activation::Sigmoid => candle_nn::ops::sigmoid(x),
    }
}

/// Kernel of [`forward`].
#[derive(Clone)]
struct Forward {
    x: Array,
    kind: Activation,
}

/// Kernel of [`backward`].
#[derive(Clone)]
struct Backward {
    x: Array,
    grad: Array,
    kind: Activation,
}

arrays! {
    Forward { x }
    Backward { x, grad }
}

#[cfg(test)]
const ALL: [Activation; 5] = [
    Activation::Gelu,
    Activation::Silu,
    Activation::Relu,
    Activation::ReluSquared,
    Activation::Sigmoid,
];

impl Kernel for Forward {
    const NAME: &'static str = "activation";
    type Out = Array;

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn reference(&self) -> Result<Array> {
        Ok(on_host(self.x.host()?, self.kind)?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        // SAFETY: `value` writes an output for each input.
        unsafe { map::<T>(&self.x, self.kind.functions().value) }
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        cuda::forward(&self.x, self.kind as u32, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |kind| {
            [&[3, 1001][..], &[4, 6], &[], &[0, 2]].map(|dims| Self { x: normal64(dims, 1), kind })
        };
        ALL.into_iter().flat_map(of).collect()
    }
}

impl Kernel for Backward {
    const NAME: &'static str = "activation backward";
    type Out = Array;

    fn check(&self) -> Result<()> {
        host::check_like(&self.x, [Some(&self.grad)])
    }

    fn reference(&self) -> Result<Array> {
        Ok((self.grad.host()? * slope_on_host(self.x.host()?, self.kind)?)?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        // SAFETY: `slope` writes an output for each pair of inputs.
        unsafe { zip::<T>(&self.x, &self.grad, self.kind.functions().slope) }
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        cuda::backward(&self.x, &self.grad, self.kind as u32, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |kind| {
            [&[3, 1001][..], &[4, 6], &[0, 2]].map(|dims| Self {
                x: normal64(dims, 1),
                grad: normal64(dims, 2),
                kind,
            })
        };
        ALL.into_iter().flat_map(of).collect()
    }
}

/// Applies the activation to each element of `x`.
pub fn forward(x: &Array, kind: Activation) -> Result<Array> {
    run(&Forward { x: x.clone(), kind })
}

/// Computes the gradient of the input: the derivative at `x` times `grad`, the gradient of the
/// output. Both arrays have the same shape.
///
/// # Errors
/// If the shapes differ.
pub fn backward(x: &Array, grad: &Array, kind: Activation) -> Result<Array> {
    run(&Backward { x: x.clone(), grad: grad.clone(), kind })
}

/// Implementations of an activation for slices. All slices have the same length, and each function
/// writes its whole output.
pub(crate) struct Functions<T> {
    /// Arguments: the input, and the output.
    pub value: fn(&[T], &mut [MaybeUninit<T>]),
    /// Arguments: the input, the gradient, and the result, which is the derivative times the
    /// gradient.
    pub slope: fn(&[T], &[T], &mut [MaybeUninit<T>]),
    /// Computes both. Arguments: the input; the gradient, which is replaced by the activation; and
    /// the derivative times the gradient.
    pub both: fn(&[T], &mut [T], &mut [MaybeUninit<T>]),
}

impl Activation {
    /// The implementations for `T`.
    pub(crate) fn functions<T: Real>(self) -> Functions<T> {
        match self {
            Self::Gelu => gelu::functions(),
            Self::Silu => silu::functions(),
            Self::Relu => relu::functions(),
            Self::ReluSquared => relu_squared::functions(),
            Self::Sigmoid => sigmoid::functions(),
        }
    }
}

/// `max(x, 0)`; NaN for NaN.
fn rectified(x: &HostArray) -> HostResult<HostArray> {
    select::on_host(&x.le(0.0)?, &x.zeros_like()?, x)
}

/// The derivative of the activation at `x`, for host arrays.
pub(crate) fn slope_on_host(x: &HostArray, kind: Activation) -> HostResult<HostArray> {
    let sigma = || candle_nn::ops::sigmoid(x);
    match kind {
        Activation::Gelu => {
            let density = ((x.sqr()? * -0.5)?.exp()? * INV_SQRT_TAU)?;
            (((x * FRAC_1_SQRT_2)?.erf()? + 1.0)? * 0.5)? + (x * density)?
        }
        Activation::Silu => {
            let s = sigma()?;
            &s + ((x * &s)? * (1.0 - &s)?)?
        }
        // As in PyTorch, the derivative is 0 at 0 and 1 at NaN.
        Activation::Relu => x.le(0.0)?.eq(0.0)?.to_dtype(x.dtype()),
        Activation::ReluSquared => rectified(x)? * 2.0,
        Activation::Sigmoid => {
            let s = sigma()?;
            &s * (1.0 - &s)?
        }
    }
}

const FRAC_1_SQRT_2: f64 = std::f64::consts::FRAC_1_SQRT_2;
/// `1 / sqrt(2π)`.
const INV_SQRT_TAU: f64 = 0.398_942_280_401_432_7;

/// Number of elements per iteration. In WebAssembly, the constants of a function are reloaded in
/// each iteration.
const SIDE_BY_SIDE: usize = 16;

/// Generates a module with [`Functions`] from an expression for one element `x` and gradient `g`.
/// The expression returns the activation, and its derivative times the gradient.
///
/// Each function is compiled for several instruction sets. The compiler removes the part of the
/// expression that a function does not use.
macro_rules! over_slices {
    ($name:ident, |$x:ident, $g:ident| $body:expr) => {
        mod $name {
            use super::*;

            #[inline(always)]
            fn f<T: Real, const FMA: bool>($x: T, $g: T) -> (T, T) {
                $body
            }

            /// The functions of this module.
            pub fn functions<T: Real>() -> Functions<T> {
                Functions { value, slope, both }
            }

            #[simd]
            fn value<T: Real>(x: &[T], y: &mut [MaybeUninit<T>]) {
                const FMA: bool = has_fma!();
                let f = |x: T| MaybeUninit::new(f::<T, FMA>(x, T::ZERO).0);
                let x = &x[..y.len()];
                let (ys, rest) = y.as_chunks_mut::<SIDE_BY_SIDE>();
                let (xs, last) = x.as_chunks::<SIDE_BY_SIDE>();
                for (y, x) in ys.iter_mut().zip(xs) {
                    for i in 0..SIDE_BY_SIDE {
                        y[i] = f(x[i]);
                    }
                }
                for (y, x) in rest.iter_mut().zip(last) {
                    *y = f(*x);
                }
            }

            #[simd]
            fn slope<T: Real>(x: &[T], g: &[T], d: &mut [MaybeUninit<T>]) {
                const FMA: bool = has_fma!();
                let f = |x: T, g: T| MaybeUninit::new(f::<T, FMA>(x, g).1);
                let (x, g) = (&x[..d.len()], &g[..d.len()]);
                let (ds, rest) = d.as_chunks_mut::<SIDE_BY_SIDE>();
                let ((xs, last), (gs, last_g)) =
                    (x.as_chunks::<SIDE_BY_SIDE>(), g.as_chunks::<SIDE_BY_SIDE>());
                for (d, (x, g)) in ds.iter_mut().zip(xs.iter().zip(gs)) {
                    for i in 0..SIDE_BY_SIDE {
                        d[i] = f(x[i], g[i]);
                    }
                }
                for (d, (x, g)) in rest.iter_mut().zip(last.iter().zip(last_g)) {
                    *d = f(*x, *g);
                }
            }

            #[simd]
            fn both<T: Real>(x: &[T], g: &mut [T], d: &mut [MaybeUninit<T>]) {
                const FMA: bool = has_fma!();
                let f = |x: T, g: &mut T| {
                    let (y, d) = f::<T, FMA>(x, *g);
                    *g = y;
                    MaybeUninit::new(d)
                };
                let (x, g) = (&x[..d.len()], &mut g[..d.len()]);
                let (ds, rest) = d.as_chunks_mut::<SIDE_BY_SIDE>();
                let ((xs, last), (gs, last_g)) =
                    (x.as_chunks::<SIDE_BY_SIDE>(), g.as_chunks_mut::<SIDE_BY_SIDE>());
                for (d, (x, g)) in ds.iter_mut().zip(xs.iter().zip(gs)) {
                    for i in 0..SIDE_BY_SIDE {
                        d[i] = f(x[i], &mut g[i]);
                    }
                }
                for (d, (x, g)) in rest.iter_mut().zip(last.iter().zip(last_g)) {
                    *d = f(*x, g);
                }
            }
        }
    };
}

/// The cumulative distribution function of the normal distribution.
#[inline(always)]
fn phi<T: Real, const FMA: bool>(x: T) -> T {
    T::of(0.5) * (T::ONE + (x * T::of(FRAC_1_SQRT_2)).erf::<FMA>())
}

/// The logistic function, `1 / (1 + exp(-x))`.
#[inline(always)]
pub(crate) fn logistic<T: Real, const FMA: bool>(x: T) -> T {
    T::ONE / (T::ONE + (-x).exp::<FMA>())
}

over_slices!(gelu, |x, g| {
    let p = phi::<T, FMA>(x);
    (x * p, g * (p + x * (x * x * T::of(-0.5)).exp::<FMA>() * T::of(INV_SQRT_TAU)))
});
over_slices!(silu, |x, g| {
    let s = logistic::<T, FMA>(x);
    (x * s, g * (s + x * s * (T::ONE - s)))
});
// With this order of the branches, NaN propagates.
over_slices!(relu, |x, g| if x <= T::ZERO { (T::ZERO, T::ZERO) } else { (x, g) });
over_slices!(relu_squared, |x, g| if x <= T::ZERO {
    (T::ZERO, T::ZERO)
} else {
    (x * x, g * (x + x))
});
over_slices!(sigmoid, |x, g| {
    let s = logistic::<T, FMA>(x);
    (s, g * s * (T::ONE - s))
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        assert_matches_reference, device, f64s, gradcheck, lengths, normal, on_device, reference,
    };

    #[test]
    fn equals_the_reference() {
        assert_matches_reference::<Forward>(1e-6);
        assert_matches_reference::<Backward>(1e-6);
    }

    #[test]
    fn gradient_agrees_with_differences() {
        let [x, g] = [1, 2].map(|seed| on_device(&f64s(&normal(&[2, 9], seed))));
        for kind in ALL {
            let dx = backward(&x, &g, kind).unwrap();
            gradcheck(&x, &g, &dx, |x| forward(&on_device(x), kind).unwrap());
        }
    }

    #[test]
    fn nan_goes_on_and_infinities_have_their_limits() {
        let number = |x: &Array, at: usize| crate::testing::values(x)[at];
        for kind in ALL {
            for length in lengths() {
                for at in 0..length {
                    let mut values = crate::testing::values(&normal(&[length], 1));
                    values[at] = f64::NAN;
                    let x = Array::from_vec(values, length, &device()).unwrap();
                    for x in [x.clone(), x.to_dtype(crate::DType::F32).unwrap()] {
                        let y = forward(&x, kind).unwrap();
                        assert!(
                            number(&y, at).is_nan()
                                && number(&reference(&Forward { x: x.clone(), kind }), at).is_nan()
                        );
                        assert_eq!(
                            crate::testing::values(&y).iter().filter(|y| y.is_nan()).count(),
                            1
                        );
                        let g = Array::full(2.0, length, &x.device())
                            .unwrap()
                            .to_dtype(x.dtype())
                            .unwrap();
                        let d = number(&backward(&x, &g, kind).unwrap(), at);
                        // As in PyTorch, the derivative of ReLU at NaN is 1.
                        assert!(if kind == Activation::Relu { d == 2.0 } else { d.is_nan() });
                        let want = reference(&Backward { x: x.clone(), grad: g.clone(), kind });
                        assert!(number(&want, at) == d || d.is_nan());
                    }
                }
            }
        }
        for dtype in [crate::DType::F32, crate::DType::F64, crate::DType::F16, crate::DType::BF16] {
            let x =
                Array::new(&[f64::NEG_INFINITY, f64::NAN, f64::INFINITY, -0.0], &device()).unwrap();
            let x = x.to_dtype(dtype).unwrap();
            let y = crate::testing::values(&forward(&x, Activation::Relu).unwrap());
            assert!(
                y[0] == 0.0 && y[1].is_nan() && y[2] == f64::INFINITY && y[3] == 0.0,
                "{dtype:?}: {y:?}"
            );
            let y = crate::testing::values(&forward(&x, Activation::Sigmoid).unwrap());
            assert!(y[0] == 0.0 && y[1].is_nan() && y[2] == 1.0, "{dtype:?}: {y:?}");
        }
    }
}
