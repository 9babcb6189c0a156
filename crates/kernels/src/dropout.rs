//! Dropout: each element is 0 with probability p, the others are divided by 1 - p.
//!
//! The mask is a function of the random stream alone, so backward makes it again instead of keeping it.
//! Source: Dropout, <https://jmlr.org/papers/v15/srivastava14a.html>.

use crate::cpu::{self, dispatch, Real};
use crate::layout::contiguous;
use crate::parallel::{computed, part, PIECE};
use crate::philox::Stream;
use crate::{Array, Device, Result};

/// A word below this drops its element.
fn threshold(p: f64) -> u64 {
    (p * 4_294_967_296.0).round() as u64
}

/// The mask as an array, 1 where an element stays; on candle's own operations.
pub fn mask(dims: &[usize], p: f64, stream: Stream, device: &Device) -> Result<Array> {
    let limit = threshold(p);
    let keep: Vec<u8> = (0..dims.iter().product()).map(|i| u8::from(u64::from(stream.word(i)) >= limit)).collect();
    Array::from_vec(keep, dims, device)
}

/// Dropout by the mask, on candle's own operations.
pub fn reference(x: &Array, p: f64, stream: Stream) -> Result<Array> {
    let keep = mask(x.dims(), p, stream, x.device())?.to_dtype(x.dtype())?;
    (x * keep)? * scale(p)
}

fn scale(p: f64) -> f64 {
    if p < 1.0 {
        1.0 / (1.0 - p)
    } else {
        0.0
    }
}

/// Drops elements of `x` with probability `p`. The gradient is the same function of the gradient.
pub fn dropout(x: &Array, p: f64, stream: Stream) -> Result<Array> {
    dispatch!(x, T => dropout_cpu::<T>(x, p, stream), else reference(x, p, stream))
}

fn dropout_cpu<T: Real>(x: &Array, p: f64, stream: Stream) -> Result<Array> {
    let x = contiguous(x)?;
    let xs = cpu::slice::<T>(&x)?;
    let xs: &[T] = &xs;
    let (limit, scale) = (threshold(p), T::of(scale(p)));
    let y = computed(xs.len(), PIECE, |piece, y: &mut [T]| {
        for (b, (y, x)) in y.chunks_mut(4).zip(part(xs, piece, PIECE).chunks(4)).enumerate() {
            let words = stream.block((piece * (PIECE / 4) + b) as u32);
            for ((y, x), word) in y.iter_mut().zip(x).zip(words) {
                *y = if u64::from(word) >= limit { *x * scale } else { T::ZERO };
            }
        }
    })?;
    cpu::array(y, x.dims())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, normal, values};

    const STREAM: Stream = Stream { seed: 1, call: 2, draw: 3 };

    #[test]
    fn equals_the_reference() {
        for n in [1, 3, 4, 5, PIECE + 3] {
            let x = normal(&[n], 1);
            close(&dropout(&x, 0.3, STREAM).unwrap(), &reference(&x, 0.3, STREAM).unwrap(), 1e-6);
        }
    }

    #[test]
    fn drops_the_right_share_and_keeps_the_mean() {
        let x = Array::ones(100_000, crate::DType::F32, &Device::Cpu).unwrap();
        for p in [0.0, 0.1, 0.5, 1.0] {
            let y = values(&dropout(&x, p, STREAM).unwrap());
            let zeros = y.iter().filter(|v| **v == 0.0).count() as f64 / y.len() as f64;
            assert!((zeros - p).abs() < 0.005, "{zeros} of the elements dropped, not {p}");
            let mean = y.iter().sum::<f64>() / y.len() as f64;
            assert!(p == 1.0 || (mean - 1.0).abs() < 0.02);
        }
    }
}
