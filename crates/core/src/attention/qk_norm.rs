//! Cosine similarity: queries and keys of length 1, in groups of features, with a fixed scale of the scores.
//!
//! Source: Query-Key Normalization for Transformers, <https://arxiv.org/abs/2010.04245>; learned scales per feature:
//! Scaling Vision Transformers to 22 Billion Parameters, <https://arxiv.org/abs/2302.05442>.

use crate::{Init, Param, Params, Result, Tensor};
use xt_autograd::ops;
use xt_options::attention::AttentionBlockOptions;

pub struct QkNorm {
    groups: usize,
    scales: Option<(Param, Param)>,
}

impl QkNorm {
    pub fn new(options: &AttentionBlockOptions, p: &mut Params) -> Self {
        let mut scale = |name: &str| p.add(name, &[options.dim_head.get()], Init::Constant(1.0));
        let scales = options.qk_norm_dim_scale.then(|| (scale("qk_norm_q_scale"), scale("qk_norm_k_scale")));
        Self { groups: options.qk_norm_groups.get(), scales }
    }

    /// (.., head dimension) to the same.
    pub fn query(&self, q: &Tensor) -> Result<Tensor> {
        self.forward(q, self.groups, self.scales.as_ref().map(|s| &s.0))
    }

    pub fn key(&self, k: &Tensor) -> Result<Tensor> {
        self.forward(k, self.groups, self.scales.as_ref().map(|s| &s.1))
    }

    /// Memory keys are normalised over the whole head.
    pub fn memory_key(&self, k: &Tensor) -> Result<Tensor> {
        self.forward(k, 1, self.scales.as_ref().map(|s| &s.1))
    }

    fn forward(&self, x: &Tensor, groups: usize, scale: Option<&Param>) -> Result<Tensor> {
        let dims = x.dims().to_vec();
        let Some((width, rows)) = dims.split_last() else {
            return Ok(x.clone());
        };
        let grouped = [rows, &[groups, width / groups]].concat();
        let y = ops::reshape(&ops::l2_norm(&ops::reshape(x, &grouped)?)?, &dims)?;
        match scale {
            Some(scale) => Ok(ops::mul(&y, &scale.tensor())?),
            None => Ok(y),
        }
    }
}
