//! From the weighted sums of the values to the output of the attention layer.
//!
//! Tensor product: <https://arxiv.org/abs/2208.06061>; head scale: NormFormer,
//! <https://arxiv.org/abs/2110.09456>; gated values: AlphaFold 2,
//! <https://doi.org/10.1038/s41586-021-03819-2>; attention on attention:
//! <https://arxiv.org/abs/1908.06954>.

use super::heads::repeat_heads;
use crate::layers::Linear;
use crate::{Init, Param, Params, Result, Tensor};
use xt_autograd::ops::{self, Activation};
use xt_options::attention::AttentionBlockOptions;

/// Learned factors of the weighted sums of the values.
pub struct Gates {
    /// One factor per head, `(1, heads, 1, 1)`.
    head_scale: Option<Param>,
    /// The projection of the layer's input to the gate of the values.
    to_v_gate: Option<Linear>,
}

impl Gates {
    /// Registers the parameters of the enabled gates.
    pub fn new(dim: usize, heads: usize, options: &AttentionBlockOptions, p: &mut Params) -> Self {
        // weight 0 and bias 1: at first the gate is sigmoid(1) for every input
        let init = (Init::Constant(0.0), Init::Constant(1.0));
        let inner = heads * options.value_dim();
        Self {
            to_v_gate: options
                .gate_values
                .then(|| Linear::with_init(dim, inner, init, &mut p.submodule("to_v_gate"))),
            head_scale: options
                .head_scale
                .then(|| p.add("head_scale_params", &[1, heads, 1, 1], Init::Constant(1.0))),
        }
    }
}

/// The gates and the output projection of an attention layer.
pub struct Output {
    gates: Gates,
    /// None: the heads side by side are the output.
    to_out: Option<Linear>,
    /// Attention on attention: the projection is twice as wide, and one half gates the other.
    on_attn: bool,
}

impl Output {
    /// Registers the output projection, to this width.
    pub fn new(
        width: usize,
        heads: usize,
        gates: Gates,
        options: &AttentionBlockOptions,
        p: &mut Params,
    ) -> Self {
        let (name, width) =
            if options.on_attn { ("to_out.0", 2 * width) } else { ("to_out", width) };
        let inner = heads * options.value_dim();
        let to_out = options
            .project_out
            .then(|| Linear::new(inner, width, options.out_bias, &mut p.submodule(name)));
        if let Some(to_out) = to_out.as_ref().filter(|_| options.zero_init_output) {
            to_out.zero_init();
        }
        Self { gates, to_out, on_attn: options.on_attn }
    }

    /// The output projection, if there is one.
    pub fn last_layer(&self) -> Option<&Linear> {
        self.to_out.as_ref()
    }

    /// Computes the output `(batch, i, width)` of the layer from `values`,
    /// `(batch, heads, i, value dimension)`. `r` is the factor of the tensor product,
    /// `(batch, key/value heads, i, value dimension)`, and `x` is the input of the layer,
    /// `(batch, i, dim)`.
    pub fn forward(&self, values: &Tensor, r: Option<&Tensor>, x: &Tensor) -> Result<Tensor> {
        let mut y = values.clone();
        if let Some(r) = r {
            y = ops::add(&ops::mul(&y, &repeat_heads(r, y.dim(1))?)?, &y)?;
        }
        if let Some(scale) = &self.gates.head_scale {
            y = ops::mul(&y, &scale.tensor())?;
        }
        y = merge(&y)?; // (batch, i, heads · value dimension)
        if let Some(gate) = &self.gates.to_v_gate {
            y = ops::mul(&y, &ops::activation(&gate.forward(x)?, Activation::Sigmoid)?)?;
        }
        if let Some(to_out) = &self.to_out {
            y = to_out.forward(&y)?; // (batch, i, width), twice as wide with on_attn
        }
        if self.on_attn {
            Ok(ops::glu(&y, Activation::Sigmoid)?)
        } else {
            Ok(y)
        }
    }
}

/// Concatenates the heads: `(batch, heads, n, d)` to `(batch, n, heads · d)`.
fn merge(x: &Tensor) -> Result<Tensor> {
    let merged = [x.dim(0), x.dim(2), x.dim(1) * x.dim(3)];
    Ok(ops::reshape(&ops::transpose(x, 1, 2)?, &merged)?)
}
