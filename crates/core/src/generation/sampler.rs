//! Draws tokens from logits.

use super::filters::{
    keep_min_p, keep_nucleus, keep_top_k, top_a_row, top_a_threshold, top_k_row, top_p_row,
};
use super::logits_table::LogitsTable;
use crate::{Error, Result, Rng, Tensor};
use xt_options::generation::SamplingOptions;
use xt_options::Filter;

/// Reads the logits of `count` rows, and checks for NaN. A +inf, by which a filter may force
/// tokens, is replaced, see [`LogitsTable::force_infinite`]. `filtered` tells whether the caller's
/// filter was applied, for messages. Rows for which `is_over` returns true are not checked.
pub fn read_logits(
    logits: &Tensor,
    count: usize,
    filtered: bool,
    is_over: impl Fn(usize) -> bool,
) -> Result<LogitsTable> {
    if logits.rank() != 2 || logits.dim(0) != count {
        return Error::shape(format!(
            "logits must have shape ({count}, num_tokens), got {:?}",
            logits.dims()
        ));
    }
    let mut table = LogitsTable::read(logits)?;
    if (0..count).any(|row| !is_over(row) && table.has_nan(row)) {
        return Error::shape(match filtered {
            true => "the logits that filter_logits_fn gave are NaN",
            false => "the logits are NaN: has training diverged?",
        });
    }
    table.force_infinite();
    Ok(table)
}

/// Draws a token for each row of `logits`, (rows, num_tokens); 0 for rows that have `ended`.
/// `filtered` tells whether the caller's filter was applied; it replaces the reference's filter of
/// the options; the other filters still apply.
pub fn draw(
    logits: &Tensor,
    ended: &[Option<usize>],
    filtered: bool,
    s: &SamplingOptions,
    rng: &Rng,
) -> Result<Vec<i64>> {
    let is_over = |row: usize| ended[row].is_some();
    let table = read_logits(logits, ended.len(), filtered, is_over)?;
    let filter = if filtered { None } else { s.filter() };
    let threshold = match filter {
        Some(Filter::TopA) => {
            let (pow, ratio) = s.limit();
            top_a_threshold(&table, pow, ratio)
        }
        _ => 0.0,
    };
    let mut row = Vec::with_capacity(table.width());
    let token = |(i, probability)| {
        if is_over(i) {
            return Ok(0);
        }
        table.copy_row(i, &mut row);
        if is_empty(&row) {
            return Err(no_token_left(i, filtered));
        }
        // filters keep the most likely token, so they need not run
        if s.temperature == 0.0 {
            return Ok(argmax(&row));
        }
        let mut temperature = s.temperature;
        if s.temperature_first {
            row.iter_mut().for_each(|x| *x /= s.temperature);
            temperature = 1.0;
        }
        apply_filters(&mut row, filter, threshold, s);
        if is_empty(&row) {
            // Only `top_a` can exclude all tokens, as its limit depends on all rows: keep the most
            // likely one.
            table.copy_row(i, &mut row);
            return Ok(argmax(&row));
        }
        Ok(sample(&row, temperature, probability))
    };
    rng.stream().uniform(ended.len()).into_iter().enumerate().map(token).collect()
}

/// Whether no token is possible.
fn is_empty(row: &[f64]) -> bool {
    row.iter().all(|x| *x == f64::NEG_INFINITY)
}

/// The error for row `i` of the logits being -inf everywhere.
pub fn no_token_left(i: usize, filtered: bool) -> Error {
    let cause = if filtered {
        "filter_logits_fn has ruled out every one"
    } else {
        "all its logits are -Infinity"
    };
    Error::Shape(format!("row {i} has no token left to draw: {cause}"))
}

/// Applies the filters in sequence: first the one of the reference, then the others.
fn apply_filters(row: &mut [f64], filter: Option<Filter>, threshold: f64, s: &SamplingOptions) {
    match filter {
        None => {}
        Some(Filter::TopK) => top_k_row(row, s.thres()),
        Some(Filter::TopP) => top_p_row(row, s.thres()),
        Some(Filter::TopA) => top_a_row(row, threshold),
    }
    if let Some(count) = s.top_k_tokens {
        keep_top_k(row, count.get());
    }
    if let Some(p) = s.nucleus_p {
        keep_nucleus(row, p.0);
    }
    if let Some(share) = s.min_p {
        keep_min_p(row, share.0);
    }
}

/// The index of the first of the largest values.
fn argmax(row: &[f64]) -> i64 {
    let better = |best: usize, i: usize| if row[i] > row[best] { i } else { best };
    (0..row.len()).fold(0, better) as i64
}

/// The index at which the cumulative probability exceeds `probability`, in a row that is not all
/// -inf.
fn sample(row: &[f64], temperature: f64, probability: f64) -> i64 {
    // after a filter, few tokens are left
    let mut kept: Vec<(usize, f64)> =
        row.iter().copied().enumerate().filter(|(_, x)| *x > f64::NEG_INFINITY).collect();
    let top = kept.iter().map(|(_, x)| *x).fold(f64::NEG_INFINITY, f64::max);
    let mut total = 0.0;
    for (_, x) in &mut kept {
        *x = ((*x - top) / temperature).exp();
        total += *x;
    }
    let mut sum = 0.0;
    for (i, weight) in &kept {
        sum += weight;
        if probability * total < sum {
            return *i as i64;
        }
    }
    // due to rounding, the sum may end slightly below the total
    kept.iter().rev().find(|(_, weight)| *weight > 0.0).map_or(0, |(i, _)| *i as i64)
}
