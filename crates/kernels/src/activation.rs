//! Activations, element by element.
//!
//! GELU is the exact one, `x Φ(x)`, <https://arxiv.org/abs/1606.08415>; SiLU (Swish) is `x σ(x)`, <https://arxiv.org/abs/1710.05941>.

use crate::cpu::{dispatch, Real};
use crate::elementwise::{map, zip};
use crate::{Array, Result};
use multiversion::multiversion;
use std::mem::MaybeUninit;

/// Which function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    Gelu,
    Silu,
    Relu,
    /// `max(x, 0)^2`. Source: Primer, <https://arxiv.org/abs/2109.08668>.
    ReluSquared,
    Sigmoid,
}

/// The function on candle's own operations.
pub fn reference(x: &Array, kind: Activation) -> Result<Array> {
    match kind {
        Activation::Gelu => x.gelu_erf(),
        Activation::Silu => x * candle_nn::ops::sigmoid(x)?,
        Activation::Relu => x.relu(),
        Activation::ReluSquared => x.relu()?.sqr(),
        Activation::Sigmoid => candle_nn::ops::sigmoid(x),
    }
}

/// The function of each element.
pub fn forward(x: &Array, kind: Activation) -> Result<Array> {
    // SAFETY: it writes a number for each.
    dispatch!(x, T => unsafe { map::<T>(x, of_slice(kind)) }, else reference(x, kind))
}

/// The derivative at `x`, times `grad`.
pub fn backward(x: &Array, grad: &Array, kind: Activation) -> Result<Array> {
    // SAFETY: it writes a number for each two.
    dispatch!(x, T => unsafe { zip::<T>(x, grad, slope_of_slice(kind)) }, else grad * slope_reference(x, kind)?)
}

/// The function over slices: input, output, all of which it writes.
pub(crate) fn of_slice<T: Real>(kind: Activation) -> fn(&[T], &mut [MaybeUninit<T>]) {
    match kind {
        Activation::Gelu => gelu,
        Activation::Silu => silu,
        Activation::Relu => relu,
        Activation::ReluSquared => relu_squared,
        Activation::Sigmoid => sigmoid,
    }
}

/// Its derivative, times a gradient: input, gradient, output, all of which it writes.
pub(crate) fn slope_of_slice<T: Real>(kind: Activation) -> fn(&[T], &[T], &mut [MaybeUninit<T>]) {
    match kind {
        Activation::Gelu => gelu_grad,
        Activation::Silu => silu_grad,
        Activation::Relu => relu_grad,
        Activation::ReluSquared => relu_squared_grad,
        Activation::Sigmoid => sigmoid_grad,
    }
}

fn slope_reference(x: &Array, kind: Activation) -> Result<Array> {
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
        // 0 at 0, as in PyTorch
        Activation::Relu => x.gt(0.0)?.to_dtype(x.dtype()),
        Activation::ReluSquared => x.relu()? * 2.0,
        Activation::Sigmoid => {
            let s = sigma()?;
            &s * (1.0 - &s)?
        }
    }
}

const FRAC_1_SQRT_2: f64 = std::f64::consts::FRAC_1_SQRT_2;
/// 1 / sqrt(2 pi).
const INV_SQRT_TAU: f64 = 0.398_942_280_401_432_7;

/// Elements that are computed side by side: in WebAssembly the constants of a function are made anew in each round.
const SIDE_BY_SIDE: usize = 16;

/// Makes functions over slices of one over elements, compiled for several processors.
macro_rules! over_slices {
    (map $name:ident = |$x:ident| $body:expr) => {
        #[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
        fn $name<T: Real>(x: &[T], y: &mut [MaybeUninit<T>]) {
            let f = |$x: T| MaybeUninit::new($body);
            let x = &x[..y.len()];
            let (ys, rest) = y.as_chunks_mut::<SIDE_BY_SIDE>();
            let (xs, last) = x.as_chunks::<SIDE_BY_SIDE>();
            for (y, x) in ys.iter_mut().zip(xs) {
                (0..SIDE_BY_SIDE).for_each(|i| y[i] = f(x[i]));
            }
            rest.iter_mut().zip(last).for_each(|(y, x)| *y = f(*x));
        }
    };
    (zip $name:ident = |$x:ident, $g:ident| $body:expr) => {
        #[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
        fn $name<T: Real>(x: &[T], g: &[T], y: &mut [MaybeUninit<T>]) {
            let f = |$x: T, $g: T| MaybeUninit::new($body);
            let (x, g) = (&x[..y.len()], &g[..y.len()]);
            let (ys, rest) = y.as_chunks_mut::<SIDE_BY_SIDE>();
            let ((xs, last), (gs, last_g)) = (x.as_chunks::<SIDE_BY_SIDE>(), g.as_chunks::<SIDE_BY_SIDE>());
            for (y, (x, g)) in ys.iter_mut().zip(xs.iter().zip(gs)) {
                (0..SIDE_BY_SIDE).for_each(|i| y[i] = f(x[i], g[i]));
            }
            rest.iter_mut().zip(last.iter().zip(last_g)).for_each(|(y, (x, g))| *y = f(*x, *g));
        }
    };
}

#[inline(always)]
fn phi<T: Real>(x: T) -> T {
    T::of(0.5) * (T::ONE + (x * T::of(FRAC_1_SQRT_2)).erf())
}

#[inline(always)]
fn logistic<T: Real>(x: T) -> T {
    T::ONE / (T::ONE + (-x).exp())
}

over_slices!(map gelu = |x| x * phi(x));
over_slices!(zip gelu_grad = |x, g| g * (phi(x) + x * (x * x * T::of(-0.5)).exp() * T::of(INV_SQRT_TAU)));
over_slices!(map silu = |x| x * logistic(x));
over_slices!(zip silu_grad = |x, g| {
    let s = logistic(x);
    g * (s + x * s * (T::ONE - s))
});
over_slices!(map relu = |x| if x > T::ZERO { x } else { x * T::ZERO });
over_slices!(zip relu_grad = |x, g| if x > T::ZERO { g } else { T::ZERO });
over_slices!(map relu_squared = |x| if x > T::ZERO { x * x } else { x * T::ZERO });
over_slices!(zip relu_squared_grad = |x, g| if x > T::ZERO { g * (x + x) } else { T::ZERO });
over_slices!(map sigmoid = |x| logistic(x));
over_slices!(zip sigmoid_grad = |x, g| {
    let s = logistic(x);
    g * s * (T::ONE - s)
});

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, differences, f64s, normal};

    const ALL: [Activation; 5] =
        [Activation::Gelu, Activation::Silu, Activation::Relu, Activation::ReluSquared, Activation::Sigmoid];

    #[test]
    fn equals_the_reference() {
        let (x, g) = ((normal(&[3, 1001], 1) * 3.0).unwrap(), normal(&[3, 1001], 2));
        for kind in ALL {
            close(&forward(&x, kind).unwrap(), &reference(&x, kind).unwrap(), 1e-6);
            let want = (&g * slope_reference(&x, kind).unwrap()).unwrap();
            close(&backward(&x, &g, kind).unwrap(), &want, 1e-6);
        }
    }

    #[test]
    fn gradient_agrees_with_differences() {
        let (x, g) = (f64s(&normal(&[2, 9], 1)), f64s(&normal(&[2, 9], 2)));
        for kind in ALL {
            differences(&x, &g, &backward(&x, &g, kind).unwrap(), |x| forward(x, kind).unwrap());
        }
    }

    #[test]
    fn views_are_read_in_their_order() {
        let x = normal(&[4, 6], 3).t().unwrap();
        close(&forward(&x, Activation::Gelu).unwrap(), &reference(&x, Activation::Gelu).unwrap(), 1e-6);
    }
}
