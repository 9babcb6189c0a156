//! Sinusoidal positions: sines and cosines of the position, multiplied by one learned factor.
//!
//! Source: Transformer Quality in Linear Time, <https://arxiv.org/abs/2202.10447>.

use super::table::{Kind, PositionTable};
use crate::{Array, Device, Init, Param, Params, Result, Tensor};
use std::ops::Range;
use xt_autograd::ops;

/// Sinusoidal position vectors with a learned factor.
pub struct SinusoidalPositions {
    /// The learned factor, `(1)`.
    scale: Param,
    dim: usize,
    /// The vectors by position, without the factor.
    table: PositionTable,
}

impl SinusoidalPositions {
    /// Registers the factor, initialised to dim^-0.5.
    pub fn new(dim: usize, p: &mut Params) -> Self {
        let scale = p.add("scale", &[1], Init::Constant((dim as f64).powf(-0.5)));
        Self { scale, dim, table: PositionTable::default() }
    }

    /// The vectors of `positions`, `(n, dim)`; or those of `pos`, i64 `(..)`: `(.., dim)`.
    /// `dim` must be even.
    pub fn forward(&self, positions: Range<usize>, pos: Option<&Tensor>) -> Result<Tensor> {
        let half = self.dim / 2;
        let frequency: Vec<f32> =
            (0..half).map(|i| 10_000f64.powf(-(i as f64) / half as f64) as f32).collect();
        let write = |position: i64, row: &mut Vec<f64>| {
            let angles = frequency.iter().map(|w| f64::from(position as f32 * w));
            row.extend(angles.clone().map(f64::sin).chain(angles.map(f64::cos)));
        };
        let scale = self.scale.tensor();
        let kind = Kind { dtype: scale.dtype(), device: scale.device(), version: 0, variant: 0 };
        let table = match pos {
            None => {
                let rows = positions.start as i64..positions.end as i64;
                self.table.rows(rows, 2 * half, &kind, &write)?
            }
            Some(pos) => {
                let positions: Vec<i64> =
                    pos.array()?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?;
                let mut values = Vec::with_capacity(positions.len() * 2 * half);
                positions.into_iter().for_each(|position| write(position, &mut values));
                let dims = [pos.dims(), &[2 * half]].concat();
                Array::from_vec(values, dims, &Device::Cpu)?
                    .to_dtype(kind.dtype)?
                    .to_device(&kind.device)?
            }
        };
        Ok(ops::mul(&Tensor::constant(table), &scale)?)
    }
}
