//! Norms over the last axis.

use crate::{Init, Param, Params, Result, Tensor};
use xt_autograd::ops;

/// Added to the variance, as in PyTorch.
const EPS: f64 = 1e-5;

/// Layer normalisation. Source: <https://arxiv.org/abs/1607.06450>.
pub struct LayerNorm {
    weight: Param,
    bias: Param,
}

impl LayerNorm {
    pub fn new(dim: usize, p: &mut Params) -> Self {
        Self { weight: p.add("weight", &[dim], Init::Constant(1.0)), bias: p.add("bias", &[dim], Init::Constant(0.0)) }
    }

    /// (.., dim) to (.., dim).
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(ops::layer_norm(x, &self.weight.tensor(), &self.bias.tensor(), EPS)?)
    }
}

/// The norm that the options of the layers choose.
pub enum Norm {
    Layer(LayerNorm),
}

impl Norm {
    pub fn new(dim: usize, p: &mut Params) -> Self {
        Norm::Layer(LayerNorm::new(dim, p))
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Norm::Layer(norm) => norm.forward(x),
        }
    }
}
