//! Normalisation layers over the last axis.

use crate::{Array, Init, Param, Params, Result, Tensor};
use xt_autograd::ops;
use xt_options::layers::StackOptions;

/// What all norms of a stack have in common, besides their kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormStyle {
    /// Added to the variance or to the mean square; the least divisor of ScaleNorm. Absent: that of
    /// the Python package.
    eps: Option<f64>,
    /// Whether there is a learned weight.
    weight: bool,
    /// Whether there is a learned bias, in a LayerNorm with a weight.
    bias: bool,
    /// Whether the stored weight is the difference from 1.
    unit_offset: bool,
}

impl Default for NormStyle {
    fn default() -> Self {
        Self { eps: None, weight: true, bias: true, unit_offset: false }
    }
}

impl From<&StackOptions> for NormStyle {
    fn from(o: &StackOptions) -> Self {
        Self {
            eps: o.norm_eps.map(|eps| eps.0),
            weight: o.norm_elementwise_affine && !o.use_simple_rmsnorm,
            bias: o.norm_bias,
            unit_offset: o.norm_add_unit_offset,
        }
    }
}

/// The weight of a norm, `(dim)`.
#[derive(Clone)]
struct Weight {
    /// Absent: 1 for every feature.
    stored: Option<Param>,
    unit_offset: bool,
    dim: usize,
}

impl Weight {
    /// Registers a weight, 1 at first, under `name`.
    fn new(dim: usize, style: NormStyle, name: &str, p: &mut Params) -> Self {
        let unit_offset = style.unit_offset;
        let init = Init::Constant(if unit_offset { 0.0 } else { 1.0 });
        Self { stored: style.weight.then(|| p.add(name, &[dim], init)), unit_offset, dim }
    }

    /// The factors of the features, in the type and on the device of `like`.
    fn tensor(&self, like: &Tensor) -> Result<Tensor> {
        match &self.stored {
            Some(weight) if self.unit_offset => Ok(ops::affine(&weight.tensor(), 1.0, 1.0)?),
            Some(weight) => Ok(weight.tensor()),
            None => Ok(Tensor::constant(Array::ones(self.dim, like.dtype(), &like.device())?)),
        }
    }
}

/// Layer normalisation, by default with learned weight and bias.
///
/// Source: <https://arxiv.org/abs/1607.06450>.
#[derive(Clone)]
pub struct LayerNorm {
    weight: Weight,
    /// `(dim)`; absent: 0.
    bias: Option<Param>,
    /// Added to the variance.
    eps: f64,
}

impl LayerNorm {
    /// That of PyTorch.
    const EPS: f64 = 1e-5;

    /// Registers weight and bias, `(dim)` each.
    pub fn new(dim: usize, p: &mut Params) -> Self {
        Self::of_style(dim, NormStyle::default(), p)
    }

    /// Registers what a norm of this style learns.
    pub fn of_style(dim: usize, style: NormStyle, p: &mut Params) -> Self {
        let bias = style.weight && style.bias;
        Self {
            weight: Weight::new(dim, style, "weight", p),
            bias: bias.then(|| p.add("bias", &[dim], Init::Constant(0.0))),
            eps: style.eps.unwrap_or(Self::EPS),
        }
    }

    /// `(.., dim)` to `(.., dim)`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.forward_with_residual(x)?.0)
    }

    /// Returns the normalised tensor, and `x` for the residual branch. Using this second result
    /// lets the backward pass add both gradients of `x` inside the kernel.
    fn forward_with_residual(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let bias = match &self.bias {
            Some(bias) => bias.tensor(),
            None => Tensor::constant(Array::zeros(self.weight.dim, x.dtype(), &x.device())?),
        };
        Ok(ops::layer_norm_with_residual(x, &self.weight.tensor(x)?, &bias, self.eps)?)
    }
}

/// Root mean square normalisation: division by the root mean square, then by default a learned gain
/// per feature.
///
/// Source: <https://arxiv.org/abs/1910.07467>; without gain: <https://arxiv.org/abs/2307.14995>.
#[derive(Clone)]
pub struct RmsNorm {
    g: Weight,
    /// Added to the mean square. Absent: the divisor is at least [`RmsNorm::LEAST`] instead.
    eps: Option<f64>,
}

impl RmsNorm {
    /// The minimum of the divisor in the Python package.
    const LEAST: f64 = 1e-8;

    /// Registers the gain, `(dim)`.
    pub fn new(dim: usize, style: NormStyle, p: &mut Params) -> Self {
        Self { g: Weight::new(dim, style, "g", p), eps: style.eps }
    }

    /// See [`Norm::forward_with_residual`].
    fn forward_with_residual(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let gain = self.g.tensor(x)?;
        let scale = (self.g.dim as f64).powf(-0.5);
        Ok(match self.eps {
            Some(eps) => ops::rms_norm_with_residual(x, &gain, eps)?,
            None => ops::scale_norm_with_residual(x, &gain, scale, Self::LEAST)?,
        })
    }
}

/// Division by the L2 norm, then one learned gain for all features.
///
/// Source: <https://arxiv.org/abs/1910.05895>.
#[derive(Clone)]
pub struct ScaleNorm {
    /// The gain, `(1)`.
    g: Param,
    dim: usize,
    /// The minimum of the divisor.
    eps: f64,
}

impl ScaleNorm {
    /// That of the Python package.
    const EPS: f64 = 1e-5;

    /// Registers the gain, initialised to dim^-0.5.
    pub fn new(dim: usize, style: NormStyle, p: &mut Params) -> Self {
        let g = p.add("g", &[1], Init::Constant((dim as f64).powf(-0.5)));
        Self { g, dim, eps: style.eps.unwrap_or(Self::EPS) }
    }

    /// See [`Norm::forward_with_residual`].
    fn forward_with_residual(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let gain = ops::broadcast_to(&self.g.tensor(), &[self.dim])?;
        Ok(ops::scale_norm_with_residual(x, &gain, 1.0, self.eps)?)
    }
}

/// The norm that the options of a stack select. If several are enabled, RMSNorm has precedence over
/// ScaleNorm. Clones share the parameters.
#[derive(Clone)]
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
        let style = NormStyle::from(options);
        match (options.use_rmsnorm || options.use_simple_rmsnorm, options.use_scalenorm) {
            (true, _) => Norm::Rms(RmsNorm::new(dim, style, p)),
            (false, true) => Norm::Scale(ScaleNorm::new(dim, style, p)),
            (false, false) => Norm::Layer(LayerNorm::of_style(dim, style, p)),
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

/// The LayerNorm of a wrapper behind its layers; none if these end with a norm of their own.
pub struct LastNorm(pub Option<LayerNorm>);

impl LastNorm {
    /// `(.., dim)` to `(.., dim)`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.0.as_ref().map_or_else(|| Ok(x.clone()), |norm| norm.forward(x))
    }
}
