//! The feed-forward layer: projection to `mult` times the width, activation, dropout, projection
//! back.
//!
//! Source: Attention Is All You Need, <https://arxiv.org/abs/1706.03762>; GELU,
//! <https://arxiv.org/abs/1606.08415>; gated linear units: GLU Variants Improve Transformer,
//! <https://arxiv.org/abs/2002.05202>; squared ReLU: Primer, <https://arxiv.org/abs/2109.08668>;
//! norm after the activation: NormFormer, <https://arxiv.org/abs/2110.09456>.

use super::{dropout, dropout_active, LayerNorm, Linear};
use crate::{Ctx, Init, Param, Params, Result, Tensor};
use xt_autograd::ops::{self, Activation, Inner};
use xt_options::feedforward::FeedForwardOptions;
use xt_options::FfActivation;

fn kind(activation: FfActivation) -> Activation {
    match activation {
        FfActivation::Gelu => Activation::Gelu,
        FfActivation::GeluTanh => Activation::GeluTanh,
        FfActivation::Silu => Activation::Silu,
        FfActivation::Relu => Activation::Relu,
        FfActivation::ReluSquared => Activation::ReluSquared,
        FfActivation::QuickGelu => Activation::QuickGelu,
        FfActivation::Sigmoid => Activation::Sigmoid,
    }
}

/// A feed-forward layer without norm and residual.
pub struct FeedForward {
    up: Linear,
    /// The activation or gated linear unit between the projections. With a gated linear unit, `up`
    /// is twice as wide.
    inner: Inner,
    /// A factor of each feature of the gated linear unit, `(inner)`.
    mult_bias: Option<Param>,
    norm: Option<LayerNorm>,
    dropout: f64,
    down: Linear,
    /// Dropout of the output.
    sublayer_dropout: f64,
}

impl FeedForward {
    /// Registers the parameters of a feed-forward of input width `dim`.
    pub fn new(dim: usize, options: &FeedForwardOptions, p: &mut Params) -> Self {
        let inner = options.inner_dim(dim);
        let out = options.dim_out.map_or(dim, |n| n.get());
        let bias = !options.no_bias;
        // the numbers are the indices in PyTorch's Sequential; the bias of the gated projection has
        // an option of its own
        let up = if options.glu {
            Linear::new(dim, 2 * inner, options.glu_bias, &mut p.submodule("ff.0.proj"))
        } else {
            Linear::new(dim, inner, bias, &mut p.submodule("ff.0.0"))
        };
        let mult_bias = options
            .glu_mult_bias
            .then(|| p.submodule("ff.0").add("mult_bias", &[inner], Init::Constant(1.0)));
        let norm = options.post_act_ln.then(|| LayerNorm::new(inner, &mut p.submodule("ff.1")));
        let down = Linear::new(inner, out, bias, &mut p.submodule("ff.3"));
        if options.zero_init_output {
            down.zero_init();
        }
        let activation = kind(options.activation());
        let inner =
            if options.glu { Inner::Glu(activation) } else { Inner::Activation(activation) };
        let sublayer_dropout = options.sublayer_dropout.0;
        Self { up, inner, mult_bias, norm, dropout: options.dropout.0, down, sublayer_dropout }
    }

    /// The layer at the end of the branch.
    pub fn last_layer(&self) -> &Linear {
        &self.down
    }

    /// `(batch, n, dim)` to `(batch, n, output dimension)`, which is `dim` unless the options set
    /// `dim_out`.
    pub fn forward(&self, x: &Tensor, ctx: &Ctx) -> Result<Tensor> {
        dropout(&self.projected(x, ctx)?, self.sublayer_dropout, ctx)
    }

    /// The output before its dropout.
    fn projected(&self, x: &Tensor, ctx: &Ctx) -> Result<Tensor> {
        // without norm and dropout between them, both projections run as one fused operation
        let low_rank = self.up.has_low_rank() || self.down.has_low_rank();
        if self.norm.is_none() && !dropout_active(self.dropout, ctx) && !low_rank {
            let factors = self.mult_bias.as_ref().map(Param::tensor);
            // in the weight they take no pass over the features of all rows; a few rows are less
            let rows = x.elem_count() / x.dim(x.rank() - 1).max(1);
            let folds = rows > self.down.outputs() && !self.down.is_quantized();
            if factors.is_none() || folds {
                return self.up.feedforward(x, self.inner, &self.down, factors.as_ref());
            }
        }
        // (batch, n, inner), or (batch, n, 2 inner) with a gated unit
        let up = self.up.forward(x)?;
        // (batch, n, inner)
        let mut hidden = match self.inner {
            Inner::Glu(activation) => ops::glu(&up, activation)?,
            Inner::Activation(activation) => ops::activation(&up, activation)?,
        };
        if let Some(factors) = &self.mult_bias {
            hidden = ops::mul(&hidden, &factors.tensor())?;
        }
        if let Some(norm) = &self.norm {
            hidden = norm.forward(&hidden)?;
        }
        self.down.forward(&dropout(&hidden, self.dropout, ctx)?)
    }
}
