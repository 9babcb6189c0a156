//! From logits to tokens.

use super::filters::{rows, softmax, top_a, top_k, top_p};
use crate::{Error, Result, Rng, Tensor};
use xt_options::generation::SamplingOptions;
use xt_options::Filter;

/// One token for each row of `logits`, (rows, num_tokens).
pub fn draw(logits: &Tensor, count: usize, filtered: bool, s: &SamplingOptions, rng: &Rng) -> Result<Vec<i64>> {
    if logits.rank() != 2 || logits.dim(0) != count {
        return Error::shape(format!("logits must have shape ({count}, num_tokens), got {:?}", logits.dims()));
    }
    let raw = rows(logits)?;
    if raw.iter().flatten().any(|x| x.is_nan()) {
        return Error::shape("the logits are NaN: has training diverged?");
    }
    let kept = match s.filter_logits_fn {
        _ if filtered => raw.clone(),
        Filter::TopK => rows(&top_k(logits, s.threshold.thres.0)?)?,
        Filter::TopP => rows(&top_p(logits, s.threshold.thres.0)?)?,
        Filter::TopA => rows(&top_a(logits, s.top_a.min_p_pow, s.top_a.min_p_ratio)?)?,
    };
    let chances = rng.stream().uniform(count);
    let token = |((kept, raw), chance): ((&Vec<f64>, &Vec<f64>), f64)| {
        let nothing_left = kept.iter().all(|x| *x == f64::NEG_INFINITY);
        let from = if nothing_left { raw } else { kept };
        if s.temperature == 0.0 || nothing_left {
            largest(from)
        } else {
            let scaled: Vec<f64> = from.iter().map(|x| x / s.temperature).collect();
            pick(&softmax(&scaled), chance)
        }
    };
    Ok(kept.iter().zip(&raw).zip(chances).map(token).collect())
}

/// The first of the largest values.
fn largest(row: &[f64]) -> i64 {
    let better = |best: usize, i: usize| if row[i] > row[best] { i } else { best };
    (0..row.len()).fold(0, better) as i64
}

/// The index at which the summed weights exceed `chance`.
fn pick(weights: &[f64], chance: f64) -> i64 {
    let mut sum = 0.0;
    for (i, w) in weights.iter().enumerate() {
        sum += w;
        if chance < sum {
            return i as i64;
        }
    }
    // rounding may leave the sum a little below 1
    weights.iter().rposition(|w| *w > 0.0).unwrap_or(0) as i64
}
