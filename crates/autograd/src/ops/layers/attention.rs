//! Attention, its biases and positions.

use crate::{Result, Tensor};
use xt_kernels::ops::dropout::Dropout;
use xt_kernels::ops::rotary::{Direction, Pairs};
use xt_kernels::ops::softmax::Mask;
use xt_kernels::{self as kernels, Array};

/// Softmax over the last axis of the attention scores, with a mask.
pub fn masked_softmax(scores: &Tensor, mask: &Mask) -> Result<Tensor> {
    let y = kernels::ops::softmax::forward(&scores.array()?, mask)?;
    let (kept, mask) = (y.clone(), mask.clone());
    Ok(Tensor::record(y, &[scores], move |g| {
        Ok(vec![Some(kernels::ops::softmax::backward(&kept, g, &mask)?)])
    }))
}

/// The settings of [`attention`], with its inputs besides queries, keys and values.
pub struct AttentionSettings<'a> {
    /// Bias by relative distance, (heads, i + j - 1), see [`expand_distance_bias`].
    pub bias: Option<&'a Tensor>,
    /// Scores of keys whose values are 0, (heads, count).
    pub sinks: Option<&'a Tensor>,
    /// Factor of the products of queries and keys.
    pub scale: f64,
    /// Limits the scores, bias included, to -c to c.
    pub softcap: Option<f64>,
    /// The keys that each query may attend to.
    pub mask: &'a Mask,
    /// Dropout of the weights.
    pub dropout: Option<Dropout>,
}

/// `dropout(softmax(softcap(scale · q kᵀ + bias), masked)) v` without materialising the scores.
///
/// - `q`: (batch, heads, i, d)
/// - `k`: (batch, key heads, j, d), whose number divides that of the query heads
/// - `v`: (batch, value heads, j, dv)
///
/// Result: (batch, heads, i, dv).
pub fn attention(
    (q, k, v): (&Tensor, &Tensor, &Tensor),
    with: &AttentionSettings,
) -> Result<Tensor> {
    let AttentionSettings { bias, sinks, scale, softcap, mask, dropout } = *with;
    let optional = |x: Option<&Tensor>| x.map(Tensor::array).transpose();
    let of = kernels::ops::attention::AttentionArgs {
        q: q.array()?,
        k: k.array()?,
        v: v.array()?,
        bias: optional(bias)?,
        sinks: optional(sinks)?,
        scale,
        softcap,
        mask: mask.clone(),
        dropout,
    };
    let (y, saved) = kernels::ops::attention::forward(&of)?;
    let inputs: Vec<&Tensor> = [q, k, v].into_iter().chain(bias).chain(sinks).collect();
    Ok(Tensor::record(y, &inputs, move |g| {
        let grads = kernels::ops::attention::backward(&of, &saved, g)?;
        Ok([Some(grads.q), Some(grads.k), Some(grads.v)]
            .into_iter()
            .chain(grads.bias.map(Some))
            .chain(grads.sinks.map(Some))
            .collect())
    }))
}

/// Expands a bias by relative distance, (heads, i + j - 1), to one over queries and keys, (heads,
/// i, j): element `n` applies to query `r` and key `n + r + 1 - i`.
pub fn expand_distance_bias(bias: &Tensor, i: usize, j: usize) -> Result<Tensor> {
    let y = kernels::ops::attention::distances::expand(&bias.array()?, i, j)?;
    Ok(Tensor::record(y, &[bias], |g| {
        Ok(vec![Some(kernels::ops::attention::distances::expand_backward(g)?)])
    }))
}

/// Rotary embedding: rotates pairs of features by the angles of their position. `x` is (batch, n,
/// heads, dim), `cos` and `sin` are (n, half).
pub fn rotary(x: &Tensor, (cos, sin): (&Array, &Array), pairs: Pairs) -> Result<Tensor> {
    let y = kernels::ops::rotary::rotate(&x.array()?, (cos, sin), pairs, Direction::Forward)?;
    let (cos, sin) = (cos.clone(), sin.clone());
    Ok(Tensor::record(y, &[x], move |g| {
        let back = kernels::ops::rotary::rotate(g, (&cos, &sin), pairs, Direction::Transposed);
        Ok(vec![Some(back?)])
    }))
}
