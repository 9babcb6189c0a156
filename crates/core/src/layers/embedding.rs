//! A table of vectors, looked up by index.

use crate::{Init, Param, Params, Result, Tensor};
use xt_autograd::ops;

pub struct Embedding {
    weight: Param,
}

impl Embedding {
    /// A table (count, dim).
    pub fn new(count: usize, dim: usize, law: Init, p: &mut Params) -> Self {
        Self { weight: p.add("weight", &[count, dim], law) }
    }

    /// The rows at `ids`, i64 (..): (.., dim).
    pub fn forward(&self, ids: &Tensor) -> Result<Tensor> {
        Ok(ops::embedding(&self.weight.tensor(), ids)?)
    }

    /// The first `count` rows: (count, dim).
    pub fn first(&self, count: usize) -> Result<Tensor> {
        Ok(ops::narrow(&self.weight.tensor(), 0, 0, count)?)
    }
}
