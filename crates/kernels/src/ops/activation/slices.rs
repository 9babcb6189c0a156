//! The activations and their derivatives for slices, compiled for several instruction sets.

use super::{Activation, CUBIC, FRAC_1_SQRT_2, INV_SQRT_TAU, LARGE, QUICK, TANH};
use crate::host::simd::has_fma;
use crate::host::Real;
use std::mem::MaybeUninit;
use xt_macros::simd;

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
            Self::GeluTanh => gelu_tanh::functions(),
            Self::QuickGelu => quick_gelu::functions(),
        }
    }
}

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
over_slices!(gelu_tanh, |x, g| {
    let square = x * x;
    let square = if square > T::of(LARGE) { T::of(LARGE) } else { square };
    let steepness = T::of(TANH) + T::of(TANH * CUBIC) * square;
    let slope = T::of(TANH) + T::of(3.0 * TANH * CUBIC) * square;
    let s = logistic::<T, FMA>(x * steepness);
    (x * s, g * (s + x * s * (T::ONE - s) * slope))
});
over_slices!(quick_gelu, |x, g| {
    let s = logistic::<T, FMA>(x * T::of(QUICK));
    (x * s, g * (s + x * s * (T::ONE - s) * T::of(QUICK)))
});
