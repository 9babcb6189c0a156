//! Queries, keys and values from their inputs.
//!
//! One key/value head for all query heads: Fast Transformer Decoding, <https://arxiv.org/abs/1911.02150>.

use super::AttentionInputs;
use crate::layers::Linear;
use crate::{Params, Result, Tensor};
use xt_autograd::ops;
use xt_options::attention::AttentionBlockOptions;

pub struct Projection {
    to_q: Linear,
    to_k: Linear,
    /// Absent where keys serve as values too.
    to_v: Option<Linear>,
    /// The factor of the tensor product, made from the query's input.
    to_r: Option<Linear>,
    heads: usize,
    kv_heads: usize,
    dim_head: usize,
    value_dim: usize,
}

/// Queries, keys, values and the factor of the tensor product, (batch, heads, length, head dimension).
pub struct Heads {
    pub q: Tensor,
    pub k: Tensor,
    pub v: Tensor,
    pub r: Option<Tensor>,
}

impl Projection {
    pub fn new(dim: usize, heads: usize, options: &AttentionBlockOptions, p: &mut Params) -> Self {
        let (dim_head, value_dim) = (options.dim_head.get(), options.value_dim());
        let kv_heads = if options.one_kv_head { 1 } else { heads };
        let linear = |name: &str, out| Linear::new(dim, out, false, &mut p.under(name));
        Self {
            to_q: linear("to_q", heads * dim_head),
            to_k: linear("to_k", kv_heads * dim_head),
            to_v: (!options.shared_kv).then(|| linear("to_v", kv_heads * value_dim)),
            to_r: options.tensor_product.then(|| linear("to_r", kv_heads * value_dim)),
            heads,
            kv_heads,
            dim_head,
            value_dim,
        }
    }

    /// Queries of `x`, and the factor of the tensor product, (batch, i, heads, head dimension).
    pub fn queries(&self, x: &Tensor) -> Result<(Tensor, Option<Tensor>)> {
        let r = self.to_r.as_ref().map(|to_r| split(to_r, x, self.kv_heads, self.value_dim)).transpose()?;
        Ok((split(&self.to_q, x, self.heads, self.dim_head)?, r))
    }

    /// Keys and values of the context or of `x`, behind the memories, (batch, j, heads, head dimension).
    pub fn keys_values(&self, x: &Tensor, with: &AttentionInputs) -> Result<(Tensor, Tensor)> {
        let source = with.context.unwrap_or(x);
        let source = match with.mem {
            Some(mem) => ops::cat(&[mem, source], 1)?,
            None => source.clone(),
        };
        let k = split(&self.to_k, &source, self.kv_heads, self.dim_head)?;
        let v = match &self.to_v {
            Some(to_v) => split(to_v, &source, self.kv_heads, self.value_dim)?,
            None => k.clone(),
        };
        Ok((k, v))
    }
}

fn split(layer: &Linear, x: &Tensor, heads: usize, width: usize) -> Result<Tensor> {
    Ok(ops::reshape(&layer.forward(x)?, &[x.dim(0), x.dim(1), heads, width])?)
}

/// Heads before positions, or the other way round.
pub fn by_head(x: &Tensor) -> Result<Tensor> {
    Ok(ops::transpose(x, 1, 2)?)
}
