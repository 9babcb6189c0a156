//! The head that gives logits: a linear layer or the token embedding, a factor, and a limit.

use crate::layers::{Embedding, Linear, Logits};
use crate::{Error, Params, Result, Tensor};
use xt_autograd::ops::CrossEntropy;
use xt_options::heads::HeadOptions;

/// The configuration of a head.
#[derive(Clone, Copy)]
pub struct HeadConfig {
    /// The number of heads; with 0 there are embeddings alone.
    pub count: usize,
    /// Use the token embedding as the weight, without a bias.
    pub tied: bool,
    /// A bias in a head of its own.
    pub bias: bool,
    /// Their factor and limit.
    pub logits: Logits,
}

impl Default for HeadConfig {
    fn default() -> Self {
        Self { count: 1, tied: false, bias: true, logits: Logits { scale: 1.0, softclamp: None } }
    }
}

impl From<&HeadOptions> for HeadConfig {
    fn from(o: &HeadOptions) -> Self {
        let tied = if o.tie_embedding { o.tie_embedding_scale } else { 1.0 };
        Self {
            count: 1,
            tied: o.tie_embedding,
            bias: o.logits_bias,
            logits: Logits { scale: o.logits_scale * tied, softclamp: o.logit_softclamp_value },
        }
    }
}

/// The head that gives logits, or several.
pub struct Head {
    /// A layer for each; none if the token embedding serves as its weight (tied weights).
    own: Vec<Linear>,
    /// Whether there is no head at all.
    absent: bool,
    logits: Logits,
}

impl Head {
    /// Registers the parameters of a head from `dim` to `outputs`.
    pub fn new(dim: usize, outputs: usize, config: &HeadConfig, p: &mut Params) -> Self {
        let layer = |name: String| Linear::new(dim, outputs, config.bias, &mut p.submodule(name));
        let own = match config.count {
            0 => Vec::new(),
            _ if config.tied => Vec::new(),
            1 => vec![layer("to_logits".into())],
            count => (0..count).map(|i| layer(format!("to_logits.{i}"))).collect(),
        };
        let absent = config.count == 0;
        Self { own, absent, logits: config.logits }
    }

    /// The number of heads.
    pub fn count(&self) -> usize {
        if self.absent {
            return 0;
        }
        self.own.len().max(1)
    }

    /// # Errors
    ///
    /// [`Error::Shape`] if there is no head.
    fn require(&self) -> Result<()> {
        if self.absent {
            return Error::shape(
                "a model with `return_only_embed` has no head, and so no logits: it gives \
                 embeddings alone",
            );
        }
        Ok(())
    }

    /// `(.., dim)` to the logits `(.., outputs)` of the only or first head. `table` is the token
    /// embedding.
    pub fn forward(&self, x: &Tensor, table: &Embedding) -> Result<Tensor> {
        self.require()?;
        match self.own.first() {
            Some(linear) => self.logits.of(&linear.forward(x)?),
            None => self.logits.of(&table.logits(x)?),
        }
    }

    /// `(.., dim)` to the logits `(.., outputs)` of each head.
    pub fn all(&self, x: &Tensor, table: &Embedding) -> Result<Vec<Tensor>> {
        if self.own.is_empty() {
            return Ok(vec![self.forward(x, table)?]);
        }
        self.own.iter().map(|linear| self.logits.of(&linear.forward(x)?)).collect()
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
        self.require()?;
        match self.own.first() {
            Some(linear) => linear.cross_entropy(x, self.logits, targets, of),
            None => table.cross_entropy(x, self.logits, targets, of),
        }
    }
}
