//! The head that gives logits: a linear layer or the token embedding, a factor, and a limit.

use crate::layers::{scaled, Embedding, Linear};
use crate::{Params, Result, Tensor};
use xt_autograd::ops::{self, CrossEntropy};
use xt_options::wrappers::HeadOptions;

/// The configuration of a head.
#[derive(Clone, Copy)]
pub struct HeadConfig {
    /// Use the token embedding as the weight, without a bias.
    pub tied: bool,
    /// A bias in a head of its own.
    pub bias: bool,
    /// The factor of the logits.
    pub scale: f64,
    /// The limit of the logits, which are scaled before.
    pub softclamp: Option<f64>,
}

impl Default for HeadConfig {
    fn default() -> Self {
        Self { tied: false, bias: true, scale: 1.0, softclamp: None }
    }
}

impl From<&HeadOptions> for HeadConfig {
    fn from(o: &HeadOptions) -> Self {
        let tied = if o.tie_embedding { o.tie_embedding_scale } else { 1.0 };
        Self {
            tied: o.tie_embedding,
            bias: o.logits_bias,
            scale: o.logits_scale * tied,
            softclamp: o.logit_softclamp_value,
        }
    }
}

/// The head that gives logits.
pub struct Head {
    /// The layer; absent if the token embedding serves as its weight (tied weights).
    own: Option<Linear>,
    scale: f64,
    softclamp: Option<f64>,
}

impl Head {
    /// Registers the parameters of a head from `dim` to `outputs`.
    pub fn new(dim: usize, outputs: usize, config: &HeadConfig, p: &mut Params) -> Self {
        let own = (!config.tied)
            .then(|| Linear::new(dim, outputs, config.bias, &mut p.submodule("to_logits")));
        Self { own, scale: config.scale, softclamp: config.softclamp }
    }

    /// `(.., dim)` to logits `(.., outputs)`. `table` is the token embedding.
    pub fn forward(&self, x: &Tensor, table: &Embedding) -> Result<Tensor> {
        let logits = match &self.own {
            Some(linear) => linear.forward(x)?,
            None => table.logits(x)?,
        };
        let logits = scaled(&logits, self.scale)?;
        match self.softclamp {
            Some(limit) => softclamp(&logits, limit),
            None => Ok(logits),
        }
    }

    /// The mean cross-entropy between the logits of `x`, `(batch, n, dim)`, and `targets`, i64
    /// `(batch, n)`. `of` says which targets count. `table` is the token embedding.
    pub fn cross_entropy(
        &self,
        x: &Tensor,
        table: &Embedding,
        targets: &Tensor,
        of: CrossEntropy,
    ) -> Result<Tensor> {
        // a limit needs the logits themselves; without one, a block of them is computed at a time
        if self.softclamp.is_some() {
            return Ok(ops::cross_entropy(&self.forward(x, table)?, targets, of)?);
        }
        match &self.own {
            Some(linear) => linear.cross_entropy(x, self.scale, targets, of),
            None => table.cross_entropy(x, self.scale, targets, of),
        }
    }
}

/// `limit · tanh(x / limit)`.
///
/// Source: Gemma 2, <https://arxiv.org/abs/2408.00118>.
fn softclamp(x: &Tensor, limit: f64) -> Result<Tensor> {
    let tanh = ops::tanh(&ops::affine(x, 1.0 / limit, 0.0)?)?;
    Ok(ops::affine(&tanh, limit, 0.0)?)
}
