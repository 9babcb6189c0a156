//! Selection of the k largest scores of each row.
//!
//! Shapes: scores and result are (batch, heads, i, j); the result is u8. Masked scores count as the
//! lowest finite number.

#[cfg(feature = "cuda")]
mod cuda;

use crate::array::HostArray;
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::host::parallel::{for_each_piece, nth_chunk, rows_per_piece};
use crate::host::{self, Real};
use crate::kernel::{arrays, run, Kernel};
use crate::memory::alloc;
use crate::ops::elementwise::is_nan;
use crate::ops::layout::{contiguous, narrow_on_host};
use crate::ops::select;
use crate::ops::softmax::{self, Mask, MaskRows};
use crate::{Array, Device, Result};
#[cfg(feature = "cuda")]
use std::sync::Arc;

/// Kernel of [`largest`].
#[derive(Clone)]
struct Largest {
    scores: Array,
    mask: Mask,
    k: usize,
}

arrays!(Largest { scores, mask });

impl Kernel for Largest {
    const NAME: &'static str = "sparse_topk";
    type Out = Array;

    fn check(&self) -> Result<()> {
        let (b, h, i, j) = self.scores.dims4()?;
        if !(1..=j).contains(&self.k) {
            bail!("the {} largest of {j} scores", self.k);
        }
        self.mask.check([b, h, i, j])
    }

    fn reference(&self) -> Result<Array> {
        let (scores, k) = (self.scores.host()?, self.k);
        let filled = softmax::masked_fill(scores, &self.mask)?.contiguous()?;
        // NaN counts as the largest number, since it cannot be ordered.
        let top = HostArray::full(f64::INFINITY, filled.shape(), filled.device())?
            .to_dtype(filled.dtype())?;
        let numbers = select::on_host(&filled.ne(&filled)?, &top, &filled)?;
        let (sorted, _) = numbers.sort_last_dim(false)?;
        let limit = narrow_on_host(&sorted, scores.rank() - 1, k - 1, 1)?;
        let chosen = filled.broadcast_lt(&limit)?.eq(0u8)?;
        let (_, _, i, j) = scores.dims4()?;
        match self.mask.dense(i, j, &Device::Cpu)? {
            Some(allowed) => Ok(chosen.broadcast_mul(allowed.host()?)?.into()),
            None => Ok(chosen.into()),
        }
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        largest_cpu::<T>(&self.scores, &self.mask, self.k)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        cuda::largest(&self.scores, &self.mask, self.k, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let some: Vec<u8> = (0..2 * 7).map(|i| u8::from(i % 3 != 0)).collect();
        let keys = Array::from_vec(some, (2, 1, 1, 7), &Device::Cpu).unwrap();
        let mut all = Vec::new();
        for (k, causal) in [(1, false), (3, true), (7, true), (4, false)] {
            for allowed in [None, Some(keys.clone())] {
                for window in [None, Some(1)] {
                    let mask = Mask { allowed: allowed.clone(), causal, window, ranges: None };
                    all.push(Self { scores: crate::testing::normal64(&[2, 3, 5, 7], 1), mask, k });
                }
            }
        }
        all
    }
}

/// Returns 1 where a score is allowed by the mask and not less than the k-th largest score of its
/// row, otherwise 0, as u8, (batch, heads, i, j). NaN counts as the largest score.
///
/// # Errors
/// If k is not from 1 to j, or the mask does not fit the scores.
pub fn largest(scores: &Array, mask: &Mask, k: usize) -> Result<Array> {
    run(&Largest { scores: scores.clone(), mask: mask.clone(), k })
}

/// CPU kernel of [`largest`].
fn largest_cpu<T: Real>(scores: &Array, mask: &Mask, k: usize) -> Result<Array> {
    let (b, h, i, j) = scores.dims4()?;
    let scores = contiguous(scores)?;
    let xs = host::slice::<T>(&scores)?;
    let xs: &[T] = &xs;
    // The value that NaN counts as.
    let largest = T::of(f64::INFINITY);
    let rows = MaskRows::with_dims([b, h, i, j], mask)?;
    let count = rows_per_piece(j);
    let mut chosen = alloc::filled(0u8, xs.len())?;
    for_each_piece(&mut chosen, count * j, |piece, chosen| {
        let (mut line, mut keys) = (Vec::new(), Vec::new());
        for (r, chosen) in chosen.chunks_exact_mut(j).enumerate() {
            let row = piece * count + r;
            let (visible, allowed) = (rows.visible(row), rows.allowed(row, &mut line));
            let here = |at: &usize| allowed.is_none_or(|allowed| allowed[*at] != 0);
            let x = nth_chunk(xs, row, j);
            keys.clear();
            keys.extend(visible.clone().filter(here).map(|at| {
                if is_nan(x[at]) {
                    largest.key()
                } else {
                    x[at].key()
                }
            }));
            let limit = limit::<T>(&mut keys, j, k);
            visible.filter(here).for_each(|at| chosen[at] = u8::from(!less(x[at], limit)));
        }
    });
    host::array(chosen, scores.dims())
}

/// `x < limit`; false for NaN.
#[inline(always)]
fn less<T: Real>(x: T, limit: T) -> bool {
    x < limit
}

/// The k-th largest of the `j` scores of a row. `keys` are the scores that are allowed; the others
/// count as the lowest finite number.
fn limit<T: Real>(keys: &mut [T::Key], j: usize, k: usize) -> T {
    let Some(at) = keys.len().checked_sub(k) else {
        return T::LOWEST;
    };
    let limit = T::of_key(*keys.select_nth_unstable(at).1);
    if keys.len() < j && limit < T::LOWEST {
        return T::LOWEST;
    }
    limit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{
        assert_close, assert_matches_reference, device, normal, on_device, reference,
    };

    #[test]
    fn equals_the_reference() {
        assert_matches_reference::<Largest>(0.0);
    }

    #[test]
    fn nan_is_chosen() {
        let mut values: Vec<f32> = (0..9).map(|i| (i * 5 % 9) as f32).collect();
        (values[2], values[7]) = (f32::NAN, -f32::NAN);
        let x = Array::from_vec(values, (1, 1, 1, 9), &device()).unwrap();
        for k in 1..=9 {
            let got = largest(&x, &Mask::default(), k).unwrap();
            let plain = Largest { scores: x.clone(), mask: Mask::default(), k };
            assert_close(&got, &reference(&plain), 0.0);
            let chosen: Vec<u8> = got.flatten_all().unwrap().to_vec1().unwrap();
            assert_eq!((chosen[2], chosen[7]), (1, 1));
            assert_eq!(chosen.iter().sum::<u8>() as usize, k.max(2));
        }
    }

    #[test]
    fn k_of_each_row_stay() {
        let chosen = largest(&on_device(&normal(&[1, 2, 3, 9], 2)), &Mask::default(), 4).unwrap();
        let counts: Vec<i64> = crate::ops::reduce::sum(&chosen, &[3])
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1()
            .unwrap();
        assert_eq!(counts, [4; 6]);
    }
}
