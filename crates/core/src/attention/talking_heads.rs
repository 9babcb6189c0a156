//! Talking heads: mixes attention maps across heads, `y[g] = Σ_h w[g, h] · x[h]`.
//!
//! Shapes: `x` and `y` are `(batch, heads, i, j)`; `w` is `(heads, heads, 1, 1)`, as in the Python
//! state dict.
//!
//! Source: Talking-Heads Attention, <https://arxiv.org/abs/2003.02436>.

use crate::needs::{Needs, Variant};
use crate::{Init, Param, Params, Result, Tensor};
use xt_autograd::ops;

/// A learned linear map across the heads.
pub struct TalkingHeads {
    weight: Param,
    heads: usize,
}

impl TalkingHeads {
    /// Registers the weight `(heads, heads, 1, 1)`.
    pub fn new(heads: usize, p: &mut Params) -> Self {
        Self { weight: p.add("weight", &[heads, heads, 1, 1], Init::fan_in(heads)), heads }
    }

    /// `(batch, heads, i, j)` to `(batch, heads, i, j)`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let dims = x.dims().to_vec();
        let weight = ops::reshape(&self.weight.tensor(), &[1, self.heads, self.heads])?;
        // one matrix product over the flattened maps, (batch, heads, i · j)
        let flat = ops::reshape(x, &[x.dim(0), self.heads, x.dim(2) * x.dim(3)])?;
        Ok(ops::reshape(&ops::matmul(&weight, &flat, 1.0)?, &dims)?)
    }
}

impl Variant for TalkingHeads {
    /// It mixes the scores of all heads.
    fn needs(&self) -> Needs {
        Needs { whole_scores: true, ..Needs::NONE }
    }
}
