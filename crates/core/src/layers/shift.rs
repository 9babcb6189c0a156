//! Token shift: segments of the features come from neighbouring positions.
//!
//! Source: RWKV, <https://github.com/BlinkDL/RWKV-LM>.

use super::cache::last_columns;
use crate::needs::{Needs, Variant};
use crate::{Array, DType, Error, Result, Tensor};
use std::sync::Arc;
use xt_autograd::ops;

/// A token shift with one shift per segment of the features.
pub struct ShiftTokens {
    /// The number of positions by which each segment moves, positive towards later positions.
    shifts: Arc<[i64]>,
}

impl ShiftTokens {
    /// Shifts from 0 to `amount`, or from `-amount` to `amount` if not causal. `None` if `amount`
    /// is 0.
    pub fn new(amount: usize, causal: bool) -> Option<Self> {
        let amount = amount as i64;
        let lowest = if causal { 0 } else { -amount };
        (amount > 0).then(|| Self { shifts: (lowest..=amount).collect() })
    }

    /// Whether a segment moves towards earlier positions.
    pub fn is_backward(&self) -> bool {
        self.shifts.iter().any(|shift| *shift < 0)
    }

    /// `(batch, n, dim)` to `(batch, n, dim)`. Features of masked positions do not move to other
    /// positions; `mask` is bool, `(batch, n)`. They stay in the documents of packed rows, whose
    /// `bounds` are i64, `(batch, n, 2)`. During generation, `tail` contains the inputs that
    /// preceded `x`, `(batch, up to the largest shift, dim)`, and is replaced by the last inputs
    /// including `x`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if there are fewer features than shifts.
    pub fn forward(
        &self,
        x: &Tensor,
        mask: Option<&Tensor>,
        bounds: Option<&Array>,
        tail: Option<&mut Option<Tensor>>,
    ) -> Result<Tensor> {
        if x.dim(2) < self.shifts.len() {
            return Error::shape(format!(
                "{} features are too few for {} shifts",
                x.dim(2),
                self.shifts.len()
            ));
        }
        let Some(tail) = tail else {
            return Ok(ops::token_shift(x, self.shifts.clone(), mask, bounds)?);
        };
        let (mut all, mut mask) = (x.clone(), mask.cloned());
        if let Some(before) = tail.take() {
            all = ops::cat(&[&before, x], 1)?;
            // masked positions are already zero in the tail
            let ones =
                Tensor::boolean(Array::ones((x.dim(0), before.dim(1)), DType::U8, &x.device())?);
            mask = mask.map(|mask| ops::cat(&[&ones, &mask], 1)).transpose()?;
        }
        let max_shift = self.shifts.iter().copied().max().unwrap_or(0) as usize;
        let last = last_columns(&all, max_shift)?;
        let last = match &mask {
            None => last,
            Some(mask) => {
                let mask = last_columns(mask, max_shift)?;
                let mask = ops::reshape(&mask, &[mask.dim(0), mask.dim(1), 1])?;
                ops::where_cond(&mask, &last, &ops::scalar_like(x, 0.0)?)?
            }
        };
        // a copy, so that the remaining inputs can be freed
        *tail = Some(Tensor::constant(last.array()?.copy()?));
        last_columns(&ops::token_shift(&all, self.shifts.clone(), mask.as_ref(), None)?, x.dim(1))
    }
}

impl Variant for ShiftTokens {
    /// Features move between neighbouring positions.
    fn needs(&self) -> Needs {
        let later = "`shift_tokens` takes features from later positions too: take a Decoder";
        Needs {
            sees_later: self.is_backward().then_some(later),
            position_in_row: true,
            ..Needs::NONE
        }
    }
}
