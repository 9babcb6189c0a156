//! A single step of a gated recurrent unit, with PyTorch's parameter names and order of gates
//! (reset, update, new).
//!
//! Source: <https://arxiv.org/abs/1406.1078>.

use crate::{Init, Param, Params, Result, Tensor};
use xt_autograd::ops;

/// A gated recurrent unit whose input and state have the same width.
pub struct GruCell {
    /// `(3 dim, dim)`.
    weight_ih: Param,
    /// `(3 dim, dim)`.
    weight_hh: Param,
    /// `(3 dim)`.
    bias_ih: Param,
    /// `(3 dim)`.
    bias_hh: Param,
}

impl GruCell {
    /// Registers the parameters for width `dim`.
    pub fn new(dim: usize, p: &mut Params) -> Self {
        let mut add = |name: &str, shape: &[usize]| p.add(name, shape, Init::fan_in(dim));
        Self {
            weight_ih: add("weight_ih", &[3 * dim, dim]),
            weight_hh: add("weight_hh", &[3 * dim, dim]),
            bias_ih: add("bias_ih", &[3 * dim]),
            bias_hh: add("bias_hh", &[3 * dim]),
        }
    }

    /// The new state, computed from the input and the previous state; all are `(.., dim)`.
    pub fn forward(&self, input: &Tensor, state: &Tensor) -> Result<Tensor> {
        // (.., 3 dim)
        let from_input =
            ops::linear(input, &self.weight_ih.tensor(), Some(&self.bias_ih.tensor()))?;
        let from_state =
            ops::linear(state, &self.weight_hh.tensor(), Some(&self.bias_hh.tensor()))?;
        Ok(ops::gru_gates(&from_input, &from_state, state)?)
    }
}
