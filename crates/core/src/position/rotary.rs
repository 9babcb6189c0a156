//! Rotary positions: queries, keys and (as the reference does) values are turned by angles that grow with the position.
//!
//! Source: RoFormer, <https://arxiv.org/abs/2104.09864>.

use crate::{Array, DType, Device, Error, Param, Params, Result, Tensor};
use xt_autograd::ops;
use xt_options::layers::StackOptions;

/// Angles fall from 1 to 1 / BASE per position.
const BASE: f64 = 10_000.0;

pub struct Rotary {
    /// Angle per position of each pair of features, (half).
    inv_freq: Param,
}

/// Cosines and sines of the positions of a sequence, each (n, half).
pub struct Rotation {
    cos: Array,
    sin: Array,
}

impl Rotary {
    pub fn new(options: &StackOptions, p: &mut Params) -> Self {
        let dim = options.rotary_dim();
        // a head of odd width keeps its last feature as it is
        let half = dim.div_ceil(2).min(options.attn.dim_head.get() / 2);
        let inv_freq = (0..half).map(|i| BASE.powf(-((2 * i) as f64) / dim as f64)).collect();
        Self { inv_freq: p.add_buffer("inv_freq", inv_freq) }
    }

    /// The tables for positions 0 to n - 1.
    pub fn tables(&self, n: usize, dtype: DType) -> Result<Rotation> {
        let inv_freq = self.inv_freq.values()?;
        let device = inv_freq.device().clone();
        let freq: Vec<f32> = inv_freq.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.to_vec1()?;
        // the product in f32, as PyTorch takes it; the functions in f64, equal on every platform after rounding
        let angle = |f: fn(f64) -> f64| -> Vec<f64> {
            (0..n).flat_map(|i| freq.iter().map(move |w| f(f64::from(i as f32 * w)))).collect()
        };
        let table = |values: Vec<f64>| -> Result<Array> {
            Ok(Array::from_vec(values, (n, freq.len()), &Device::Cpu)?.to_dtype(dtype)?.to_device(&device)?)
        };
        Ok(Rotation { cos: table(angle(f64::cos))?, sin: table(angle(f64::sin))? })
    }
}

impl Rotation {
    /// Turns the first features of each head: `x` is (batch, n, heads, dim).
    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let (n, half) = self.cos.dims2().map_err(Error::from)?;
        if half == 0 {
            return Ok(x.clone());
        }
        // queries that are fewer than the keys stand at the last positions
        let (count, from) = (x.dim(1), n.saturating_sub(x.dim(1)));
        let part = |table: &Array| table.narrow(0, from, count);
        Ok(ops::rotary(x, &part(&self.cos)?, &part(&self.sin)?)?)
    }
}
