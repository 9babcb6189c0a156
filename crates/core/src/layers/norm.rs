//! Normalisation layers over the last axis.

use crate::{Init, Param, Params, Result, Tensor};
use xt_autograd::ops;
use xt_options::layers::StackOptions;

/// Layer normalisation with learned weight and bias.
///
/// Source: <https://arxiv.org/abs/1607.06450>.
pub struct LayerNorm {
    weight: Param,
    bias: Param,
}

impl LayerNorm {
    /// Added to the variance, as in PyTorch.
    const EPS: f64 = 1e-5;

    /// Registers weight and bias, `(dim)` each.
    pub fn new(dim: usize, p: &mut Params) -> Self {
        Self {
            weight: p.add("weight", &[dim], Init::Constant(1.0)),
            bias: p.add("bias", &[dim], Init::Constant(0.0)),
        }
    }

    /// `(.., dim)` to `(.., dim)`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.forward_with_residual(x)?.0)
    }

    /// Returns the normalised tensor, and `x` for the residual branch. Using this second result
    /// lets the backward pass add both gradients of `x` inside the kernel.
    fn forward_with_residual(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        Ok(ops::layer_norm_with_residual(x, &self.weight.tensor(), &self.bias.tensor(), Self::EPS)?)
    }
}

/// Root mean square normalisation: division by the root mean square, then a learned gain per
/// feature.
///
/// Source: <https://arxiv.org/abs/1910.07467>.
pub struct RmsNorm {
    /// The gain, `(dim)`.
    g: Param,
    dim: usize,
}

impl RmsNorm {
    /// The minimum of the divisor.
    const EPS: f64 = 1e-8;

    /// Registers the gain.
    pub fn new(dim: usize, p: &mut Params) -> Self {
        Self { g: p.add("g", &[dim], Init::Constant(1.0)), dim }
    }

    /// See [`Norm::forward_with_residual`].
    fn forward_with_residual(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        Ok(ops::scale_norm_with_residual(
            x,
            &self.g.tensor(),
            (self.dim as f64).powf(-0.5),
            Self::EPS,
        )?)
    }
}

/// Division by the L2 norm, then one learned gain for all features.
///
/// Source: <https://arxiv.org/abs/1910.05895>.
pub struct ScaleNorm {
    /// The gain, `(1)`.
    g: Param,
    dim: usize,
}

impl ScaleNorm {
    /// The minimum of the divisor.
    const EPS: f64 = 1e-5;

    /// Registers the gain, initialised to dim^-0.5.
    pub fn new(dim: usize, p: &mut Params) -> Self {
        Self { g: p.add("g", &[1], Init::Constant((dim as f64).powf(-0.5))), dim }
    }

    /// See [`Norm::forward_with_residual`].
    fn forward_with_residual(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let gain = ops::broadcast_to(&self.g.tensor(), &[self.dim])?;
        Ok(ops::scale_norm_with_residual(x, &gain, 1.0, Self::EPS)?)
    }
}

/// The norm that the options of a stack select. If several are enabled, RMSNorm has precedence over
/// ScaleNorm.
pub enum Norm {
    /// Layer normalisation, the default.
    Layer(LayerNorm),
    /// Root mean square normalisation.
    Rms(RmsNorm),
    /// L2 normalisation with one gain.
    Scale(ScaleNorm),
}

impl Norm {
    /// Registers the parameters of the selected norm for width `dim`.
    pub fn new(dim: usize, options: &StackOptions, p: &mut Params) -> Self {
        match (options.use_rmsnorm, options.use_scalenorm) {
            (true, _) => Norm::Rms(RmsNorm::new(dim, p)),
            (false, true) => Norm::Scale(ScaleNorm::new(dim, p)),
            (false, false) => Norm::Layer(LayerNorm::new(dim, p)),
        }
    }

    /// `(.., dim)` to `(.., dim)`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.forward_with_residual(x)?.0)
    }

    /// Returns the normalised tensor, and `x` for the residual branch; both are `(.., dim)`. Using
    /// this second result lets the backward pass add both gradients of `x` inside the kernel.
    pub fn forward_with_residual(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        match self {
            Norm::Layer(norm) => norm.forward_with_residual(x),
            Norm::Rms(norm) => norm.forward_with_residual(x),
            Norm::Scale(norm) => norm.forward_with_residual(x),
        }
    }
}
