//! Which scores of a row belong to its k largest.
//!
//! Shapes: scores and result, u8, are (batch, heads, i, j). Masked scores count as the lowest finite number.

use crate::cpu::{self, dispatch, Real};
use crate::parallel::{part, pieces};
use crate::softmax::{self, Mask};
use crate::{elementwise, Array, Result};

/// The choice on candle's own operations.
pub fn reference(scores: &Array, mask: &Mask, k: usize) -> Result<Array> {
    let filled = softmax::filled(scores, mask)?.contiguous()?;
    let (sorted, _) = filled.sort_last_dim(false)?;
    let limit = sorted.narrow(scores.rank() - 1, k - 1, 1)?;
    within(filled.broadcast_ge(&limit)?, scores, mask)
}

/// 1 where a score is allowed and no less than the k-th largest of its row; k is from 1 to j.
pub fn largest(scores: &Array, mask: &Mask, k: usize) -> Result<Array> {
    dispatch!(scores, T => largest_cpu::<T>(scores, mask, k), else reference(scores, mask, k))
}

fn within(chosen: Array, scores: &Array, mask: &Mask) -> Result<Array> {
    let (_, _, i, j) = scores.dims4()?;
    match mask.dense(i, j, scores.device())? {
        Some(allowed) => elementwise::mul(&chosen, &allowed),
        None => Ok(chosen),
    }
}

fn largest_cpu<T: Real>(scores: &Array, mask: &Mask, k: usize) -> Result<Array> {
    let filled = softmax::filled(scores, mask)?.contiguous()?;
    let (_, width) = cpu::rows_and_width(&filled);
    let xs = cpu::slice::<T>(&filled)?;
    let xs: &[T] = &xs;
    let mut chosen = vec![0u8; xs.len()];
    pieces(&mut chosen, width, |i, chosen| {
        let row = part(xs, i, width);
        let mut sorted = row.to_vec();
        let (_, limit, _) = sorted.select_nth_unstable_by(k - 1, |a, b| b.wide().total_cmp(&a.wide()));
        chosen.iter_mut().zip(row).for_each(|(c, x)| *c = u8::from(*x >= *limit));
    });
    within(cpu::array(chosen, filled.dims())?, scores, mask)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, normal};

    #[test]
    fn equals_the_reference() {
        let x = normal(&[2, 3, 5, 7], 1);
        for (k, causal) in [(1, false), (3, true), (7, true), (4, false)] {
            let mask = Mask { allowed: None, causal, past: None };
            close(&largest(&x, &mask, k).unwrap(), &reference(&x, &mask, k).unwrap(), 0.0);
        }
    }

    #[test]
    fn k_of_each_row_stay() {
        let chosen = largest(&normal(&[1, 2, 3, 9], 2), &Mask::default(), 4).unwrap();
        let counts: Vec<u8> = chosen.sum(3).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(counts, [4; 6]);
    }
}
