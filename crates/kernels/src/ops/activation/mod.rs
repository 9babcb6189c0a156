//! Element-wise activation functions.
//!
//! GELU is the exact form `x Φ(x)`, <https://arxiv.org/abs/1606.08415>, which gives its two
//! approximations too. SiLU (Swish) is `x σ(x)`, <https://arxiv.org/abs/1710.05941>.

#[cfg(feature = "cuda")]
mod cuda;
mod slices;
#[cfg(test)]
mod tests;

pub(crate) use slices::{logistic, Functions};

use crate::array::{HostArray, HostResult};
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::host;
use crate::host::gemm::blas::Blas;
use crate::kernel::{arrays, run, Kernel};
use crate::ops::elementwise::{map, zip};
use crate::ops::select;
#[cfg(test)]
use crate::testing::normal64;
use crate::{Array, Result};
#[cfg(feature = "cuda")]
use std::sync::Arc;

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
    /// `x (1 + tanh(sqrt(2/π) (x + 0.044715 x³))) / 2`, an approximation of GELU.
    GeluTanh,
    /// `x σ(1.702 x)`, another approximation of GELU.
    QuickGelu,
}

/// [`forward`] for host arrays.
pub(crate) fn on_host(x: &HostArray, kind: Activation) -> HostResult<HostArray> {
    match kind {
        Activation::Gelu => x.gelu_erf(),
        Activation::Silu => x * candle_nn::ops::sigmoid(x)?,
        Activation::Relu => rectified(x),
        Activation::ReluSquared => rectified(x)?.sqr(),
        Activation::Sigmoid => candle_nn::ops::sigmoid(x),
        Activation::GeluTanh => {
            let (steepness, _) = steepness(x)?;
            x * candle_nn::ops::sigmoid(&(x * steepness)?)?
        }
        Activation::QuickGelu => x * candle_nn::ops::sigmoid(&(x * QUICK)?)?,
    }
}

/// For `x σ(u)`, the [`Activation::GeluTanh`]: `u / x`, and the derivative of u. As `tanh(y)` is
/// `2 σ(2y) - 1`, u is twice the argument of the hyperbolic tangent. The square of x is limited,
/// see [`LARGE`].
fn steepness(x: &HostArray) -> HostResult<(HostArray, HostArray)> {
    let square = x.sqr()?;
    let square = select::on_host(&square.le(LARGE)?, &square, &(x.zeros_like()? + LARGE)?)?;
    Ok((square.affine(TANH * CUBIC, TANH)?, square.affine(3.0 * TANH * CUBIC, TANH)?))
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

/// One of each.
#[cfg(test)]
pub(crate) const ALL: [Activation; 7] = [
    Activation::Gelu,
    Activation::Silu,
    Activation::Relu,
    Activation::ReluSquared,
    Activation::Sigmoid,
    Activation::GeluTanh,
    Activation::QuickGelu,
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
        Activation::GeluTanh => {
            let (steepness, slope) = steepness(x)?;
            let s = candle_nn::ops::sigmoid(&(x * steepness)?)?;
            &s + (((x * &s)? * (1.0 - &s)?)? * slope)?
        }
        Activation::QuickGelu => {
            let s = candle_nn::ops::sigmoid(&(x * QUICK)?)?;
            &s + (((x * &s)? * (1.0 - &s)?)? * QUICK)?
        }
    }
}

const FRAC_1_SQRT_2: f64 = std::f64::consts::FRAC_1_SQRT_2;
/// `1 / sqrt(2π)`.
const INV_SQRT_TAU: f64 = 0.398_942_280_401_432_7;
/// `2 sqrt(2/π)`.
const TANH: f64 = 2.0 * std::f64::consts::FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
/// The factor of x³ in [`Activation::GeluTanh`].
const CUBIC: f64 = 0.044_715;
/// The largest x² in [`Activation::GeluTanh`]: there the logistic function is 0 or 1 in every type,
/// while x² itself may be infinite, whose product with a derivative of 0 were NaN.
const LARGE: f64 = 900.0;
/// The factor of x in [`Activation::QuickGelu`].
const QUICK: f64 = 1.702;
