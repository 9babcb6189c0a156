//! Draws tokens from logits.

use super::filters::{
    keep_alike, keep_largest, keep_likely, keep_nucleus, keep_past_mass, keep_share, limit_of_top_a,
};
use super::table::Table;
use crate::{Error, Result, Rng, Tensor};
use xt_options::generation::SamplingOptions;
use xt_options::Filter;

/// Reads the logits of `count` rows, and checks for NaN. A +inf, by which a filter may force
/// tokens, is replaced, see [`Table::force_infinite`]. `filtered` tells whether the caller's filter
/// was applied, for messages. Rows for which `over` returns true are not checked.
pub fn numbers(
    logits: &Tensor,
    count: usize,
    filtered: bool,
    over: impl Fn(usize) -> bool,
) -> Result<Table> {
    if logits.rank() != 2 || logits.dim(0) != count {
        return Error::shape(format!(
            "logits must have shape ({count}, num_tokens), got {:?}",
            logits.dims()
        ));
    }
    let mut table = Table::read(logits)?;
    if (0..count).any(|row| !over(row) && table.has_nan(row)) {
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
    let over = |row: usize| ended[row].is_some();
    let table = numbers(logits, ended.len(), filtered, over)?;
    let filter = if filtered { None } else { s.filter() };
    let limit = match filter {
        Some(Filter::TopA) => {
            let (pow, ratio) = s.limit();
            limit_of_top_a(&table, pow, ratio)
        }
        _ => 0.0,
    };
    let mut row = Vec::with_capacity(table.width());
    let token = |(i, chance)| {
        if over(i) {
            return Ok(0);
        }
        table.copy_row(i, &mut row);
        if is_empty(&row) {
            return Err(nothing_left(i, filtered));
        }
        // filters keep the most likely token, so they need not run
        if s.temperature == 0.0 {
            return Ok(largest(&row));
        }
        keep(&mut row, filter, limit, s);
        if is_empty(&row) {
            // Only `top_a` can exclude all tokens, as its limit depends on all rows: keep the most
            // likely one.
            table.copy_row(i, &mut row);
            return Ok(largest(&row));
        }
        Ok(pick(&row, s.temperature, chance))
    };
    rng.stream().uniform(ended.len()).into_iter().enumerate().map(token).collect()
}

/// Whether no token is possible.
fn is_empty(row: &[f64]) -> bool {
    row.iter().all(|x| *x == f64::NEG_INFINITY)
}

/// The error for row `i` of the logits being -inf everywhere.
pub fn nothing_left(i: usize, filtered: bool) -> Error {
    let cause = if filtered {
        "filter_logits_fn has ruled out every one"
    } else {
        "all its logits are -Infinity"
    };
    Error::Shape(format!("row {i} has no token left to draw: {cause}"))
}

/// Applies the filters in sequence: first the one of the reference, then the others.
fn keep(row: &mut [f64], filter: Option<Filter>, limit: f64, s: &SamplingOptions) {
    match filter {
        None => {}
        Some(Filter::TopK) => keep_share(row, s.thres()),
        Some(Filter::TopP) => keep_past_mass(row, s.thres()),
        Some(Filter::TopA) => keep_alike(row, limit),
    }
    if let Some(count) = s.top_k_tokens {
        keep_largest(row, count.get());
    }
    if let Some(p) = s.nucleus_p {
        keep_nucleus(row, p.0);
    }
    if let Some(share) = s.min_p {
        keep_likely(row, share.0);
    }
}

/// The index of the first of the largest values.
fn largest(row: &[f64]) -> i64 {
    let better = |best: usize, i: usize| if row[i] > row[best] { i } else { best };
    (0..row.len()).fold(0, better) as i64
}

/// The index at which the cumulative probability exceeds `chance`, in a row that is not all -inf.
fn pick(row: &[f64], temperature: f64, chance: f64) -> i64 {
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
        if chance * total < sum {
            return *i as i64;
        }
    }
    // due to rounding, the sum may end slightly below the total
    kept.iter().rev().find(|(_, weight)| *weight > 0.0).map_or(0, |(i, _)| *i as i64)
}
