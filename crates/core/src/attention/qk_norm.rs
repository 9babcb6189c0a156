//! Query-key normalisation (cosine similarity): queries and keys are scaled to length 1, per group
//! of features, and the scores have a fixed scale.
//!
//! Source: Query-Key Normalization for Transformers, <https://arxiv.org/abs/2010.04245>; learned
//! scale per feature: Scaling Vision Transformers to 22 Billion Parameters,
//! <https://arxiv.org/abs/2302.05442>.

use crate::needs::{Needs, Variant};
use crate::{Init, Param, Params, Result, Tensor};
use xt_autograd::ops;
use xt_options::attention::AttentionBlockOptions;

/// L2 normalisation of queries and keys.
pub struct QkNorm {
    /// The number of groups of features that are normalised separately.
    groups: usize,
    /// Learned factors of queries and keys, `(head dimension)` each.
    scales: Option<(Param, Param)>,
}

impl QkNorm {
    /// Registers the learned scales if they are enabled.
    pub fn new(options: &AttentionBlockOptions, p: &mut Params) -> Self {
        let mut scale = |name: &str| p.add(name, &[options.dim_head.get()], Init::Constant(1.0));
        let scales =
            options.qk_norm_dim_scale.then(|| (scale("qk_norm_q_scale"), scale("qk_norm_k_scale")));
        Self { groups: options.qk_norm_groups.get(), scales }
    }

    /// Normalises queries, `(.., head dimension)`.
    pub fn query(&self, q: &Tensor) -> Result<Tensor> {
        self.forward(q, self.groups, self.scales.as_ref().map(|s| &s.0))
    }

    /// Normalises keys, `(.., head dimension)`.
    pub fn key(&self, k: &Tensor) -> Result<Tensor> {
        self.forward(k, self.groups, self.scales.as_ref().map(|s| &s.1))
    }

    /// Normalises memory keys, `(.., head dimension)`, over the whole head instead of per group.
    pub fn memory_key(&self, k: &Tensor) -> Result<Tensor> {
        self.forward(k, 1, self.scales.as_ref().map(|s| &s.1))
    }

    /// Normalises `x`, `(.., head dimension)`, in `groups` groups and applies the learned scale.
    fn forward(&self, x: &Tensor, groups: usize, scale: Option<&Param>) -> Result<Tensor> {
        let dims = x.dims().to_vec();
        let Some((width, rows)) = dims.split_last() else {
            return Ok(x.clone());
        };
        let grouped = [rows, &[groups, width / groups]].concat();
        // normalised over the last axis of (.., groups, width / groups)
        let y = ops::reshape(&ops::l2_norm(&ops::reshape(x, &grouped)?)?, &dims)?;
        match scale {
            Some(scale) => Ok(ops::mul(&y, &scale.tensor())?),
            None => Ok(y),
        }
    }
}

impl Variant for QkNorm {
    /// It works on each query and key alone.
    fn needs(&self) -> Needs {
        Needs::NONE
    }
}
