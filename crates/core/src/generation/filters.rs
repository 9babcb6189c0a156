//! Filters of logits, (rows, num_tokens): what is to be dropped becomes -inf.

use super::table::Table;
use crate::{Array, Device, Result, Tensor};

/// What rounding to f32 may change of a probability near a limit.
const ROUNDING: f64 = 1e-6;

/// Keeps the largest `ceil((1 - thres) · num_tokens)` logits of each row.
/// Source: Hierarchical Neural Story Generation, <https://arxiv.org/abs/1805.04833>.
pub fn top_k(logits: &Tensor, thres: f64) -> Result<Tensor> {
    by_row(logits, |row| keep_share(row, thres))
}

/// Keeps the largest logits of each row until their probability exceeds `1 - thres`, at least one: as in the reference,
/// 0.9 keeps about a tenth of the mass.
/// Source: The Curious Case of Neural Text Degeneration, <https://arxiv.org/abs/1904.09751>.
pub fn top_p(logits: &Tensor, thres: f64) -> Result<Tensor> {
    by_row(logits, |row| keep_past_mass(row, thres))
}

/// Drops tokens less likely than `ratio · p^pow`, p the largest probability in the whole batch; all others
/// become equally likely.
pub fn top_a(logits: &Tensor, pow: f64, ratio: f64) -> Result<Tensor> {
    let limit = limit_of_top_a(&Table::read(logits)?, pow, ratio);
    by_row(logits, |row| keep_alike(row, limit))
}

fn by_row(logits: &Tensor, filter: impl Fn(&mut [f64])) -> Result<Tensor> {
    let table = Table::read(logits)?;
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

/// `top_k` of the reference, on one row.
pub fn keep_share(row: &mut [f64], thres: f64) {
    keep_largest(row, ((1.0 - thres) * row.len() as f64).ceil() as usize);
}

/// `top_p` of the reference, on one row.
pub fn keep_past_mass(row: &mut [f64], thres: f64) {
    keep_while(row, |before| before <= 1.0 - thres);
}

/// `top_a` of the reference, on one row.
pub fn keep_alike(row: &mut [f64], limit: f64) {
    let weights = softmax(row);
    for (x, p) in row.iter_mut().zip(weights) {
        // what has no probability stays as it is
        if p < limit {
            *x = f64::NEG_INFINITY;
        } else if p >= limit {
            *x = 1.0;
        }
    }
}

/// The probability below which `top_a` drops tokens: it depends on the largest one of all rows, and is NaN where one has none.
pub fn limit_of_top_a(table: &Table, pow: f64, ratio: f64) -> f64 {
    let mut row = vec![];
    let mut largest = 0.0;
    for i in 0..table.rows() {
        table.copy_row(i, &mut row);
        largest = softmax(&row).into_iter().fold(largest, |most, p| if p > most || p.is_nan() { p } else { most });
    }
    largest.powf(pow) * ratio
}

/// Keeps the `count` largest; of equal ones the first. NaN is larger than all, as in PyTorch.
pub fn keep_largest(row: &mut [f64], count: usize) {
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

/// A whole number that orders as [`f64::total_cmp`] does, but that all NaN are the largest: comparing those is faster.
fn rank(x: f64) -> i64 {
    if x.is_nan() {
        return i64::MAX;
    }
    let bits = x.to_bits() as i64;
    // of negative numbers, all bits but the sign are turned
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

/// Keeps the smallest set of the largest that has at least the probability `p` together.
pub fn keep_nucleus(row: &mut [f64], p: f64) {
    if p < 1.0 {
        keep_while(row, |before| before < p - ROUNDING);
    }
}

/// Keeps what is at least `share` times as likely as the largest.
pub fn keep_likely(row: &mut [f64], share: f64) {
    let limit = largest(row) + share.ln() - ROUNDING;
    row.iter_mut().filter(|x| **x < limit).for_each(|x| *x = f64::NEG_INFINITY);
}

/// Keeps the largest one, and further ones in their order as long as `goes_on` holds for the probability of those before.
fn keep_while(row: &mut [f64], goes_on: impl Fn(f64) -> bool) {
    let weights = softmax(row);
    if weights.iter().any(|weight| weight.is_nan()) {
        // there is no order of probabilities: as in the reference, all stay
        return;
    }
    let mut order: Vec<usize> = (0..row.len()).collect();
    let by_size = |a: &usize, b: &usize| row[*b].total_cmp(&row[*a]).then(a.cmp(b));
    // the first that goes is between `low` and `high`; halves take the place of sorting a large vocabulary
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

pub fn softmax(row: &[f64]) -> Vec<f64> {
    let top = largest(row);
    // of infinite ones the difference is no number
    let weight = |x: &f64| if top == f64::INFINITY { f64::from(u8::from(*x == top)) } else { (x - top).exp() };
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
        let mut numbers = [0.5, -0.0, f64::INFINITY, 0.0, -3.0, f64::NEG_INFINITY, 1e-300, -2.5, 7.0];
        let mut by_rank = numbers;
        numbers.sort_by(f64::total_cmp);
        by_rank.sort_by_key(|x| rank(*x));
        assert_eq!(numbers.map(f64::to_bits), by_rank.map(f64::to_bits));
    }

    #[test]
    fn nan_stays_and_rows_without_probabilities_stay_as_they_are() {
        const NONE: f64 = f64::NEG_INFINITY;
        let same = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()));
        for nan in [f64::NAN, -f64::NAN] {
            let start = [1.0, nan, 3.0, 2.0];
            let kept = |filter: &dyn Fn(&mut [f64])| {
                let mut row = start;
                filter(&mut row);
                row
            };
            assert!(same(&kept(&|row| keep_largest(row, 1)), &[NONE, nan, NONE, NONE]));
            assert!(same(&kept(&|row| keep_largest(row, 2)), &[NONE, nan, 3.0, NONE]));
            assert!(same(&kept(&|row| keep_past_mass(row, 0.9)), &start));
            assert!(same(&kept(&|row| keep_alike(row, 0.1)), &start));
        }
        let mut row = [NONE; 3];
        keep_past_mass(&mut row, 0.9);
        keep_alike(&mut row, 0.1);
        keep_largest(&mut row, 2);
        assert_eq!(row, [NONE; 3]);
    }
}
