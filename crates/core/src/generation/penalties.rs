//! Penalties on tokens that already occur in a row.

use super::logits_table::LogitsTable;
use crate::{Result, Tensor};
use std::collections::HashSet;

/// The repetition penalty: makes tokens that occur in a row less likely, however often they occur.
///
/// Source: CTRL, <https://arxiv.org/abs/1909.05858>.
pub struct Repetition {
    penalty: f64,
    /// The set of tokens of each row.
    seen: Vec<HashSet<i64>>,
}

impl Repetition {
    /// For `rows`, without the first `padding` tokens of each; `None` for a penalty of 1, which has
    /// no effect.
    pub fn new(rows: &[Vec<i64>], padding: &[usize], penalty: f64) -> Option<Self> {
        let seen = |(row, padding): (&Vec<i64>, &usize)| row[*padding..].iter().copied().collect();
        (penalty != 1.0)
            .then(|| Self { penalty, seen: rows.iter().zip(padding).map(seen).collect() })
    }

    /// Applies the penalty to `logits`, (rows, num_tokens): divides positive ones by it, and
    /// multiplies negative ones with it.
    pub fn apply(&self, logits: &Tensor) -> Result<Tensor> {
        let mut table = LogitsTable::read(logits)?;
        let less = |x: f64| if x > 0.0 { x / self.penalty } else { x * self.penalty };
        for (row, seen) in self.seen.iter().enumerate() {
            seen.iter()
                .filter_map(|token| usize::try_from(*token).ok())
                .for_each(|token| table.change(row, token, less));
        }
        table.like(logits)
    }

    /// Records a new token of a row.
    pub fn add(&mut self, row: usize, token: i64) {
        self.seen[row].insert(token);
    }

    /// Row `i` now continues the former row `from[i]`.
    pub fn reorder(&mut self, from: &[usize]) {
        self.seen = from.iter().map(|row| self.seen[*row].clone()).collect();
    }
}
