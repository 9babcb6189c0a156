//! Attention by its steps, on candle's own operations.

use super::distances;
use super::inputs::{Gradients, Inputs};
use super::operands::sum_heads;
use crate::ops::dropout::{dropout, Dropout};
use crate::ops::softmax;
use crate::{Array, Result};

/// Attention by its steps.
pub fn reference(of: &Inputs) -> Result<Array> {
    crate::ops::matmul::reference(&dropped_reference(of, weights_reference(of)?)?, &of.v, 1.0)
}

fn dropped_reference(of: &Inputs, weights: Array) -> Result<Array> {
    of.dropout.map_or(Ok(weights.clone()), |Dropout { p, stream }| dropout(&weights, p, stream))
}

fn weights_reference(of: &Inputs) -> Result<Array> {
    let scores = crate::ops::matmul::reference(&of.q, &of.k.transpose(2, 3)?, of.scale)?;
    let scores = match &of.bias {
        Some(bias) => scores.broadcast_add(&distances::spread_reference(bias, scores.dim(2)?, scores.dim(3)?)?)?,
        None => scores,
    };
    softmax::reference(&scores, &of.mask)
}

pub(super) fn backward_reference(of: &Inputs, grad: &Array) -> Result<Gradients> {
    let product = |a: &Array, b: &Array, alpha| crate::ops::matmul::reference(a, b, alpha);
    let Inputs { q, k, v, bias, scale, mask, .. } = of;
    let weights = weights_reference(of)?;
    let dweights = dropped_reference(of, product(grad, &v.transpose(2, 3)?, 1.0)?)?;
    let dscores = softmax::backward(&weights, &dweights, mask)?;
    Ok(Gradients {
        q: product(&dscores, k, *scale)?,
        k: sum_heads(&product(&dscores.transpose(2, 3)?, q, *scale)?, k)?,
        v: sum_heads(&product(&dropped_reference(of, weights)?.transpose(2, 3)?, grad, 1.0)?, v)?,
        bias: bias.as_ref().map(|_| distances::gather_reference(&dscores.sum(0)?)).transpose()?,
    })
}
