//! RMSNorm of queries and keys, with a learned scale per head and feature, or per feature.
//!
//! Sources: Scaling Vision Transformers to 22 Billion Parameters,
//! <https://arxiv.org/abs/2302.05442>; over all heads together: OLMo 2,
//! <https://arxiv.org/abs/2501.00656>; one scale for all heads: Qwen 3,
//! <https://arxiv.org/abs/2505.09388>.

use crate::needs::{Needs, Variant};
use crate::{Array, Init, Param, Params, Result, Tensor};
use xt_autograd::ops;
use xt_options::attention::AttentionBlockOptions;

/// RMSNorm of queries and keys, or of keys alone.
pub struct QkRmsNorm {
    /// Scales of the queries, `(heads, head dimension)`; those that all heads share,
    /// `(head dimension)`. None: keys alone are normalised.
    q: Option<Param>,
    /// Scales of the keys, `(key/value heads, head dimension)` or `(head dimension)`.
    k: Param,
    across_heads: bool,
    shared: bool,
    /// What is added to the stored scales.
    offset: f64,
    eps: f64,
}

impl QkRmsNorm {
    /// Registers the scales, which are 1 at first.
    pub fn new(heads: usize, options: &AttentionBlockOptions, p: &mut Params) -> Self {
        let offset = if options.qk_rmsnorm_add_unit_offset { 1.0 } else { 0.0 };
        let scale = |name: &str, heads: usize| {
            let shape = [heads, options.dim_head.get()];
            let own = if options.qk_rmsnorm_shared { &shape[1..] } else { &shape[..] };
            p.submodule(name).add("weight", own, Init::Constant(1.0 - offset))
        };
        Self {
            q: options.qk_rmsnorm.then(|| scale("q_rmsnorm", heads)),
            k: scale("k_rmsnorm", options.key_heads(heads)),
            across_heads: options.qk_rmsnorm_across_heads,
            shared: options.qk_rmsnorm_shared,
            offset,
            eps: options.qk_rmsnorm_eps.0,
        }
    }

    /// Normalises queries, `(batch, i, heads, head dimension)`.
    pub fn query(&self, q: &Tensor) -> Result<Tensor> {
        self.q.as_ref().map_or(Ok(q.clone()), |scale| self.forward(q, scale))
    }

    /// Normalises keys, `(batch, j, key/value heads, head dimension)`.
    pub fn key(&self, k: &Tensor) -> Result<Tensor> {
        self.forward(k, &self.k)
    }

    fn forward(&self, x: &Tensor, scale: &Param) -> Result<Tensor> {
        let scale = match self.offset {
            0.0 => scale.tensor(),
            offset => ops::affine(&scale.tensor(), 1.0, offset)?,
        };
        if self.shared {
            return Ok(ops::rms_norm(x, &scale, self.eps)?);
        }
        let [batch, n, heads, width] = [x.dim(0), x.dim(1), x.dim(2), x.dim(3)];
        if self.across_heads {
            let joined = ops::reshape(x, &[batch, n, heads * width])?;
            let scale = ops::reshape(&scale, &[heads * width])?;
            return Ok(ops::reshape(&ops::rms_norm(&joined, &scale, self.eps)?, x.dims())?);
        }
        let ones = Array::ones(width, x.dtype(), &x.device())?;
        let normed = ops::rms_norm(x, &Tensor::constant(ones), self.eps)?;
        Ok(ops::mul(&normed, &scale)?)
    }
}

impl Variant for QkRmsNorm {
    /// It works on each query and key alone.
    fn needs(&self) -> Needs {
        Needs::NONE
    }
}
