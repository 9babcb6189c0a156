//! Each query attends to the keys with the k largest scores only.
//!
//! Source: Explicit Sparse Transformer, <https://arxiv.org/abs/1912.11637>.

use crate::{Result, Tensor};
use xt_autograd::ops::Mask;

pub struct SparseTopk {
    k: usize,
}

impl SparseTopk {
    pub fn new(k: usize) -> Self {
        Self { k }
    }

    /// `mask`, narrowed to the k largest scores of each row that it allows; equal ones stay together.
    pub fn restrict(&self, scores: &Tensor, mask: Mask) -> Result<Mask> {
        if self.k >= scores.dim(3) {
            return Ok(mask);
        }
        let allowed = xt_kernels::ops::sparse_topk::largest(&scores.array()?, &mask, self.k)?;
        Ok(Mask { allowed: Some(allowed), ..Mask::default() })
    }
}
