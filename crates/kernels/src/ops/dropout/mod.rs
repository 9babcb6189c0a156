//! Dropout: each element is set to 0 with probability p, and the others are divided by 1 - p.
//!
//! The mask is a function of the random stream alone, so the backward pass recomputes it instead of
//! storing it.
//!
//! Source: Dropout, <https://jmlr.org/papers/v15/srivastava14a.html>.

#[cfg(feature = "cuda")]
mod cuda;

use crate::array::HostArray;
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::host::gemm::blas::Blas;
use crate::host::parallel::{build_zeroed, nth_chunk, PIECE};
use crate::host::{self, Real};
use crate::kernel::{arrays, run, Kernel};
use crate::ops::layout::contiguous;
use crate::philox::{Stream, LANES};
use crate::{Array, Result};
#[cfg(feature = "cuda")]
use std::sync::Arc;
use xt_macros::simd;

/// Random 32-bit words below this threshold drop their element.
fn threshold(p: f64) -> u64 {
    (p * 4_294_967_296.0).round() as u64
}

/// The factor of the elements that are kept.
fn scale(p: f64) -> f64 {
    if p < 1.0 {
        1.0 / (1.0 - p)
    } else {
        0.0
    }
}

/// The settings of a dropout: its probability, and the random numbers that select the elements.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// The probability of dropping an element, from 0 to 1.
    pub p: f64,
    /// The random stream. Element n uses word n.
    pub stream: Stream,
}

impl Dropout {
    /// Writes the factors of consecutive elements, from element `first` on: 0 or 1 / (1 - p).
    pub(crate) fn factors<T: Real>(self, first: u64, factors: &mut [T]) {
        match u32::try_from(threshold(self.p)) {
            Ok(limit) => fill(self.stream, limit, T::of(scale(self.p)), first, factors),
            // With p = 1 the threshold exceeds 32 bits, and every element is dropped.
            Err(_) => factors.fill(T::ZERO),
        }
    }
}

#[simd]
fn fill<T: Real>(stream: Stream, limit: u32, scale: T, first: u64, mut factors: &mut [T]) {
    let (mut block, mut skipped) = ((first / 4) as u32, (first % 4) as usize);
    while !factors.is_empty() {
        let mut words = [0; 4 * LANES];
        stream.blocks(block, &mut words);
        let (now, later) = factors.split_at_mut(factors.len().min(words.len() - skipped));
        for (factor, word) in now.iter_mut().zip(&words[skipped..]) {
            *factor = if *word >= limit { scale } else { T::ZERO };
        }
        (factors, block, skipped) = (later, block.wrapping_add(LANES as u32), 0);
    }
}

/// Kernel of [`dropout`].
#[derive(Clone)]
struct Drop {
    x: Array,
    dropout: Dropout,
}

arrays!(Drop { x });

impl Kernel for Drop {
    const NAME: &'static str = "dropout";
    type Out = Array;

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn reference(&self) -> Result<Array> {
        let (x, Dropout { p, stream }) = (self.x.host()?, self.dropout);
        let limit = threshold(p);
        let keep: Vec<u8> =
            (0..x.elem_count()).map(|i| u8::from(u64::from(stream.word(i)) >= limit)).collect();
        let keep = HostArray::from_vec(keep, x.dims(), x.device())?.to_dtype(x.dtype())?;
        Ok(((x * keep)? * scale(p))?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        dropout_cpu::<T>(&self.x, self.dropout)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        let Dropout { p, stream } = self.dropout;
        cuda::dropout(&self.x, stream, (threshold(p), scale(p)), gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let stream = Stream { seed: 1, call: 2, draw: 3 };
        let of = |n| {
            [0.0, 0.3, 1.0].map(|p| Self {
                x: crate::testing::normal64(&[n, 2], 1),
                dropout: Dropout { p, stream },
            })
        };
        [0, 1, 3, 4, 5, PIECE / 2 + 3].into_iter().flat_map(of).collect()
    }
}

/// Applies dropout with probability `p` to `x`. The backward pass is the same function, applied to
/// the gradient of the output.
pub fn dropout(x: &Array, p: f64, stream: Stream) -> Result<Array> {
    run(&Drop { x: x.clone(), dropout: Dropout { p, stream } })
}

fn dropout_cpu<T: Real>(x: &Array, dropout: Dropout) -> Result<Array> {
    let x = contiguous(x)?;
    let xs = host::slice::<T>(&x)?;
    let xs: &[T] = &xs;
    let y = build_zeroed(xs.len(), PIECE, |piece, y: &mut [T]| {
        dropout.factors((piece * PIECE) as u64, y);
        // Dropped elements are 0 even if they were not finite.
        y.iter_mut()
            .zip(nth_chunk(xs, piece, PIECE))
            .for_each(|(y, x)| *y = if *y == T::ZERO { T::ZERO } else { *x * *y });
    })?;
    host::array(y, x.dims())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{device, values};

    const STREAM: Stream = Stream { seed: 1, call: 2, draw: 3 };

    #[test]
    fn equals_the_reference() {
        crate::testing::assert_matches_reference::<Drop>(1e-6);
    }

    #[test]
    fn factors_start_at_any_element_on_the_cpu() {
        for p in [0.0, 0.3, 1.0] {
            let dropout = Dropout { p, stream: STREAM };
            let mut all = [9.0_f32; 300];
            dropout.factors(0, &mut all);
            for first in [1, 2, 63, 64, 129] {
                let mut some = [9.0_f32; 150];
                dropout.factors(first as u64, &mut some);
                assert_eq!(some, all[first..first + 150]);
            }
        }
    }

    #[test]
    fn drops_the_right_share_and_keeps_the_mean() {
        let x = Array::ones(100_000, crate::DType::F32, &device()).unwrap();
        for p in [0.0, 0.1, 0.5, 1.0] {
            let y = values(&dropout(&x, p, STREAM).unwrap());
            let zeros = y.iter().filter(|v| **v == 0.0).count() as f64 / y.len() as f64;
            assert!((zeros - p).abs() < 0.005, "{zeros} of the elements dropped, not {p}");
            let mean = y.iter().sum::<f64>() / y.len() as f64;
            assert!(p == 1.0 || (mean - 1.0).abs() < 0.02);
        }
    }
}
