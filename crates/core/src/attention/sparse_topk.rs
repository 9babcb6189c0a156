//! Sparse attention: each query attends only to the keys with the `k` largest scores.
//!
//! Source: Explicit Sparse Transformer, <https://arxiv.org/abs/1912.11637>.

use crate::needs::{Needs, Variant};
use crate::{Result, Tensor};
use xt_autograd::ops::Mask;

/// Restricts attention to the `k` largest scores of each query.
pub struct SparseTopk {
    k: usize,
}

impl SparseTopk {
    /// `k` is the number of keys per query, at least 1.
    pub fn new(k: usize) -> Self {
        Self { k }
    }

    /// Restricts `mask` to the `k` largest of the scores that it allows in each row of `scores`,
    /// `(batch, heads, i, j)`. Scores equal to the k-th largest are all kept.
    pub fn restrict(&self, scores: &Tensor, mask: Mask) -> Result<Mask> {
        if self.k >= scores.dim(3) {
            return Ok(mask);
        }
        let allowed = xt_kernels::ops::sparse_topk::largest(&scores.array()?, &mask, self.k)?;
        Ok(Mask { allowed: Some(allowed), ..Mask::default() })
    }
}

impl Variant for SparseTopk {
    /// It compares all scores of a row.
    fn needs(&self) -> Needs {
        Needs { whole_scores: true, ..Needs::NONE }
    }
}
