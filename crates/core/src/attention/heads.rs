//! Queries, keys and values from their inputs.
//!
//! One key/value head for all query heads: Fast Transformer Decoding, <https://arxiv.org/abs/1911.02150>.

use super::inputs::AttentionInputs;
use crate::layers::Linear;
use crate::{Error, Params, Result, Tensor};
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

/// The same as they are projected, (batch, length, heads, head dimension); keys and values where they were asked for.
pub struct Projected {
    pub q: Tensor,
    pub r: Option<Tensor>,
    pub keys: Option<(Tensor, Tensor)>,
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

    /// Queries and the factor of the tensor product of `x`; where `keys` says so, keys and values of the context or of `x`, behind the memories.
    pub fn forward(&self, x: &Tensor, with: &AttentionInputs, keys: bool) -> Result<Projected> {
        let own = with.context.is_none() && with.mem.is_none();
        let for_queries = [Some(&self.to_q), self.to_r.as_ref()];
        let for_keys = [Some(&self.to_k), self.to_v.as_ref()];
        let mut done = match keys && own {
            true => apply(x, for_queries.into_iter().chain(for_keys))?,
            false => apply(x, for_queries)?,
        };
        if keys && !own {
            let source = with.context.unwrap_or(x);
            let source = with.mem.map_or_else(|| Ok(source.clone()), |mem| ops::cat(&[mem, source], 1))?;
            done.extend(apply(&source, for_keys)?);
        }
        let mut done = done.into_iter();
        let mut next = |heads: usize, width: usize| done.next().map(|y| split(&y, heads, width)).transpose();
        let q = next(self.heads, self.dim_head)?;
        let r = if self.to_r.is_some() { next(self.kv_heads, self.value_dim)? } else { None };
        let k = next(self.kv_heads, self.dim_head)?;
        let v = next(self.kv_heads, self.value_dim)?;
        Ok(Projected {
            q: q.ok_or_else(|| Error::Internal("no queries".into()))?,
            r,
            keys: k.map(|k| (k.clone(), v.unwrap_or(k))),
        })
    }
}

/// Layers of one input; absent ones give nothing.
fn apply<'a>(x: &Tensor, layers: impl IntoIterator<Item = Option<&'a Linear>>) -> Result<Vec<Tensor>> {
    let layers: Vec<&Linear> = layers.into_iter().flatten().collect();
    Linear::forward_all(&layers, x)
}

fn split(y: &Tensor, heads: usize, width: usize) -> Result<Tensor> {
    Ok(ops::reshape(y, &[y.dim(0), y.dim(1), heads, width])?)
}

/// Heads before positions, or the other way round.
pub fn by_head(x: &Tensor) -> Result<Tensor> {
    Ok(ops::transpose(x, 1, 2)?)
}
