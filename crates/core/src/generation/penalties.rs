//! Penalties on tokens that a row has already.

use super::table::Table;
use crate::{Result, Tensor};
use std::collections::HashSet;

/// Makes the tokens in each of `rows`, behind its first `padding` ones, less likely by the factor `penalty`: logits,
/// (rows, num_tokens), are divided by it where positive, multiplied where negative. Each token counts once.
/// Source: CTRL, <https://arxiv.org/abs/1909.05858>.
pub fn repetition(logits: &Tensor, rows: &[Vec<i64>], padding: &[usize], penalty: f64) -> Result<Tensor> {
    let mut table = Table::read(logits)?;
    let less = |x: f64| if x > 0.0 { x / penalty } else { x * penalty };
    for (i, (row, padding)) in rows.iter().zip(padding).enumerate() {
        let seen: HashSet<i64> = row.iter().skip(*padding).copied().collect();
        seen.into_iter().filter_map(|token| usize::try_from(token).ok()).for_each(|token| table.change(i, token, less));
    }
    table.like(logits)
}
