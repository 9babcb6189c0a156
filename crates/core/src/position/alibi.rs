//! ALiBi: a bias of the scores that decreases linearly with the distance, with one slope per head.
//!
//! Source: Train Short, Test Long, <https://arxiv.org/abs/2108.12409>. Heads beyond
//! `alibi_num_heads` have no bias.

use super::span::Span;
use super::table::{Kind, PositionTable};
use crate::{Array, DType, Device, Error, Init, Param, Params, Result, Tensor};
use xt_autograd::ops;
use xt_options::layers::StackOptions;

/// ALiBi with fixed or learned slopes.
pub struct Alibi {
    slopes: Vec<f64>,
    /// The logarithms of the slopes, `(alibi heads, 1, 1)`, if the slopes are learned.
    learned: Option<Param>,
    /// The number of heads without a bias.
    heads_without_bias: usize,
    /// The distances, negative, `(i + j - 1, 1)`.
    distances: PositionTable,
    /// The slopes, `(heads, 1)`.
    by_head: PositionTable,
}

impl Alibi {
    /// Registers the slopes if they are learned.
    pub fn new(options: &StackOptions, p: &mut Params) -> Self {
        let heads = options.heads.get();
        let count = options.alibi_num_heads.map_or(heads, |n| n.get());
        let slopes = options.alibi_slopes.clone().unwrap_or_else(|| slopes(count));
        let logs = || Init::Values(slopes.iter().map(|s| s.ln()).collect());
        let learned =
            options.alibi_learned.then(|| p.add("learned_logslopes", &[count, 1, 1], logs()));
        let (distances, by_head) = Default::default();
        Self { slopes, learned, heads_without_bias: heads - count, distances, by_head }
    }

    /// The number of heads with a bias.
    pub fn heads(&self) -> usize {
        self.slopes.len()
    }

    /// The bias by distance, `(heads, i + j - 1)`, in the order of [`Span::distances`].
    pub fn forward(&self, span: Span, dtype: DType, device: &Device) -> Result<Tensor> {
        let kind = Kind { dtype, device: device.clone(), version: 0, variant: 0 };
        let distances = self.distances.rows(span.distances(), 1, &kind, &|distance, row| {
            row.push(-(distance.unsigned_abs() as f64));
        })?;
        let (distances, count) = (Tensor::constant(distances.t()?), distances.dim(0)?);
        let bias = ops::mul(&self.slopes(&kind)?, &distances)?;
        if self.heads_without_bias == 0 {
            return Ok(bias);
        }
        let zeros = Array::zeros((self.heads_without_bias, count), dtype, device)?;
        Ok(ops::cat(&[&bias, &Tensor::constant(zeros)], 0)?)
    }

    /// The bias between given positions, i64 `(1 or batch, 1 or ALiBi heads, length)`:
    /// `(1 or batch, heads, i, j)`. The queries are the last `i` positions. Keys before the
    /// positions, which are learned ones, have no bias.
    pub fn between(&self, positions: &Tensor, span: Span, dtype: DType) -> Result<Tensor> {
        let device = positions.device();
        let kind = Kind { dtype, device: device.clone(), version: 0, variant: 0 };
        let length = positions.dim(2);
        if length < span.queries || length > span.keys {
            let keys = span.keys;
            return Error::shape(format!("pos has {length} positions, but there are {keys} keys"));
        }
        let [rows, heads] = [positions.dim(0), positions.dim(1)];
        let keys = ops::reshape(positions, &[rows, heads, 1, length])?;
        let queries = ops::narrow(positions, 2, length - span.queries, span.queries)?;
        let queries = ops::reshape(&queries, &[rows, heads, span.queries, 1])?;
        // as integers: the differences of large numbers would be rounded
        let distances = ops::abs(&ops::cast(&ops::sub(&queries, &keys)?, dtype, false)?)?;
        let slopes = ops::reshape(&self.slopes(&kind)?, &[1, self.slopes.len(), 1, 1])?;
        let mut bias = ops::neg(&ops::mul(&slopes, &distances)?)?;
        let more = [(3, span.keys - length), (1, self.heads_without_bias)];
        for (axis, count) in more.into_iter().filter(|(_, count)| *count > 0) {
            let mut dims = bias.dims().to_vec();
            dims[axis] = count;
            let zeros = Tensor::constant(Array::zeros(&dims[..], dtype, &device)?);
            bias = match axis {
                1 => ops::cat(&[&bias, &zeros], axis)?,
                _ => ops::cat(&[&zeros, &bias], axis)?,
            };
        }
        Ok(bias)
    }

    /// The slopes, `(ALiBi heads, 1)`.
    fn slopes(&self, kind: &Kind) -> Result<Tensor> {
        let count = self.slopes.len();
        if let Some(logs) = &self.learned {
            return Ok(ops::reshape(&ops::exp(&logs.tensor())?, &[count, 1])?);
        }
        let slope = |head: i64, row: &mut Vec<f64>| row.push(self.slopes[head as usize]);
        Ok(Tensor::constant(self.by_head.rows(0..count as i64, 1, kind, &slope)?))
    }
}

/// The slopes of `heads` heads. For a power of two: 2^(-8 (k + 1) / heads) for head k, counted from
/// 0. Otherwise: the slopes of the next lower power of two, then every second slope of the next
/// higher one.
fn slopes(heads: usize) -> Vec<f64> {
    let geometric = |n: usize| (1..=n).map(move |k| 2f64.powf(-8.0 * k as f64 / n as f64));
    if heads.is_power_of_two() {
        return geometric(heads).collect();
    }
    let lower = (heads + 1).next_power_of_two() / 2;
    geometric(lower).chain(geometric(2 * lower).step_by(2).take(heads - lower)).collect()
}

#[cfg(test)]
mod tests {
    use super::slopes;

    #[test]
    fn slopes_for_other_numbers_than_powers_of_two() {
        assert_eq!(slopes(4), [0.25, 0.0625, 0.015625, 0.00390625]);
        let six = slopes(6);
        assert_eq!(six[..4], slopes(4));
        assert_eq!(six[4..], [slopes(8)[0], slopes(8)[2]]);
        assert!((1..40).all(|n| slopes(n).len() == n));
    }
}
