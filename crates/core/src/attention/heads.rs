//! Projection of the inputs to queries, keys and values.
//!
//! One key/value head for all query heads (multi-query attention): Fast Transformer Decoding,
//! <https://arxiv.org/abs/1911.02150>; one for each group of neighbouring query heads: GQA,
//! <https://arxiv.org/abs/2305.13245>.

use super::inputs::AttentionInputs;
use crate::layers::Linear;
use crate::{Error, Params, Result, Tensor};
use xt_autograd::ops;
use xt_options::attention::AttentionBlockOptions;

/// The linear layers that project to queries, keys and values.
pub struct Projection {
    to_q: Linear,
    to_k: Linear,
    /// Absent if the keys also serve as the values.
    to_v: Option<Linear>,
    /// The projection of the query input to the factor of the tensor product.
    to_r: Option<Linear>,
    heads: usize,
    kv_heads: usize,
    dim_head: usize,
    value_dim: usize,
    /// The largest absolute value of queries, keys and values.
    clip: Option<f64>,
}

/// The widths of an attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Widths {
    /// That of its input, from which queries come.
    pub input: usize,
    /// That of the input of keys and values.
    pub context: usize,
    /// That of its output.
    pub output: usize,
}

/// Queries, keys, values and the factor of the tensor product, separated by head.
pub struct Heads {
    /// `(batch, heads, i, head dimension)`.
    pub q: Tensor,
    /// `(batch, key/value heads, j, head dimension)`.
    pub k: Tensor,
    /// `(batch, key/value heads, j, value dimension)`.
    pub v: Tensor,
    /// The factor of the tensor product, `(batch, key/value heads, i, value dimension)`, if
    /// enabled.
    pub r: Option<Tensor>,
}

/// The projected inputs, before the head axis is moved in front of the positions.
pub struct Projected {
    /// `(batch, i, heads, head dimension)`.
    pub q: Tensor,
    /// The factor of the tensor product, `(batch, i, key/value heads, value dimension)`, if
    /// enabled.
    pub r: Option<Tensor>,
    /// Keys and values, `(batch, j, key/value heads, head or value dimension)`, if they were
    /// requested.
    pub keys: Option<(Tensor, Tensor)>,
    /// The input of keys and values, `(batch, j, width)`.
    pub source: Tensor,
}

impl Projection {
    /// Registers the linear layers of an attention of these widths.
    pub fn new(
        widths: Widths,
        heads: usize,
        options: &AttentionBlockOptions,
        p: &mut Params,
    ) -> Self {
        let (dim_head, value_dim) = (options.dim_head.get(), options.value_dim());
        let kv_heads = options.key_heads(heads);
        let bias = options.qkv_bias;
        let Widths { input, context, .. } = widths;
        let linear = |name: &str, dim, out| Linear::new(dim, out, bias, &mut p.submodule(name));
        Self {
            to_q: linear("to_q", input, heads * dim_head),
            to_k: linear("to_k", context, kv_heads * dim_head),
            to_v: (!options.shared_kv).then(|| linear("to_v", context, kv_heads * value_dim)),
            to_r: options.tensor_product.then(|| linear("to_r", input, kv_heads * value_dim)),
            heads,
            kv_heads,
            dim_head,
            value_dim,
            clip: options.qkv_clip,
        }
    }

    /// The number of heads of keys and values, and their widths.
    pub fn key_widths(&self) -> [usize; 3] {
        let value = if self.to_v.is_some() { self.value_dim } else { self.dim_head };
        [self.kv_heads, self.dim_head, value]
    }

    /// Projects `x` to queries and the factor of the tensor product. If `keys` is set, also
    /// projects the memories followed by the context (or `x` if there is none) to keys and values.
    pub fn forward(&self, x: &Tensor, with: &AttentionInputs, keys: bool) -> Result<Projected> {
        // a single input allows all projections in one batch of matrix products
        let own = with.context.is_none() && with.mem.is_none();
        let for_queries = [Some(&self.to_q), self.to_r.as_ref()];
        let for_keys = [Some(&self.to_k), self.to_v.as_ref()];
        let mut done = match keys && own {
            true => apply(x, for_queries.into_iter().chain(for_keys))?,
            false => apply(x, for_queries)?,
        };
        let mut source = with.context.unwrap_or(x).clone();
        if keys && !own {
            if let Some(mem) = with.mem {
                source = ops::cat(&[mem, &source], 1)?;
            }
            done.extend(apply(&source, for_keys)?);
        }
        let mut done = done.into_iter();
        let mut next =
            |heads: usize, width: usize| done.next().map(|y| split(&y, heads, width)).transpose();
        let q = self.clipped(next(self.heads, self.dim_head)?)?;
        let r = if self.to_r.is_some() { next(self.kv_heads, self.value_dim)? } else { None };
        let k = self.clipped(next(self.kv_heads, self.dim_head)?)?;
        let v = self.clipped(next(self.kv_heads, self.value_dim)?)?;
        Ok(Projected {
            q: q.ok_or_else(|| Error::Internal("no queries".into()))?,
            r,
            keys: k.map(|k| (k.clone(), v.unwrap_or(k))),
            source,
        })
    }
}

impl Projection {
    /// `x` within the limit, if there is one.
    fn clipped(&self, x: Option<Tensor>) -> Result<Option<Tensor>> {
        match (x, self.clip) {
            (Some(x), Some(limit)) => Ok(Some(ops::clamp(&x, Some(-limit), Some(limit))?)),
            (x, _) => Ok(x),
        }
    }
}

/// Applies all present layers to the same input, `(.., in)` to `(.., out)` each.
fn apply<'a>(
    x: &Tensor,
    layers: impl IntoIterator<Item = Option<&'a Linear>>,
) -> Result<Vec<Tensor>> {
    let layers: Vec<&Linear> = layers.into_iter().flatten().collect();
    Linear::forward_all(&layers, x)
}

/// `(batch, n, heads · width)` to `(batch, n, heads, width)`.
fn split(y: &Tensor, heads: usize, width: usize) -> Result<Tensor> {
    Ok(ops::reshape(y, &[y.dim(0), y.dim(1), heads, width])?)
}

/// Multiplies `a`, `(batch, heads, n, m)`, with `b`, `(batch, key/value heads, m, width)`. Query
/// heads that share a head of `b` are multiplied together. Returns `(batch, heads, n, width)`.
pub fn by_shared_heads(a: &Tensor, b: &Tensor, alpha: f64) -> Result<Tensor> {
    let ([batch, heads, n, m], shared) = ([a.dim(0), a.dim(1), a.dim(2), a.dim(3)], b.dim(1));
    if shared == heads || shared == 1 {
        return Ok(ops::matmul(a, b, alpha)?);
    }
    let together = ops::reshape(a, &[batch, shared, heads / shared * n, m])?;
    Ok(ops::reshape(&ops::matmul(&together, b, alpha)?, &[batch, heads, n, b.dim(3)])?)
}

/// Repeats key/value heads for the query heads that share them: `(batch, key/value heads, n,
/// width)` to `(batch, heads, n, width)`.
pub fn repeat_heads(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (shared, [batch, n, width]) = (x.dim(1), [x.dim(0), x.dim(2), x.dim(3)]);
    if shared == heads || shared == 1 {
        return Ok(x.clone()); // broadcast
    }
    let repeated = [batch, shared, heads / shared, n, width];
    let x = ops::broadcast_to(&ops::reshape(x, &[batch, shared, 1, n, width])?, &repeated)?;
    Ok(ops::reshape(&x, &[batch, heads, n, width])?)
}

/// Transposes axes 1 and 2: `(batch, n, heads, d)` to `(batch, heads, n, d)`, or back.
pub fn by_head(x: &Tensor) -> Result<Tensor> {
    Ok(ops::transpose(x, 1, 2)?)
}
