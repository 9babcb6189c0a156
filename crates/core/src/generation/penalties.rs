//! Penalties on tokens that a row has already.

use super::table::Table;
use crate::{Result, Tensor};
use std::collections::HashSet;

/// Makes the tokens that a row has less likely. Each counts once.
/// Source: CTRL, <https://arxiv.org/abs/1909.05858>.
pub struct Repetition {
    penalty: f64,
    /// The tokens of each row.
    seen: Vec<HashSet<i64>>,
}

impl Repetition {
    /// For `rows` whose first `padding` tokens do not count; `None` for a penalty of 1, which changes nothing.
    pub fn new(rows: &[Vec<i64>], padding: &[usize], penalty: f64) -> Option<Self> {
        let seen = |(row, padding): (&Vec<i64>, &usize)| row[*padding..].iter().copied().collect();
        (penalty != 1.0).then(|| Self { penalty, seen: rows.iter().zip(padding).map(seen).collect() })
    }

    /// Logits, (rows, num_tokens): divided by the penalty where positive, multiplied where negative.
    pub fn apply(&self, logits: &Tensor) -> Result<Tensor> {
        let mut table = Table::read(logits)?;
        let less = |x: f64| if x > 0.0 { x / self.penalty } else { x * self.penalty };
        for (row, seen) in self.seen.iter().enumerate() {
            seen.iter()
                .filter_map(|token| usize::try_from(*token).ok())
                .for_each(|token| table.change(row, token, less));
        }
        table.like(logits)
    }

    /// A row has got one more.
    pub fn add(&mut self, row: usize, token: i64) {
        self.seen[row].insert(token);
    }

    /// Row i continues what was row `from[i]`.
    pub fn reorder(&mut self, from: &[usize]) {
        self.seen = from.iter().map(|row| self.seen[*row].clone()).collect();
    }
}
