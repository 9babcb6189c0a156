//! A table of vectors, looked up by index.

use crate::{Init, Param, Params, Result, Tensor};
use xt_autograd::ops;

pub struct Embedding {
    weight: Param,
    /// The vectors are brought to length 1.
    l2norm: bool,
}

impl Embedding {
    /// A table (count, dim).
    pub fn new(count: usize, dim: usize, law: Init, p: &mut Params) -> Self {
        Self { weight: p.add("weight", &[count, dim], law), l2norm: false }
    }

    /// A table of vectors of length 1, with small first values.
    /// Source: Transformers without Tears, <https://arxiv.org/abs/1910.05895>.
    pub fn normalised(count: usize, dim: usize, p: &mut Params) -> Self {
        Self { weight: p.add("weight", &[count, dim], Init::Normal { std: 1e-5 }), l2norm: true }
    }

    /// A table that another model owns too.
    pub fn tied(weight: &Param, p: &mut Params) -> Self {
        p.share("weight", weight);
        Self { weight: weight.clone(), l2norm: false }
    }

    /// The rows at `ids`, i64 (..): (.., dim).
    pub fn forward(&self, ids: &Tensor) -> Result<Tensor> {
        self.finish(ops::embedding(&self.weight.tensor(), ids)?)
    }

    /// The first `count` rows: (count, dim).
    pub fn first(&self, count: usize) -> Result<Tensor> {
        self.finish(ops::narrow(&self.weight.tensor(), 0, 0, count)?)
    }

    fn finish(&self, rows: Tensor) -> Result<Tensor> {
        if self.l2norm {
            Ok(ops::l2_norm(&rows)?)
        } else {
            Ok(rows)
        }
    }

    /// Logits from vectors: `x` (.., dim) to (.., count).
    pub fn project_back(&self, x: &Tensor) -> Result<Tensor> {
        Ok(ops::linear(x, &self.weight.tensor(), None)?)
    }

    /// Mean cross-entropy of these logits with targets, i64 (..).
    pub fn cross_entropy(&self, x: &Tensor, targets: &Tensor, ignore_index: i64) -> Result<Tensor> {
        Ok(ops::linear_cross_entropy(x, (&self.weight.tensor(), None), targets, ignore_index)?)
    }

    pub fn param(&self) -> &Param {
        &self.weight
    }
}
