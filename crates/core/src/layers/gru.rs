//! A gated recurrent unit's single step, with PyTorch's names and order of gates (reset, update, new).
//!
//! Source: <https://arxiv.org/abs/1406.1078>.

use crate::{Init, Param, Params, Result, Tensor};
use xt_autograd::ops::{self, Activation};

pub struct GruCell {
    weight_ih: Param,
    weight_hh: Param,
    bias_ih: Param,
    bias_hh: Param,
    dim: usize,
}

impl GruCell {
    pub fn new(dim: usize, p: &mut Params) -> Self {
        let mut add = |name: &str, shape: &[usize]| p.add(name, shape, Init::fan_in(dim));
        Self {
            weight_ih: add("weight_ih", &[3 * dim, dim]),
            weight_hh: add("weight_hh", &[3 * dim, dim]),
            bias_ih: add("bias_ih", &[3 * dim]),
            bias_hh: add("bias_hh", &[3 * dim]),
            dim,
        }
    }

    /// The new state from the input and the old state, all (.., dim).
    pub fn forward(&self, input: &Tensor, state: &Tensor) -> Result<Tensor> {
        let from_input = ops::linear(input, &self.weight_ih.tensor(), Some(&self.bias_ih.tensor()))?;
        let from_state = ops::linear(state, &self.weight_hh.tensor(), Some(&self.bias_hh.tensor()))?;
        let part = |x: &Tensor, gate: usize| ops::narrow(x, x.rank() - 1, gate * self.dim, self.dim);
        let gate = |g: usize| -> Result<Tensor> {
            let sum = ops::add(&part(&from_input, g)?, &part(&from_state, g)?)?;
            Ok(ops::activation(&sum, Activation::Sigmoid)?)
        };
        let (reset, update) = (gate(0)?, gate(1)?);
        let new = ops::tanh(&ops::add(&part(&from_input, 2)?, &ops::mul(&reset, &part(&from_state, 2)?)?)?)?;
        // (1 - update) new + update state
        Ok(ops::add(&new, &ops::mul(&update, &ops::sub(state, &new)?)?)?)
    }
}
