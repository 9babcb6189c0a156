//! Filters of logits, (rows, num_tokens): they set the logits of excluded tokens to -inf.

use super::logits_table::LogitsTable;
use crate::{Array, Device, Result, Tensor};

/// Tolerance for thresholds on probabilities, for rounding to f32.
const ROUNDING: f64 = 1e-6;

/// Keeps the largest `ceil((1 - thres) · num_tokens)` logits of each row. `logits`: (..,
/// num_tokens).
///
/// Source: Hierarchical Neural Story Generation, <https://arxiv.org/abs/1805.04833>.
pub fn top_k(logits: &Tensor, thres: f64) -> Result<Tensor> {
    by_row(logits, |row| top_k_row(row, thres))
}

/// Keeps the largest logits of each row until their total probability exceeds `1 - thres`, at least
/// one. As in the reference, `thres = 0.9` keeps about a tenth of the probability mass. `logits`:
/// (.., num_tokens).
///
/// Source: The Curious Case of Neural Text Degeneration, <https://arxiv.org/abs/1904.09751>.
pub fn top_p(logits: &Tensor, thres: f64) -> Result<Tensor> {
    by_row(logits, |row| top_p_row(row, thres))
}

/// Drops tokens with a probability below `ratio · p^pow`, where `p` is the largest probability in
/// the whole batch. The remaining tokens become equally likely: their logits are set to 1.
/// `logits`: (.., num_tokens).
pub fn top_a(logits: &Tensor, pow: f64, ratio: f64) -> Result<Tensor> {
    let threshold = top_a_threshold(&LogitsTable::read(logits)?, pow, ratio);
    by_row(logits, |row| top_a_row(row, threshold))
}

/// Applies `filter` to each row; the result has the type and device of `logits`.
fn by_row(logits: &Tensor, filter: impl Fn(&mut [f64])) -> Result<Tensor> {
    let table = LogitsTable::read(logits)?;
    let mut all = Vec::with_capacity(logits.elem_count());
    let mut row = vec![];
    for i in 0..table.rows() {
        table.copy_row(i, &mut row);
        filter(&mut row);
        all.extend_from_slice(&row);
    }
    let array = Array::from_vec(all, logits.dims(), &Device::Cpu)?;
    Ok(Tensor::constant(array.to_dtype(logits.dtype())?.to_device(&logits.device())?))
}

/// [`top_k`] on one row.
pub fn top_k_row(row: &mut [f64], thres: f64) {
    keep_top_k(row, ((1.0 - thres) * row.len() as f64).ceil() as usize);
}

/// [`top_p`] on one row.
pub fn top_p_row(row: &mut [f64], thres: f64) {
    keep_while(row, |before| before <= 1.0 - thres);
}

/// [`top_a`] on one row, with the threshold from [`top_a_threshold`].
pub fn top_a_row(row: &mut [f64], threshold: f64) {
    let weights = softmax(row);
    for (x, p) in row.iter_mut().zip(weights) {
        // a NaN compares false with both and stays unchanged
        if p < threshold {
            *x = f64::NEG_INFINITY;
        } else if p >= threshold {
            *x = 1.0;
        }
    }
}

/// The probability below which [`top_a`] drops tokens. It depends on the largest probability of all
/// rows; NaN if the probabilities of a row are NaN.
pub fn top_a_threshold(table: &LogitsTable, pow: f64, ratio: f64) -> f64 {
    let mut row = vec![];
    let mut largest = 0.0;
    for i in 0..table.rows() {
        table.copy_row(i, &mut row);
        largest =
            softmax(&row)
                .into_iter()
                .fold(largest, |most, p| if p > most || p.is_nan() { p } else { most });
    }
    largest.powf(pow) * ratio
}

/// Keeps the `count` largest logits, the first ones if several are equal. NaN counts as the
/// largest, as in PyTorch.
pub fn keep_top_k(row: &mut [f64], count: usize) {
    if count >= row.len() {
        return;
    }
    if count == 0 {
        return row.fill(f64::NEG_INFINITY);
    }
    let ranks: Vec<i64> = row.iter().map(|x| rank(*x)).collect();
    let mut sorted = ranks.clone();
    let (_, last, _) = sorted.select_nth_unstable_by(count - 1, |a, b| b.cmp(a));
    let last = *last;
    let mut equal = count - ranks.iter().filter(|rank| **rank > last).count();
    for (x, rank) in row.iter_mut().zip(ranks) {
        if rank < last {
            *x = f64::NEG_INFINITY;
        } else if rank == last {
            match equal {
                0 => *x = f64::NEG_INFINITY,
                _ => equal -= 1,
            }
        }
    }
}

/// Maps a float to an integer of the same order, as [`f64::total_cmp`] but with all NaNs largest;
/// integers compare faster.
fn rank(x: f64) -> i64 {
    if x.is_nan() {
        return i64::MAX;
    }
    let bits = x.to_bits() as i64;
    // inverts all bits of negative numbers but the sign
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

/// Keeps the fewest largest logits with a total probability of at least `p`.
pub fn keep_nucleus(row: &mut [f64], p: f64) {
    if p < 1.0 {
        keep_while(row, |before| before < p - ROUNDING);
    }
}

/// Keeps tokens that are at least `share` times as likely as the most likely one.
pub fn keep_min_p(row: &mut [f64], share: f64) {
    let threshold = largest(row) + share.ln() - ROUNDING;
    row.iter_mut().filter(|x| **x < threshold).for_each(|x| *x = f64::NEG_INFINITY);
}

/// Keeps the largest logit, and further ones in descending order while `goes_on` returns true for
/// the total probability of those before.
fn keep_while(row: &mut [f64], goes_on: impl Fn(f64) -> bool) {
    let weights = softmax(row);
    if weights.iter().any(|weight| weight.is_nan()) {
        // NaN probabilities have no order: as in the reference, all are kept
        return;
    }
    let mut order: Vec<usize> = (0..row.len()).collect();
    let by_size = |a: &usize, b: &usize| row[*b].total_cmp(&row[*a]).then(a.cmp(b));
    // The first dropped one is between `low` and `high`: bisection by partial selection is faster
    // than sorting a large vocabulary.
    let (mut low, mut high, mut before) = (0, row.len(), 0.0);
    while high - low > 32 {
        let half = (high - low) / 2;
        order[low..high].select_nth_unstable_by(half, by_size);
        let upper: f64 = order[low..low + half].iter().map(|i| weights[*i]).sum();
        if goes_on(before + upper) {
            before += upper;
            low += half;
        } else {
            high = low + half;
        }
    }
    order[low..high].sort_unstable_by(by_size);
    while low < high && (low == 0 || goes_on(before)) {
        before += weights[order[low]];
        low += 1;
    }
    order[low..].iter().for_each(|i| row[*i] = f64::NEG_INFINITY);
}

/// The softmax of a row. If it contains +inf, the probability is shared among those.
pub fn softmax(row: &[f64]) -> Vec<f64> {
    let top = largest(row);
    // the difference of two infinities would be NaN
    let weight = |x: &f64| {
        if top == f64::INFINITY {
            f64::from(u8::from(*x == top))
        } else {
            (x - top).exp()
        }
    };
    let weights: Vec<f64> = row.iter().map(weight).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|w| w / sum).collect()
}

fn largest(row: &[f64]) -> f64 {
    row.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_order_as_numbers_do() {
        let mut numbers =
            [0.5, -0.0, f64::INFINITY, 0.0, -3.0, f64::NEG_INFINITY, 1e-300, -2.5, 7.0];
        let mut by_rank = numbers;
        numbers.sort_by(f64::total_cmp);
        by_rank.sort_by_key(|x| rank(*x));
        assert_eq!(numbers.map(f64::to_bits), by_rank.map(f64::to_bits));
    }

    #[test]
    fn nan_stays_and_rows_without_probabilities_stay_as_they_are() {
        const NONE: f64 = f64::NEG_INFINITY;
        let same = |a: &[f64], b: &[f64]| {
            a.iter().zip(b).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()))
        };
        for nan in [f64::NAN, -f64::NAN] {
            let start = [1.0, nan, 3.0, 2.0];
            let kept = |filter: &dyn Fn(&mut [f64])| {
                let mut row = start;
                filter(&mut row);
                row
            };
            assert!(same(&kept(&|row| keep_top_k(row, 1)), &[NONE, nan, NONE, NONE]));
            assert!(same(&kept(&|row| keep_top_k(row, 2)), &[NONE, nan, 3.0, NONE]));
            assert!(same(&kept(&|row| top_p_row(row, 0.9)), &start));
            assert!(same(&kept(&|row| top_a_row(row, 0.1)), &start));
        }
        let mut row = [NONE; 3];
        top_p_row(&mut row, 0.9);
        top_a_row(&mut row, 0.1);
        keep_top_k(&mut row, 2);
        assert_eq!(row, [NONE; 3]);
    }
}
