//! Cases of attention.

use super::inputs::Inputs;
use crate::error::Result;
use xt_core::Array;
use xt_kernels::ops::attention::{self, distances as by_distance, AttentionArgs};
use xt_kernels::ops::dropout::Dropout;
use xt_kernels::ops::softmax::Mask;
use xt_kernels::philox::Stream;

pub fn attention(of: &Inputs) -> Result<Vec<Array>> {
    let (i, j, d) = (of.size(387, 7), of.size(517, 11), of.size(64, 4));
    let q = of.normal(&[2, 6, i, d], 1)?;
    let grad = of.normal(&[2, 6, i, d], 4)?;
    let dropout = Dropout { p: 0.1, stream: Stream { seed: 1, call: 2, draw: 3 } };
    let sinks = of.normal(&[6, 1], 7)?;
    let kinds = [
        (6, None, Mask { causal: true, ..Mask::default() }, None, None, None),
        (1, Some(of.normal(&[6, i + j - 1], 5)?), Mask::default(), Some(dropout), None, None),
        (
            6,
            None,
            Mask { allowed: Some(of.mask(&[2, 1, 1, j], 6)?), ..Mask::default() },
            None,
            None,
            None,
        ),
        (2, None, Mask { causal: true, ..Mask::default() }, None, Some(sinks), Some(30.0)),
        // as many keys as queries
        (
            6,
            None,
            Mask { ranges: Some(of.documents(2, i)?), causal: true, ..Mask::default() },
            None,
            None,
            None,
        ),
    ];
    let mut all = Vec::new();
    for (heads, bias, mask, dropout, sinks, softcap) in kinds {
        let j = if mask.ranges.is_some() { i } else { j };
        let (k, v) = (of.normal(&[2, heads, j, d], 2)?, of.normal(&[2, heads, j, d], 3)?);
        let plain = AttentionArgs::new(q.clone(), k, v);
        let args = AttentionArgs { bias, scale: 0.125, mask, dropout, sinks, softcap, ..plain };
        let (y, saved) = attention::forward(&args)?;
        let gradients = attention::backward(&args, &saved, &grad)?;
        all.extend([y, gradients.q, gradients.k, gradients.v]);
        all.extend(gradients.bias.into_iter().chain(gradients.sinks));
    }
    Ok(all)
}

pub fn distances(of: &Inputs) -> Result<Vec<Array>> {
    let (i, j) = (of.size(517, 7), of.size(1031, 11));
    let bias = of.normal(&[8, i + j - 1], 1)?;
    let grad = of.normal(&[8, i, j], 2)?;
    Ok(vec![by_distance::expand(&bias, i, j)?, by_distance::expand_backward(&grad)?])
}
