//! `y = x Wᵀ + bias`, with PyTorch's shapes and first values.

use crate::{Init, Param, Params, Result, Tensor};
use xt_autograd::ops;

pub struct Linear {
    weight: Param,
    bias: Option<Param>,
}

impl Linear {
    /// Weight (out, in), bias (out).
    pub fn new(inputs: usize, outputs: usize, bias: bool, p: &mut Params) -> Self {
        Self {
            weight: p.add("weight", &[outputs, inputs], Init::fan_in(inputs)),
            bias: bias.then(|| p.add("bias", &[outputs], Init::fan_in(inputs))),
        }
    }

    /// (.., in) to (.., out).
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let bias = self.bias.as_ref().map(Param::tensor);
        Ok(ops::linear(x, &self.weight.tensor(), bias.as_ref())?)
    }
}
