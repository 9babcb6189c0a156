//! Token shift: parts of the features come from neighbouring positions.
//!
//! Source: RWKV, <https://github.com/BlinkDL/RWKV-LM>.

use super::cache::last_columns;
use crate::{Array, DType, Error, Result, Tensor};
use std::sync::Arc;
use xt_autograd::ops;

pub struct ShiftTokens {
    /// How far each segment of the features moves, towards later positions.
    shifts: Arc<[i64]>,
}

impl ShiftTokens {
    /// Shifts of 0 to `amount`, and back to -`amount` too where the future may be seen; `None` for 0.
    pub fn new(amount: usize, causal: bool) -> Option<Self> {
        let amount = amount as i64;
        let lowest = if causal { 0 } else { -amount };
        (amount > 0).then(|| Self { shifts: (lowest..=amount).collect() })
    }

    /// Whether a segment moves towards earlier positions.
    pub fn is_backward(&self) -> bool {
        self.shifts.iter().any(|shift| *shift < 0)
    }

    /// (batch, n, dim) to the same; masked positions do not move into others. `tail` holds the last inputs before `x`, where there
    /// were any, and then those of `x`.
    pub fn forward(&self, x: &Tensor, mask: Option<&Tensor>, tail: Option<&mut Option<Tensor>>) -> Result<Tensor> {
        if x.dim(2) < self.shifts.len() {
            return Error::shape(format!("{} features are too few for {} shifts", x.dim(2), self.shifts.len()));
        }
        let Some(tail) = tail else {
            return Ok(ops::token_shift(x, self.shifts.clone(), mask)?);
        };
        let (mut all, mut there) = (x.clone(), mask.cloned());
        if let Some(before) = tail.take() {
            all = ops::cat(&[&before, x], 1)?;
            // what was masked is zeros there
            let ones = Tensor::boolean(Array::ones((x.dim(0), before.dim(1)), DType::U8, &x.device())?);
            there = there.map(|mask| ops::cat(&[&ones, &mask], 1)).transpose()?;
        }
        let most = self.shifts.iter().copied().max().unwrap_or(0) as usize;
        let last = last_columns(&all, most)?;
        let last = match &there {
            None => last,
            Some(mask) => {
                let mask = last_columns(mask, most)?;
                let mask = ops::reshape(&mask, &[mask.dim(0), mask.dim(1), 1])?;
                ops::where_cond(&mask, &last, &ops::scalar_like(x, 0.0)?)?
            }
        };
        // a copy, so that the rest of the inputs is freed
        *tail = Some(Tensor::constant(last.array()?.copy()?));
        last_columns(&ops::token_shift(&all, self.shifts.clone(), there.as_ref())?, x.dim(1))
    }
}
