//! The feed-forward layer: up to `mult` times the width, an activation, dropout, and down again.
//!
//! Source: Attention Is All You Need, <https://arxiv.org/abs/1706.03762>; GELU, <https://arxiv.org/abs/1606.08415>.

use super::{dropout, Linear};
use crate::{Ctx, Params, Result, Tensor};
use xt_autograd::ops::{self, Activation};
use xt_options::feedforward::FeedForwardOptions;

pub struct FeedForward {
    up: Linear,
    activation: Activation,
    dropout: f64,
    down: Linear,
}

impl FeedForward {
    pub fn new(dim: usize, options: &FeedForwardOptions, p: &mut Params) -> Self {
        let inner = options.inner_dim(dim);
        let out = options.dim_out.map_or(dim, |n| n.get());
        let bias = !options.no_bias;
        // the numbers are the places in PyTorch's Sequential
        Self {
            up: Linear::new(dim, inner, bias, &mut p.under("ff.0.0")),
            activation: Activation::Gelu,
            dropout: options.dropout.0,
            down: Linear::new(inner, out, bias, &mut p.under("ff.3")),
        }
    }

    /// (batch, n, dim) to (batch, n, dim).
    pub fn forward(&self, x: &Tensor, ctx: &Ctx) -> Result<Tensor> {
        let hidden = ops::activation(&self.up.forward(x)?, self.activation)?;
        self.down.forward(&dropout(&hidden, self.dropout, ctx)?)
    }
}
