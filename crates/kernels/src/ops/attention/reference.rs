//! Reference implementation of attention, by unfused operations of candle.

use super::distances;
use super::inputs::{AttentionArgs, Gradients};
use crate::array::HostArray;
use crate::ops::dropout::{dropout, Dropout};
use crate::ops::layout::narrow;
use crate::ops::{matmul, softmax};
use crate::{Array, Device, Result};

/// Computes the output, (batch, heads, i, dv).
pub(super) fn forward(of: &AttentionArgs) -> Result<Array> {
    let weights = dropped(of, of_keys(of, &weights(of, &scores(of)?)?)?)?;
    let v = repeat_heads(of.v.host()?, of.q.dim(1)?)?;
    Ok(matmul::on_host(&weights, &v, 1.0)?.into())
}

/// Applies dropout to `weights`, (batch, heads, i, j).
fn dropped(of: &AttentionArgs, weights: HostArray) -> Result<HostArray> {
    match of.dropout {
        Some(Dropout { p, stream }) => dropout(&weights.into(), p, stream)?.download(),
        None => Ok(weights),
    }
}

/// Repeats each head of `x`, (batch, some heads, n, width), for the query heads that share it.
fn repeat_heads(x: &HostArray, heads: usize) -> Result<HostArray> {
    let (batch, shared, n, width) = x.dims4()?;
    if heads == shared {
        return Ok(x.clone());
    }
    let repeated = x.unsqueeze(2)?.broadcast_as((batch, shared, heads / shared, n, width))?;
    Ok(repeated.reshape((batch, heads, n, width))?)
}

/// Computes the scores with bias and softcap, (batch, heads, i, j).
fn scores(of: &AttentionArgs) -> Result<HostArray> {
    let k = repeat_heads(of.k.host()?, of.q.dim(1)?)?;
    let mut scores = matmul::on_host(of.q.host()?, &k.transpose(2, 3)?, of.scale)?;
    if let Some(bias) = &of.bias {
        let (_, _, i, j) = scores.dims4()?;
        scores = scores.broadcast_add(&distances::expand_on_host(bias.host()?, i, j)?)?;
    }
    match of.softcap {
        Some(cap) => Ok(((scores / cap)?.tanh()? * cap)?),
        None => Ok(scores),
    }
}

/// Computes the softmax weights of `scores`, (batch, heads, i, j); with sinks, these come first:
/// (batch, heads, i, count + j).
fn weights(of: &AttentionArgs, scores: &HostArray) -> Result<HostArray> {
    let Some(sinks) = &of.sinks else { return softmax::on_host(scores, &of.mask) };
    let ((batch, heads, i, j), (_, count)) = (scores.dims4()?, sinks.dims2()?);
    let front = sinks.host()?.reshape((1, heads, 1, count))?;
    let front = front.broadcast_as((batch, heads, i, count))?;
    let all = behind(front, scores)?;
    softmax::on_host(&all, &of.mask.with_prefix(count, (i, j), &Device::Cpu)?)
}

/// The number of sinks.
fn sink_count(of: &AttentionArgs) -> Result<usize> {
    of.sinks.as_ref().map_or(Ok(0), |sinks| sinks.dim(1))
}

/// `x` behind `front` along the last of four axes. By a kernel of this crate, since every function
/// of candle makes the WebAssembly modules larger.
fn behind(front: HostArray, x: &HostArray) -> Result<HostArray> {
    Ok(Array::cat(&[Array::from(front), x.clone().into()], 3)?.host()?.clone())
}

/// A part of the last of four axes.
fn part(x: &HostArray, start: usize, length: usize) -> Result<HostArray> {
    Ok(narrow(&x.clone().into(), 3, start, length)?.host()?.contiguous()?)
}

/// The weights of the keys alone, without those of the sinks.
fn of_keys(of: &AttentionArgs, weights: &HostArray) -> Result<HostArray> {
    let count = sink_count(of)?;
    part(weights, count, weights.dim(3)? - count)
}

/// Computes the gradients of the inputs from `grad`, the gradient of the output,
/// (batch, heads, i, dv).
pub(super) fn backward(of: &AttentionArgs, grad: &Array) -> Result<Gradients> {
    let product = |a: &HostArray, b: &HostArray, alpha| matmul::on_host(a, b, alpha);
    let AttentionArgs { q, k, v, bias, scale, mask, .. } = of;
    let (q, k, v, grad) = (q.host()?, k.host()?, v.host()?, grad.host()?);
    let (batch, heads, i, _) = q.dims4()?;
    let (j, count) = (k.dim(2)?, sink_count(of)?);
    let scores = scores(of)?;
    // Weights, their gradient and the gradient of the scores: (batch, heads, i, count + j).
    let weights = weights(of, &scores)?;
    let kept = of_keys(of, &weights)?;
    let dkept = dropped(of, product(grad, &repeat_heads(v, heads)?.transpose(2, 3)?, 1.0)?)?;
    let zeros = HostArray::zeros((batch, heads, i, count), dkept.dtype(), dkept.device())?;
    let dweights = behind(zeros, &dkept)?;
    let whole_mask = mask.with_prefix(count, (i, j), &Device::Cpu)?;
    let dall = softmax::backward_on_host(&weights, &dweights, &whole_mask)?;
    let mut dscores = of_keys(of, &dall)?;
    if let Some(cap) = of.softcap {
        let slope = (1.0 - (scores / cap)?.sqr()?)?;
        dscores = (dscores * slope)?;
    }
    let dbias = match bias {
        Some(_) => Some(distances::expand_backward_on_host(&dscores.sum(0)?)?.into()),
        None => None,
    };
    let dsinks = match &of.sinks {
        Some(_) => Some(part(&dall, 0, count)?.sum((0, 2))?.into()),
        None => None,
    };
    Ok(Gradients {
        q: product(&dscores, &repeat_heads(k, heads)?, *scale)?.into(),
        k: sum_heads(product(&dscores.transpose(2, 3)?, q, *scale)?, k)?.into(),
        v: sum_heads(product(&dropped(of, kept)?.transpose(2, 3)?, grad, 1.0)?, v)?.into(),
        bias: dbias,
        sinks: dsinks,
    })
}

/// Reduces `grad`, (batch, heads, n, width), to the number of heads of `like`: the gradient of a
/// head that several query heads share is the sum over them.
fn sum_heads(grad: HostArray, like: &HostArray) -> Result<HostArray> {
    let ((batch, heads, n, width), shared) = (grad.dims4()?, like.dim(1)?);
    match heads == shared {
        true => Ok(grad),
        false => Ok(grad.reshape((batch, shared, heads / shared, n, width))?.sum(2)?),
    }
}
