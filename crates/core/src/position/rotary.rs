//! Rotary positions: pairs of features of queries, keys and values are rotated by an angle
//! proportional to the position. Values are rotated too, as in the Python package.
//!
//! Source: RoFormer, <https://arxiv.org/abs/2104.09864>; with decay over the distance (xpos): A
//! Length-Extrapolatable Transformer, <https://arxiv.org/abs/2212.10554>.

use super::table::{Kind, PositionTable};
use crate::needs::{Needs, Variant};
use crate::segments::Segments;
use crate::{Array, DType, Device, Param, Params, Result, Tensor};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use xt_autograd::ops;
use xt_kernels::ops::layout::narrow;
use xt_options::layers::StackOptions;

/// The base of the geometric series of angles per position, from 1 down to about 1 / BASE.
const BASE: f64 = 10_000.0;

/// The frequencies of rotary positions.
pub struct Rotary {
    /// The angle per position for each pair of features, `(half)`.
    inv_freq: Param,
    /// The parameters of xpos, if enabled.
    xpos: Option<Xpos>,
    /// The numbers of `inv_freq` on the host, and the version that they belong to.
    frequency: Mutex<Option<(u64, Vec<f32>)>>,
    /// Cosines and sines by position, `(n, half)`; without xpos.
    cos: PositionTable,
    sin: PositionTable,
}

/// Decay over the distance: queries are multiplied by scale^power, keys and values by scale^-power,
/// where the power is (position - middle of the sequence) / base.
struct Xpos {
    /// `(half)`.
    scale: Param,
    /// The number of positions per unit of the power.
    base: f64,
}

/// Cosines and sines for the positions of a sequence, `(n, half)` each, or of the rows of a batch,
/// `(batch n, half)`. With xpos they include its factors.
struct SinCos {
    cos: Array,
    sin: Array,
    /// Whether each row has its own positions.
    by_row: bool,
}

/// The tables of one call.
pub struct Rotation {
    query: SinCos,
    key: SinCos,
}

impl Rotary {
    /// Registers the frequencies as buffers.
    pub fn new(options: &StackOptions, p: &mut Params) -> Self {
        let dim = options.rotary_dim();
        // with an odd head dimension the last feature is not rotated
        let half = dim.div_ceil(2).min(options.attn.dim_head.get() / 2);
        let pairs = (0..half).map(|i| (2 * i) as f64);
        let inv_freq =
            p.add_buffer("inv_freq", pairs.clone().map(|i| BASE.powf(-i / dim as f64)).collect());
        let xpos = options.rotary_xpos.then(|| {
            let scale = pairs.map(|i| (i + 0.4 * dim as f64) / (1.4 * dim as f64)).collect();
            Xpos { scale: p.add_buffer("scale", scale), base: options.rotary_xpos_scale_base }
        });
        let (frequency, cos, sin) = Default::default();
        Self { inv_freq, xpos, frequency, cos, sin }
    }

    /// The tables for `positions`; the sequence ends at `positions.end`.
    pub fn tables(&self, positions: Range<usize>, dtype: DType) -> Result<Rotation> {
        if let Some(xpos) = &self.xpos {
            return self.decaying(xpos, &[positions], false, dtype);
        }
        let (freq, kind) = self.angles(dtype)?;
        let (range, half) = (positions.start as i64..positions.end as i64, freq.len());
        let table = |table: &PositionTable, f: fn(f64) -> f64| {
            table.rows(range.clone(), half, &kind, &|position, row| {
                row.extend(freq.iter().map(|freq| f(angle(position, *freq))));
            })
        };
        let (cos, sin) = (table(&self.cos, f64::cos)?, table(&self.sin, f64::sin)?);
        let query = SinCos { cos: cos.clone(), sin: sin.clone(), by_row: false };
        Ok(Rotation { query, key: SinCos { cos, sin, by_row: false } })
    }

    /// The angles per position, and what tables of them depend on.
    fn angles(&self, dtype: DType) -> Result<(Vec<f32>, Kind)> {
        let mut frequency = self.frequency.lock().unwrap_or_else(PoisonError::into_inner);
        let version = self.inv_freq.leaf().version();
        let kind = Kind { dtype, device: self.inv_freq.leaf().device(), version };
        if let Some((_, numbers)) = frequency.as_ref().filter(|(known, _)| *known == version) {
            return Ok((numbers.clone(), kind));
        }
        let numbers = numbers(&self.inv_freq)?;
        *frequency = Some((version, numbers.clone()));
        Ok((numbers, kind))
    }

    /// The tables of xpos for the positions of several sequences, one after the other: they change
    /// with the middle of a sequence.
    fn decaying(
        &self,
        xpos: &Xpos,
        sequences: &[Range<usize>],
        by_row: bool,
        dtype: DType,
    ) -> Result<Rotation> {
        let ((freq, kind), scale) = (self.angles(dtype)?, numbers(&xpos.scale)?);
        let table = |f: fn(f64) -> f64, sign: f64| {
            let mut values = Vec::new();
            for positions in sequences {
                let middle = (positions.end / 2) as f64;
                for position in positions.clone() {
                    let power = sign * (position as f64 - middle) / xpos.base;
                    let of = |(freq, scale): (&f32, &f32)| {
                        f(angle(position as i64, *freq)) * f64::from(*scale).powf(power)
                    };
                    values.extend(freq.iter().zip(&scale).map(of));
                }
            }
            kind.table(values, freq.len())
        };
        let pair = |sign| -> Result<SinCos> {
            Ok(SinCos { cos: table(f64::cos, sign)?, sin: table(f64::sin, sign)?, by_row })
        };
        Ok(Rotation { query: pair(1.0)?, key: pair(-1.0)? })
    }

    /// The tables for packed rows: those of each document, one after the other.
    pub fn of_segments(&self, segments: &Segments, dtype: DType) -> Result<Rotation> {
        let lengths = segments.ranges().map(|document| document.len());
        if let Some(xpos) = &self.xpos {
            // the factors depend on the length of a document
            let all: Vec<_> = lengths.map(|length| 0..length).collect();
            return self.decaying(xpos, &all, true, dtype);
        }
        let places = segments.positions()?.array()?.flatten_all()?;
        let tables = self.tables(0..lengths.max().unwrap_or(0), dtype)?;
        tables.each(|table| Ok(table.index_select(&places, 0)?))
    }
}

/// The angle at a position, in f32 as in PyTorch. Its sine and cosine are computed in f64, so that
/// the rounded results are equal on all platforms.
fn angle(position: i64, freq: f32) -> f64 {
    f64::from(position as f32 * freq)
}

/// The values of a buffer as f32 on the CPU.
fn numbers(buffer: &Param) -> Result<Vec<f32>> {
    Ok(buffer.values()?.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.to_vec1()?)
}

impl Rotation {
    /// The tables with other rows, one for each position of a batch.
    fn each(self, rows: impl Fn(&Array) -> Result<Array>) -> Result<Self> {
        let of = |table: SinCos| -> Result<SinCos> {
            Ok(SinCos { cos: rows(&table.cos)?, sin: rows(&table.sin)?, by_row: true })
        };
        Ok(Self { query: of(self.query)?, key: of(self.key)? })
    }

    /// Rotates the first `2 half` features of queries, `(batch, n, heads, dim)`.
    pub fn query(&self, q: &Tensor) -> Result<Tensor> {
        self.query.rotate(q)
    }

    /// Rotates the first `2 half` features of keys or values, `(batch, n, heads, dim)`.
    pub fn key(&self, k: &Tensor) -> Result<Tensor> {
        self.key.rotate(k)
    }
}

impl SinCos {
    /// Rotates the features of `x`, `(batch, n, heads, dim)`.
    fn rotate(&self, x: &Tensor) -> Result<Tensor> {
        let (n, half) = self.cos.dims2()?;
        if half == 0 {
            return Ok(x.clone());
        }
        if self.by_row {
            // as one row: (1, batch n, heads, dim)
            let row = ops::reshape(x, &[1, x.dim(0) * x.dim(1), x.dim(2), x.dim(3)])?;
            return Ok(ops::reshape(&ops::rotary(&row, &self.cos, &self.sin)?, x.dims())?);
        }
        // a sequence shorter than the tables uses their last positions
        let (count, from) = (x.dim(1), n.saturating_sub(x.dim(1)));
        Ok(ops::rotary(
            x,
            &narrow(&self.cos, 0, from, count)?,
            &narrow(&self.sin, 0, from, count)?,
        )?)
    }
}

impl Variant for Rotary {
    /// The values of a position are rotated too; xpos scales them by the distance to the middle of
    /// the sequence.
    fn needs(&self) -> Needs {
        let moves = "`rotary_xpos` decays values around the middle of the sequence, which moves with each token";
        let varies_with_length = self.xpos.is_some().then_some(moves);
        Needs { varies_with_length, position_in_row: true, ..Needs::NONE }
    }
}
