//! Residual connections: how the output of a branch is combined with the residual stream.
//!
//! Scaled: NormFormer, <https://arxiv.org/abs/2110.09456>, and DeepNet,
//! <https://arxiv.org/abs/2203.00555>; gated by a recurrent unit: Stabilizing Transformers for
//! Reinforcement Learning, <https://arxiv.org/abs/1910.06764>.

use super::gru::GruCell;
use crate::{Init, Param, Params, Result, Tensor};
use xt_autograd::ops;

/// A residual connection.
pub struct Residual {
    /// The learned factor of the stream, `(dim)`.
    scale: Option<Param>,
    /// The fixed factor of the stream; not used with a gate.
    constant: f64,
    /// The gate that replaces the sum.
    gru: Option<GruCell>,
}

/// The kind of residual connection that the options select.
#[derive(Clone, Copy)]
pub struct ResidualKind {
    /// Whether a gated recurrent unit replaces the sum.
    pub gated: bool,
    /// Whether the stream has a learned factor per feature.
    pub scaled: bool,
    /// A fixed factor of the stream; not used with a gate.
    pub constant: f64,
}

impl Residual {
    /// Registers the parameters for width `dim`.
    pub fn new(dim: usize, kind: ResidualKind, p: &mut Params) -> Self {
        let scale = kind.scaled.then(|| p.add("residual_scale", &[dim], Init::Constant(1.0)));
        let gru = kind.gated.then(|| GruCell::new(dim, &mut p.submodule("gru")));
        Self { scale, constant: kind.constant, gru }
    }

    /// Combines `branch` with the residual stream `x`; both and the result are `(batch, n, dim)`.
    pub fn forward(&self, branch: &Tensor, x: &Tensor) -> Result<Tensor> {
        let scaled = match &self.scale {
            Some(scale) => ops::mul(x, &scale.tensor())?,
            None => x.clone(),
        };
        match &self.gru {
            Some(gru) => gru.forward(branch, &scaled),
            None if self.constant != 1.0 => {
                Ok(ops::add(branch, &ops::affine(&scaled, self.constant, 0.0)?)?)
            }
            None => Ok(ops::add(branch, &scaled)?),
        }
    }
}
