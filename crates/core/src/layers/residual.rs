//! How a branch joins the stream.
//!
//! Scaled: NormFormer, <https://arxiv.org/abs/2110.09456>, and DeepNet, <https://arxiv.org/abs/2203.00555>; gated by a recurrent
//! unit: Stabilizing Transformers for Reinforcement Learning, <https://arxiv.org/abs/1910.06764>.

use super::gru::GruCell;
use crate::{Init, Param, Params, Result, Tensor};
use xt_autograd::ops;

pub struct Residual {
    scale: Option<Param>,
    constant: f64,
    gru: Option<GruCell>,
}

/// What the options ask of a residual.
#[derive(Clone, Copy)]
pub struct ResidualKind {
    pub gated: bool,
    pub scaled: bool,
    /// A factor of the stream; a gate has none.
    pub constant: f64,
}

impl Residual {
    pub fn new(dim: usize, kind: ResidualKind, p: &mut Params) -> Self {
        let scale = kind.scaled.then(|| p.add("residual_scale", &[dim], Init::Constant(1.0)));
        let gru = kind.gated.then(|| GruCell::new(dim, &mut p.under("gru")));
        Self { scale, constant: kind.constant, gru }
    }

    /// `branch` joins `x`, both (batch, n, dim).
    pub fn forward(&self, branch: &Tensor, x: &Tensor) -> Result<Tensor> {
        let scaled = match &self.scale {
            Some(scale) => ops::mul(x, &scale.tensor())?,
            None => x.clone(),
        };
        match &self.gru {
            Some(gru) => gru.forward(branch, &scaled),
            None if self.constant != 1.0 => Ok(ops::add(branch, &ops::affine(&scaled, self.constant, 0.0)?)?),
            None => Ok(ops::add(branch, &scaled)?),
        }
    }
}
