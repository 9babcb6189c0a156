//! Reference implementation of attention, by unfused operations of candle.

use super::distances;
use super::inputs::{AttentionArgs, Gradients};
use crate::array::HostArray;
use crate::ops::dropout::{dropout, Dropout};
use crate::ops::{matmul, softmax};
use crate::{Array, Result};

/// Computes the output, (batch, heads, i, dv).
pub(super) fn forward(of: &AttentionArgs) -> Result<Array> {
    let weights = dropped(of, weights(of)?)?;
    Ok(matmul::on_host(&weights, of.v.host()?, 1.0)?.into())
}

/// Applies dropout to `weights`, (batch, heads, i, j).
fn dropped(of: &AttentionArgs, weights: HostArray) -> Result<HostArray> {
    match of.dropout {
        Some(Dropout { p, stream }) => dropout(&weights.into(), p, stream)?.download(),
        None => Ok(weights),
    }
}

/// Computes the softmax weights, (batch, heads, i, j).
fn weights(of: &AttentionArgs) -> Result<HostArray> {
    let scores = matmul::on_host(of.q.host()?, &of.k.host()?.transpose(2, 3)?, of.scale)?;
    let scores = match &of.bias {
        Some(bias) => {
            let (_, _, i, j) = scores.dims4()?;
            scores.broadcast_add(&distances::expand_on_host(bias.host()?, i, j)?)?
        }
        None => scores,
    };
    softmax::on_host(&scores, &of.mask)
}

/// Computes the gradients of the inputs from `grad`, the gradient of the output,
/// (batch, heads, i, dv).
pub(super) fn backward(of: &AttentionArgs, grad: &Array) -> Result<Gradients> {
    let product = |a: &HostArray, b: &HostArray, alpha| matmul::on_host(a, b, alpha);
    let AttentionArgs { q, k, v, bias, scale, mask, .. } = of;
    let (q, k, v, grad) = (q.host()?, k.host()?, v.host()?, grad.host()?);
    // Weights, their gradient and the gradient of the scores: (batch, heads, i, j).
    let weights = weights(of)?;
    let dweights = dropped(of, product(grad, &v.transpose(2, 3)?, 1.0)?)?;
    let dscores = softmax::backward_on_host(&weights, &dweights, mask)?;
    let dbias = match bias {
        Some(_) => Some(distances::expand_backward_on_host(&dscores.sum(0)?)?.into()),
        None => None,
    };
    Ok(Gradients {
        q: product(&dscores, k, *scale)?.into(),
        k: sum_heads(product(&dscores.transpose(2, 3)?, q, *scale)?, k)?.into(),
        v: sum_heads(product(&dropped(of, weights)?.transpose(2, 3)?, grad, 1.0)?, v)?.into(),
        bias: dbias,
    })
}

/// Reduces `grad`, (batch, heads, n, width), to the number of heads of `like`: if `like` has a
/// single head that all query heads share, its gradient is the sum over the heads.
fn sum_heads(grad: HostArray, like: &HostArray) -> Result<HostArray> {
    match grad.dim(1)? == like.dim(1)? {
        true => Ok(grad),
        false => Ok(grad.sum_keepdim(1)?),
    }
}
