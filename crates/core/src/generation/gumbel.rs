//! Sampling with the Gumbel-max trick: the index of the largest of logits plus Gumbel noise is
//! distributed as their softmax.

use super::filters::softmax;
use super::logits_table::LogitsTable;
use super::sampler::no_token_left;
use crate::{Error, Result, Rng, Tensor};

/// `count` samples of the standard Gumbel distribution.
pub fn gumbel_noise(count: usize, rng: &Rng) -> Vec<f64> {
    // bounded away from 0, so that both logarithms are finite
    rng.stream()
        .uniform(count)
        .into_iter()
        .map(|u| -(-(u.max(1e-20)).ln()).max(1e-20).ln())
        .collect()
}

/// Draws a token at `temperature` for each row of `logits`, (.., num_tokens).
///
/// # Errors
/// The logits contain NaN, or all logits of a row are -inf.
pub fn gumbel_argmax(logits: &Tensor, temperature: f64, rng: &Rng) -> Result<Vec<i64>> {
    let noise = gumbel_noise(logits.elem_count(), rng);
    let table = LogitsTable::read(logits)?;
    if (0..table.rows()).any(|row| table.has_nan(row)) {
        return Error::shape("the logits are NaN: has training diverged?");
    }
    let mut at = 0;
    let mut best = |i: usize| {
        let row = table.row(i);
        let noise = &noise[at..at + row.len()];
        at += row.len();
        if row.iter().all(|x| *x == f64::NEG_INFINITY) {
            return Err(no_token_left(i, false));
        }
        let score = |i: usize| row[i] / temperature.max(1e-10) + noise[i];
        Ok((0..row.len()).fold(0, |best, i| if score(i) > score(best) { i } else { best }) as i64)
    };
    (0..table.rows()).map(&mut best).collect()
}

/// The probability of each row's token at `temperature`. `logits`: (.., num_tokens), one token per
/// row.
pub fn likelihood(logits: &Tensor, tokens: &[i64], temperature: f64) -> Result<Vec<f64>> {
    let table = LogitsTable::read(logits)?;
    let probability = |(i, token): (usize, &i64)| {
        let scaled: Vec<f64> = table.row(i).iter().map(|x| x / temperature).collect();
        softmax(&scaled)[*token as usize]
    };
    Ok((0..table.rows()).zip(tokens).map(probability).collect())
}
