//! Attention on GPUs by its steps: the scores of all queries and keys are in memory.

use super::distances;
use super::inputs::{AttentionArgs, Gradients};
use super::operands::sum_heads;
use crate::ops::{dropout, elementwise, matmul, reduce, softmax};
use crate::{Array, Result};

/// The softmax weights, (batch, heads, i, j).
fn weights(of: &AttentionArgs) -> Result<Array> {
    let scores = matmul::matmul(&of.q, &of.k.transpose(2, 3)?, of.scale)?;
    let scores = match &of.bias {
        Some(bias) => {
            let (_, _, i, j) = scores.dims4()?;
            elementwise::add(&scores, &distances::expand(bias, i, j)?)?
        }
        None => scores,
    };
    softmax::forward(&scores, &of.mask)
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
    matmul::matmul(&dropped(of, &weights(of)?)?, &of.v, 1.0)
}

/// The gradients of the inputs from `grad`, the gradient of the output.
pub(super) fn backward(of: &AttentionArgs, grad: &Array) -> Result<Gradients> {
    let AttentionArgs { q, k, v, bias, scale, mask, .. } = of;
    // weights, their gradient and the gradient of the scores: (batch, heads, i, j)
    let weights = weights(of)?;
    let dweights = dropped(of, &matmul::matmul(grad, &v.transpose(2, 3)?, 1.0)?)?;
    let dscores = softmax::backward(&weights, &dweights, mask)?;
    let dbias = match bias {
        Some(_) => {
            let (_, heads, i, j) = dscores.dims4()?;
            let all = reduce::sum(&dscores, &[0])?.reshape((heads, i, j))?;
            Some(distances::expand_backward(&all)?)
        }
        None => None,
    };
    let of_keys = |a: &Array, b: &Array, alpha, like: &Array| {
        sum_heads(&matmul::matmul(&a.transpose(2, 3)?, b, alpha)?, like)
    };
    Ok(Gradients {
        q: matmul::matmul(&dscores, k, *scale)?,
        k: of_keys(&dscores, q, *scale, k)?,
        v: of_keys(&dropped(of, &weights)?, grad, 1.0, v)?,
        bias: dbias,
    })
}
