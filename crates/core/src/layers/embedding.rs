//! A lookup table of vectors.

use super::linear::Logits;
use crate::{Init, Param, Params, Result, Tensor};
use std::ops::Range;
use xt_autograd::ops::{self, CrossEntropy};

/// A table of vectors, `(count, dim)`, looked up by index.
pub struct Embedding {
    weight: Param,
    /// Whether looked-up vectors are scaled to length 1.
    l2norm: bool,
}

impl Embedding {
    /// Registers a table `(count, dim)` with the initialisation `init`.
    pub fn new(count: usize, dim: usize, init: Init, p: &mut Params) -> Self {
        Self { weight: p.add("weight", &[count, dim], init), l2norm: false }
    }

    /// Registers a table whose vectors are scaled to length 1 and initialised with small values.
    ///
    /// Source: Transformers without Tears, <https://arxiv.org/abs/1910.05895>.
    pub fn normalised(count: usize, dim: usize, p: &mut Params) -> Self {
        Self { weight: p.add("weight", &[count, dim], Init::Normal { std: 1e-5 }), l2norm: true }
    }

    /// A table that shares the weight `(count, dim)` of another model (weight tying).
    pub fn tied(weight: &Param, p: &mut Params) -> Self {
        p.share("weight", weight);
        Self { weight: weight.clone(), l2norm: false }
    }

    /// The vectors of `ids`, i64 `(..)`: `(.., dim)`.
    pub fn forward(&self, ids: &Tensor) -> Result<Tensor> {
        self.normalise(ops::embedding(&self.weight.tensor(), ids)?)
    }

    /// The vectors of `rows`, which are in the table: `(rows, dim)`.
    pub fn rows(&self, rows: Range<usize>) -> Result<Tensor> {
        self.normalise(ops::narrow(&self.weight.tensor(), 0, rows.start, rows.len())?)
    }

    /// Applies the L2 normalisation if it is enabled.
    fn normalise(&self, rows: Tensor) -> Result<Tensor> {
        if self.l2norm {
            Ok(ops::l2_norm(&rows)?)
        } else {
            Ok(rows)
        }
    }

    /// Logits of `x` with the table as the weight of a linear layer: `(.., dim)` to `(.., count)`.
    pub fn logits(&self, x: &Tensor) -> Result<Tensor> {
        Ok(ops::linear(x, &self.weight.tensor(), None)?)
    }

    /// The mean cross-entropy between the logits of `x`, `(.., dim)`, as `logits` says, and
    /// `targets`, i64 `(..)`. `of` says which targets count.
    pub fn cross_entropy(
        &self,
        x: &Tensor,
        logits: Logits,
        targets: &Tensor,
        of: CrossEntropy,
    ) -> Result<Tensor> {
        logits.cross_entropy(x, (&self.weight.tensor(), None), targets, of)
    }

    /// The table, `(count, dim)`.
    pub fn param(&self) -> &Param {
        &self.weight
    }
}
