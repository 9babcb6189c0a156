//! Filters of logits, (rows, num_tokens): what is to be dropped becomes -inf.

use crate::{Array, DType, Device, Error, Result, Tensor};

/// Keeps the largest `ceil((1 - thres) · num_tokens)` logits of each row.
/// Source: Hierarchical Neural Story Generation, <https://arxiv.org/abs/1805.04833>.
pub fn top_k(logits: &Tensor, thres: f64) -> Result<Tensor> {
    by_row(logits, |row| {
        let keep = ((1.0 - thres) * row.len() as f64).ceil() as usize;
        descending(row).into_iter().skip(keep).for_each(|i| row[i] = f64::NEG_INFINITY);
    })
}

/// Keeps the largest logits of each row until their probability exceeds `1 - thres`, at least one: as in the reference,
/// 0.9 keeps about a tenth of the mass.
/// Source: The Curious Case of Neural Text Degeneration, <https://arxiv.org/abs/1904.09751>.
pub fn top_p(logits: &Tensor, thres: f64) -> Result<Tensor> {
    by_row(logits, |row| {
        let weights = softmax(row);
        let mut before = 0.0;
        for (rank, i) in descending(row).into_iter().enumerate() {
            if rank > 0 && before > 1.0 - thres {
                row[i] = f64::NEG_INFINITY;
            }
            before += weights[i];
        }
    })
}

/// Drops tokens less likely than `ratio · p^pow`, p the largest probability in the whole batch; all others
/// become equally likely.
pub fn top_a(logits: &Tensor, pow: f64, ratio: f64) -> Result<Tensor> {
    let rows = rows(logits)?;
    let weights: Vec<Vec<f64>> = rows.iter().map(|row| softmax(row)).collect();
    let limit = weights.iter().flatten().fold(0.0_f64, |m, p| m.max(*p)).powf(pow) * ratio;
    let kept = |p: &f64| if *p < limit { f64::NEG_INFINITY } else { 1.0 };
    back(logits, weights.iter().flatten().map(kept).collect())
}

fn by_row(logits: &Tensor, mut filter: impl FnMut(&mut [f64])) -> Result<Tensor> {
    let mut rows = rows(logits)?;
    rows.iter_mut().for_each(|row| filter(row));
    back(logits, rows.concat())
}

/// The rows of logits as f64.
pub(super) fn rows(logits: &Tensor) -> Result<Vec<Vec<f64>>> {
    if logits.rank() == 0 || !logits.dtype().is_float() || logits.elem_count() == 0 {
        return Error::shape(format!("logits must be floating-point of shape (rows, num_tokens), got {logits:?}"));
    }
    let width = logits.dim(logits.rank() - 1);
    let all: Vec<f64> = logits.array()?.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
    Ok(all.chunks_exact(width).map(<[f64]>::to_vec).collect())
}

fn back(like: &Tensor, values: Vec<f64>) -> Result<Tensor> {
    let array = Array::from_vec(values, like.dims(), &Device::Cpu)?;
    Ok(Tensor::constant(array.to_dtype(like.dtype())?.to_device(&like.device())?))
}

pub(super) fn softmax(row: &[f64]) -> Vec<f64> {
    let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = row.iter().map(|x| (x - top).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|w| w / sum).collect()
}

/// Indices from the largest value to the smallest; equal ones in their order.
fn descending(row: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.sort_by(|a, b| row[*b].total_cmp(&row[*a]));
    order
}
