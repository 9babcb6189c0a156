//! Cases of embeddings and losses.

use super::inputs::Inputs;
use crate::error::Result;
use xt_core::Array;
use xt_kernels::ops::cross_entropy::CrossEntropy;
use xt_kernels::ops::linear_cross_entropy::{self as fused, LossArgs, NeedsGrad};
use xt_kernels::ops::{cross_entropy as loss, embedding as table_rows};

/// The target that is ignored.
const IGNORED: i64 = -100;

pub fn embedding(of: &Inputs) -> Result<Vec<Array>> {
    let (count, dim) = (of.size(20_011, 23), of.size(259, 7));
    let table = of.normal(&[count, dim], 1)?;
    let ids = of.ids(&[5, of.size(819, 9)], count, 2)?;
    let grad = of.normal(&[ids.dims(), &[dim]].concat(), 3)?;
    let bytes = of.mask(&[count, dim], 4)?;
    Ok(vec![
        table_rows::forward(&table, &ids)?,
        table_rows::backward(&table, &ids, &grad)?,
        table_rows::forward(&bytes, &ids)?,
    ])
}

/// Targets of which one in seven is ignored.
fn targets(of: &Inputs, rows: usize, classes: usize) -> Result<Array> {
    let id = |row: usize| match row % 7 {
        3 => IGNORED,
        _ => (row * 7919 % classes) as i64,
    };
    Ok(Array::from_vec((0..rows).map(id).collect(), rows, &of.device)?)
}

pub fn cross_entropy(of: &Inputs) -> Result<Vec<Array>> {
    let mut all = Vec::new();
    for (rows, classes) in [(of.size(1031, 13), of.size(20_011, 1500)), (of.size(8209, 33), 257)] {
        let logits = of.normal(&[rows, classes], 1)?;
        let targets = targets(of, rows, classes)?;
        let grad = Array::full(0.7, (), &of.device)?.to_dtype(logits.dtype())?;
        for label_smoothing in [0.0, 0.1] {
            let how = CrossEntropy { ignore_index: IGNORED, label_smoothing };
            all.push(loss::forward(&logits, &targets, how)?);
            all.push(loss::backward(&logits, &targets, how, &grad)?);
        }
    }
    Ok(all)
}

pub fn linear_cross_entropy(of: &Inputs) -> Result<Vec<Array>> {
    let (rows, dim, classes) = (of.size(2053, 13), of.size(130, 7), of.size(20_011, 37));
    let x = of.normal(&[rows, dim], 1)?;
    let weight = of.floats(&[classes, dim], 2, |x| 0.1 * x)?;
    let bias = of.normal(&[classes], 3)?;
    let targets = targets(of, rows, classes)?;
    let (x, weight, targets) = (&x, &weight, &targets);
    let how = CrossEntropy { ignore_index: IGNORED, label_smoothing: 0.1 };
    let needs = NeedsGrad { x: true, weight: true, bias: true };
    let mut all = Vec::new();
    for softclamp in [None, Some(1.5)] {
        let args = LossArgs { x, weight, bias: Some(&bias), targets, of: how, softclamp };
        let (loss, gradients) = fused::forward(&args, needs)?;
        all.push(loss);
        all.extend([gradients.x, gradients.weight, gradients.bias].into_iter().flatten());
    }
    Ok(all)
}
