//! Attention on GPUs by its steps: the scores of all queries and keys are in memory.

use super::distances;
use super::inputs::{AttentionArgs, Gradients};
use crate::ops::elementwise::{affine, unary, Unary};
use crate::ops::layout::narrow;
use crate::ops::softmax::{self, Mask};
use crate::ops::{dropout, elementwise, matmul, reduce};
use crate::{Array, Result};

/// The product of `a`, (batch, heads, n, m), by query heads, and `b`, (batch, some heads, m, width)
/// or its transpose: (batch, heads, n, width). The query heads that share a head of `b` are
/// multiplied together.
fn by_shared_heads(a: &Array, b: &Array, alpha: f64) -> Result<Array> {
    let ((batch, heads, n, m), shared) = (a.dims4()?, b.dim(1)?);
    if heads == shared {
        return matmul::matmul(a, b, alpha);
    }
    let together = a.reshape((batch, shared, heads / shared * n, m))?;
    matmul::matmul(&together, b, alpha)?.reshape((batch, heads, n, b.dim(3)?))
}

/// The product of the transpose of `a`, (batch, heads, n, m), and `b`, (batch, heads, n, width),
/// summed over the heads that share one of `shared` heads: (batch, shared, m, width).
fn summed_by_heads(a: &Array, b: &Array, alpha: f64, shared: usize) -> Result<Array> {
    let ((batch, heads, n, m), width) = (a.dims4()?, b.dim(3)?);
    let rows = heads / shared.max(1) * n;
    let a = a.reshape((batch, shared, rows, m))?.transpose(2, 3)?;
    matmul::matmul(&a, &b.reshape((batch, shared, rows, width))?, alpha)
}

/// The scores with bias and softcap, (batch, heads, i, j).
fn scores(of: &AttentionArgs) -> Result<Array> {
    let mut scores = by_shared_heads(&of.q, &of.k.transpose(2, 3)?, of.scale)?;
    if let Some(bias) = &of.bias {
        let (_, _, i, j) = scores.dims4()?;
        scores = elementwise::add(&scores, &distances::expand(bias, i, j)?)?;
    }
    match of.softcap {
        Some(cap) => affine(&unary(&affine(&scores, 1.0 / cap, 0.0)?, Unary::Tanh)?, cap, 0.0),
        None => Ok(scores),
    }
}

/// The mask with the sinks in front of the keys, and their number.
fn mask(of: &AttentionArgs) -> Result<(Mask, usize)> {
    let Some(sinks) = &of.sinks else { return Ok((of.mask.clone(), 0)) };
    let (sizes, count) = ((of.q.dim(2)?, of.k.dim(2)?), sinks.dim(1)?);
    Ok((of.mask.with_prefix(count, sizes, &of.q.device())?, count))
}

/// The softmax weights of `scores`, (batch, heads, i, count + j), those of the sinks first.
fn weights(of: &AttentionArgs, scores: &Array) -> Result<Array> {
    let (mask, count) = mask(of)?;
    let Some(sinks) = &of.sinks else { return softmax::forward(scores, &mask) };
    let (batch, heads, i, _) = scores.dims4()?;
    let front = sinks.reshape((1, heads, 1, count))?.broadcast_as((batch, heads, i, count))?;
    softmax::forward(&Array::cat(&[&front, scores], 3)?, &mask)
}

/// The part of the keys of an array with the sinks in front, (batch, heads, i, count + j).
fn of_keys(all: &Array, count: usize) -> Result<Array> {
    match count {
        0 => Ok(all.clone()),
        _ => narrow(all, 3, count, all.dim(3)? - count),
    }
}

/// Applies dropout to `weights`, (batch, heads, i, j).
fn dropped(of: &AttentionArgs, weights: &Array) -> Result<Array> {
    match of.dropout {
        Some(dropout) => dropout::dropout(weights, dropout.p, dropout.stream),
        None => Ok(weights.clone()),
    }
}

/// The output, (batch, heads, i, dv).
pub(super) fn forward(of: &AttentionArgs) -> Result<Array> {
    let weights = weights(of, &scores(of)?)?;
    let count = of.sinks.as_ref().map_or(Ok(0), |sinks| sinks.dim(1))?;
    by_shared_heads(&dropped(of, &of_keys(&weights, count)?)?, &of.v, 1.0)
}

/// The gradients of the inputs from `grad`, the gradient of the output.
pub(super) fn backward(of: &AttentionArgs, grad: &Array) -> Result<Gradients> {
    let AttentionArgs { q, k, v, bias, scale, .. } = of;
    let (whole_mask, count) = mask(of)?;
    // scores: (batch, heads, i, j); weights and their gradient: (batch, heads, i, count + j)
    let scores = scores(of)?;
    let weights = weights(of, &scores)?;
    let (batch, heads, i, j) = scores.dims4()?;
    let mut dweights = dropped(of, &by_shared_heads(grad, &v.transpose(2, 3)?, 1.0)?)?;
    if count > 0 {
        let none = Array::zeros((batch, heads, i, count), dweights.dtype(), &dweights.device())?;
        dweights = Array::cat(&[&none, &dweights], 3)?;
    }
    let dall = softmax::backward(&weights, &dweights, &whole_mask)?;
    let mut dscores = of_keys(&dall, count)?;
    if let Some(cap) = of.softcap {
        let square = unary(&affine(&scores, 1.0 / cap, 0.0)?, Unary::Square)?;
        dscores = elementwise::mul(&dscores, &affine(&square, -1.0, 1.0)?)?;
    }
    let dbias = match bias {
        Some(_) => {
            let all = reduce::sum(&dscores, &[0])?.reshape((heads, i, j))?;
            Some(distances::expand_backward(&all)?)
        }
        None => None,
    };
    let dsinks = match &of.sinks {
        Some(sinks) => {
            let all = reduce::sum(&narrow(&dall, 3, 0, count)?, &[0, 2])?;
            Some(all.reshape(sinks.shape())?)
        }
        None => None,
    };
    let weights = dropped(of, &of_keys(&weights, count)?)?;
    Ok(Gradients {
        q: by_shared_heads(&dscores, k, *scale)?,
        k: summed_by_heads(&dscores, q, *scale, k.dim(1)?)?,
        v: summed_by_heads(&weights, grad, 1.0, v.dim(1)?)?,
        bias: dbias,
        sinks: dsinks,
    })
}
