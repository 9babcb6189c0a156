//! Sinusoidal positions: sines and cosines of the position, multiplied by one learned factor.
//!
//! Source: Transformer Quality in Linear Time, <https://arxiv.org/abs/2202.10447>.

use crate::{Array, Device, Init, Param, Params, Result, Tensor};
use xt_autograd::ops;

/// Sinusoidal position vectors with a learned factor.
pub struct SinusoidalPositions {
    /// The learned factor, `(1)`.
    scale: Param,
    dim: usize,
}

impl SinusoidalPositions {
    /// Registers the factor, initialised to dim^-0.5.
    pub fn new(dim: usize, p: &mut Params) -> Self {
        Self { scale: p.add("scale", &[1], Init::Constant((dim as f64).powf(-0.5))), dim }
    }

    /// The vectors of the positions `0..n`, `(n, dim)`; or those of `pos`, i64 `(..)`: `(.., dim)`.
    /// `dim` must be even.
    pub fn forward(&self, n: usize, pos: Option<&Tensor>) -> Result<Tensor> {
        let half = self.dim / 2;
        let (positions, mut dims) = match pos {
            None => ((0..n as i64).collect(), vec![n]),
            Some(pos) => (
                pos.array()?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?,
                pos.dims().to_vec(),
            ),
        };
        dims.push(2 * half);
        let frequency: Vec<f32> =
            (0..half).map(|i| 10_000f64.powf(-(i as f64) / half as f64) as f32).collect();
        let wave =
            |p: i64, f: fn(f64) -> f64| frequency.iter().map(move |w| f(f64::from(p as f32 * w)));
        let values: Vec<f64> =
            positions.iter().flat_map(|p| wave(*p, f64::sin).chain(wave(*p, f64::cos))).collect();
        let scale = self.scale.tensor();
        let table = Array::from_vec(values, dims, &Device::Cpu)?
            .to_dtype(scale.dtype())?
            .to_device(&scale.device())?;
        Ok(ops::mul(&Tensor::constant(table), &scale)?)
    }
}
