//! Token shift: parts of the features come from neighbouring positions.
//!
//! Source: RWKV, <https://github.com/BlinkDL/RWKV-LM>.

use super::cache::last_columns;
use crate::{Array, Error, Result, Tensor};
use xt_autograd::ops;

pub struct ShiftTokens {
    /// How far each segment of the features moves, towards later positions.
    shifts: Vec<i64>,
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
        let width = x.dim(2) / self.shifts.len();
        if width == 0 {
            return Error::shape(format!("{} features are too few for {} shifts", x.dim(2), self.shifts.len()));
        }
        let zero = ops::scalar_like(x, 0.0)?;
        let mut clean = match mask {
            None => x.clone(),
            Some(mask) => ops::where_cond(&ops::reshape(mask, &[x.dim(0), x.dim(1), 1])?, x, &zero)?,
        };
        if let Some(tail) = tail {
            if let Some(before) = tail.take() {
                clean = ops::cat(&[&before, &clean], 1)?;
            }
            let most = self.shifts.iter().copied().max().unwrap_or(0) as usize;
            // a copy, so that the rest of the inputs is freed
            *tail = Some(Tensor::constant(last_columns(&clean, most)?.array()?.force_contiguous()?));
        }
        let mut parts = Vec::with_capacity(self.shifts.len() + 1);
        for (segment, amount) in self.shifts.iter().enumerate() {
            let part = |source: &Tensor| ops::narrow(source, 2, segment * width, width);
            parts.push(match amount {
                0 => part(x)?,
                _ => last_columns(&shifted(&part(&clean)?, *amount)?, x.dim(1))?,
            });
        }
        let done = width * self.shifts.len();
        if done < x.dim(2) {
            parts.push(ops::narrow(x, 2, done, x.dim(2) - done)?);
        }
        Ok(ops::cat(&parts.iter().collect::<Vec<_>>(), 2)?)
    }
}

/// The sequence moved by `amount` positions, zeros where nothing comes in.
fn shifted(x: &Tensor, amount: i64) -> Result<Tensor> {
    let n = x.dim(1);
    let by = (amount.unsigned_abs() as usize).min(n);
    if by == 0 {
        return Ok(x.clone());
    }
    let zeros = Tensor::constant(Array::zeros((x.dim(0), by, x.dim(2)), x.dtype(), &x.device())?);
    let kept = ops::narrow(x, 1, if amount > 0 { 0 } else { by }, n - by)?;
    Ok(if amount > 0 { ops::cat(&[&zeros, &kept], 1)? } else { ops::cat(&[&kept, &zeros], 1)? })
}
