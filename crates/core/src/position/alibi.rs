//! A bias that falls with the distance, with a slope for each head.
//!
//! Source: Train Short, Test Long, <https://arxiv.org/abs/2108.12409>. Heads beyond `alibi_num_heads` have none.

use super::span::Span;
use crate::{Array, DType, Device, Init, Param, Params, Result, Tensor};
use xt_autograd::ops;
use xt_options::layers::StackOptions;

pub struct Alibi {
    slopes: Vec<f64>,
    /// Logarithms of the slopes, (alibi heads, 1, 1), where they are learned.
    learned: Option<Param>,
    /// Heads without a bias.
    without: usize,
}

impl Alibi {
    pub fn new(options: &StackOptions, p: &mut Params) -> Self {
        let heads = options.heads.get();
        let count = options.alibi_num_heads.map_or(heads, |n| n.get());
        let slopes = slopes(count);
        let logs = || Init::Values(slopes.iter().map(|s| s.ln()).collect());
        let learned = options.alibi_learned.then(|| p.add("learned_logslopes", &[count, 1, 1], logs()));
        Self { slopes, learned, without: heads - count }
    }

    /// By distance, (heads, i + j - 1).
    pub fn forward(&self, span: Span, dtype: DType, device: &Device) -> Result<Tensor> {
        let array = |values: Vec<f64>, dims: &[usize]| -> Result<Tensor> {
            Ok(Tensor::constant(Array::from_vec(values, dims, &Device::Cpu)?.to_dtype(dtype)?.to_device(device)?))
        };
        let distances: Vec<_> = span.distances().map(|d| -(d.unsigned_abs() as f64)).collect();
        let count = distances.len();
        let slopes = match &self.learned {
            Some(logs) => ops::reshape(&ops::exp(&logs.tensor())?, &[self.slopes.len(), 1])?,
            None => array(self.slopes.clone(), &[self.slopes.len(), 1])?,
        };
        let bias = ops::mul(&slopes, &array(distances, &[1, count])?)?;
        if self.without == 0 {
            return Ok(bias);
        }
        Ok(ops::cat(&[&bias, &array(vec![0.0; self.without * count], &[self.without, count])?], 0)?)
    }
}

/// 2^(-8 (k + 1) / heads) for a power of two; else those of the next lower power, then every other one of the next higher.
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
