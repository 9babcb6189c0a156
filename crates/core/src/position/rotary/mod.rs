//! Rotary positions: pairs of features of queries and keys are rotated by an angle proportional to
//! the position. Values are rotated too, as in the Python package, unless an option says otherwise.
//!
//! Source: RoFormer, <https://arxiv.org/abs/2104.09864>; with decay over the distance (xpos): A
//! Length-Extrapolatable Transformer, <https://arxiv.org/abs/2212.10554>.

mod angles;
mod layers;
mod rotation;

pub use layers::{RotaryLayers, Rotations};
pub use rotation::Rotation;

use super::table::{Kind, PositionTable};
use crate::needs::{Needs, Variant};
use crate::segments::Segments;
use crate::{DType, Device, Error, Param, Params, Result, Tensor};
use angles::{Angles, ByLength};
use rotation::{Rotated, SinCos};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use xt_kernels::memory::alloc;
use xt_kernels::ops::rotary::Pairs;
use xt_options::layers::StackOptions;
use xt_options::rotary_scaling::RotaryAngles;

/// The frequencies of rotary positions.
pub struct Rotary {
    /// The angle per position for each pair of features, `(half)`.
    inv_freq: Param,
    /// The scaling of the angles by the length of the sequence.
    by_length: Option<ByLength>,
    /// Divides the angles of positions.
    interpolation: f32,
    /// Factor of the cosines and sines.
    factor: f64,
    rotated: Rotated,
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

impl Rotary {
    /// Registers the frequencies as buffers.
    pub fn new(options: &StackOptions, of: &RotaryAngles, p: &mut Params) -> Self {
        let dim = of.dim as f64;
        let Angles { fixed, by_length, factor } = Angles::new(options, of);
        let half = fixed.len();
        let inv_freq = p.add_buffer("inv_freq", fixed);
        let xpos = options.rotary_xpos.then(|| {
            let pairs = (0..half).map(|pair| (2 * pair) as f64);
            let scale = pairs.map(|i| (i + 0.4 * dim) / (1.4 * dim)).collect();
            Xpos { scale: p.add_buffer("scale", scale), base: options.rotary_xpos_scale_base }
        });
        let rotated = Rotated {
            pairs: if options.rotary_interleaved { Pairs::Neighbours } else { Pairs::Halves },
            heads: options.rotate_num_heads.map(|some| (some.get(), options.heads.get())),
            values: options.rotary_values,
        };
        Self {
            inv_freq,
            by_length,
            interpolation: options.rotary_interpolation_factor as f32,
            factor,
            rotated,
            xpos,
            frequency: Mutex::default(),
            cos: PositionTable::default(),
            sin: PositionTable::default(),
        }
    }

    /// The tables for `positions`; the sequence ends at `positions.end`.
    pub fn tables(&self, positions: Range<usize>, dtype: DType) -> Result<Rotation> {
        if self.xpos.is_some() {
            return self.of_sequences(&[positions], false, dtype);
        }
        let (freq, kind) = self.angles(positions.end, dtype)?;
        let (range, half) = (positions.start as i64..positions.end as i64, freq.len());
        let table = |table: &PositionTable, f: fn(f64) -> f64| {
            table.rows(range.clone(), half, &kind, &|position, row| {
                row.extend(freq.iter().map(|freq| self.factor * f(self.angle(position, *freq))));
            })
        };
        let (cos, sin) = (table(&self.cos, f64::cos)?, table(&self.sin, f64::sin)?);
        let query = SinCos { cos: cos.clone(), sin: sin.clone(), by_row: false };
        Ok(Rotation { query, key: SinCos { cos, sin, by_row: false }, rotated: self.rotated })
    }

    /// The angle at a position, in f32 as in PyTorch. Its sine and cosine are computed in f64, so
    /// that the rounded results are equal on all platforms.
    fn angle(&self, position: i64, freq: f32) -> f64 {
        f64::from(position as f32 * freq / self.interpolation)
    }

    /// The angles per position in a sequence of this length, and what tables of them depend on.
    fn angles(&self, length: usize, dtype: DType) -> Result<(Vec<f32>, Kind)> {
        let mut frequency = self.frequency.lock().unwrap_or_else(PoisonError::into_inner);
        let version = self.inv_freq.leaf().version();
        let known = frequency.as_ref().filter(|(known, _)| *known == version);
        let fixed = match known {
            Some((_, numbers)) => numbers.clone(),
            None => numbers(&self.inv_freq)?,
        };
        *frequency = Some((version, fixed.clone()));
        let variant = self.by_length.as_ref().map_or(0, |scaling| scaling.variant(length));
        let kind = Kind { dtype, device: self.inv_freq.leaf().device(), version, variant };
        let angles = self.by_length.as_ref().map(|scaling| scaling.angles(&fixed, length));
        Ok((angles.unwrap_or(fixed), kind))
    }

    /// Whether the angles of sequences of both lengths are the same.
    pub fn same_angles(&self, a: usize, b: usize) -> bool {
        self.by_length.as_ref().is_none_or(|scaling| scaling.variant(a) == scaling.variant(b))
    }

    /// Whether a position has other angles or factors in a longer sequence.
    pub fn depends_on_length(&self) -> bool {
        self.by_length.is_some() || self.xpos.is_some()
    }

    /// Whether they decay over the distance (xpos).
    pub fn decays(&self) -> bool {
        self.xpos.is_some()
    }

    /// The tables of the positions of several sequences, one after the other. With xpos, queries
    /// and keys have factors by the distance to the middle of their sequence.
    fn of_sequences(
        &self,
        sequences: &[Range<usize>],
        by_row: bool,
        dtype: DType,
    ) -> Result<Rotation> {
        let scale = self.xpos.as_ref().map(|xpos| numbers(&xpos.scale)).transpose()?;
        let table = |f: fn(f64) -> f64, sign: f64| {
            let (mut values, (plain, kind)) = (Vec::new(), self.angles(0, dtype)?);
            for positions in sequences {
                let (freq, _) = self.angles(positions.end, dtype)?;
                let middle = (positions.end / 2) as f64;
                for position in positions.clone() {
                    let factor = |pair: usize| match (&self.xpos, &scale) {
                        (Some(xpos), Some(scale)) => {
                            let power = sign * (position as f64 - middle) / xpos.base;
                            f64::from(scale[pair]).powf(power)
                        }
                        _ => self.factor,
                    };
                    let of = |(pair, freq): (usize, &f32)| {
                        f(self.angle(position as i64, *freq)) * factor(pair)
                    };
                    values.extend(freq.iter().enumerate().map(of));
                }
            }
            kind.table(values, plain.len())
        };
        let pair = |sign| -> Result<SinCos> {
            Ok(SinCos { cos: table(f64::cos, sign)?, sin: table(f64::sin, sign)?, by_row })
        };
        Ok(Rotation { query: pair(1.0)?, key: pair(-1.0)?, rotated: self.rotated })
    }

    /// The tables of given positions, i64 `(n)` or `(batch, n)`, whose values are copied to the
    /// host.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if one is negative.
    pub fn of_positions(&self, pos: &Tensor, dtype: DType) -> Result<Rotation> {
        let numbers = pos.array()?.flatten_all()?.to_device(&Device::Cpu)?.to_vec1::<i64>()?;
        if let Some(least) = numbers.iter().copied().min().filter(|least| *least < 0) {
            return Error::shape(format!(
                "positions, of `pos` or `context_pos`, must not be negative: {least} is"
            ));
        }
        let (by_row, rotated) = (pos.rank() == 2, self.rotated);
        if self.xpos.is_some() {
            return Error::shape("pos does not go with `rotary_xpos`, which needs whole sequences");
        }
        // rows of these positions alone: there may be few, and far away
        let end = numbers.iter().max().map_or(0, |most| *most as usize + 1);
        let (freq, kind) = self.angles(end, dtype)?;
        alloc::check(&[numbers.len(), freq.len()], DType::F64)?;
        let table = |f: fn(f64) -> f64| {
            let row = |place: &i64| {
                let place = *place;
                freq.iter().map(move |freq| self.factor * f(self.angle(place, *freq)))
            };
            kind.table(numbers.iter().flat_map(row).collect(), freq.len())
        };
        let query = SinCos { cos: table(f64::cos)?, sin: table(f64::sin)?, by_row };
        Ok(Rotation { key: query.clone(), query, rotated })
    }

    /// The tables for packed rows: those of each document, one after the other.
    pub fn of_segments(&self, segments: &Segments, dtype: DType) -> Result<Rotation> {
        let lengths = segments.ranges().map(|document| document.len());
        if self.xpos.is_some() || self.by_length.is_some() {
            // the tables depend on the length of a document
            let all: Vec<_> = lengths.map(|length| 0..length).collect();
            return self.of_sequences(&all, true, dtype);
        }
        let places = segments.positions()?.array()?.flatten_all()?;
        let tables = self.tables(0..lengths.max().unwrap_or(0), dtype)?;
        tables.each(|table| Ok(table.index_select(&places, 0)?))
    }
}

/// The values of a buffer as f32 on the CPU.
fn numbers(buffer: &Param) -> Result<Vec<f32>> {
    Ok(buffer.values()?.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.to_vec1()?)
}

impl Variant for Rotary {
    /// The values of a position may be rotated too; xpos scales them by the distance to the middle
    /// of the sequence, and other scalings depend on its length.
    fn needs(&self) -> Needs {
        let moves = "`rotary_xpos` decays values around the middle of the sequence, which moves with each token";
        let by_length = self.by_length.is_some();
        Needs {
            varies_with_length: self.xpos.is_some().then_some(moves),
            changes_at_lengths: by_length,
            rotates: true,
            position_in_row: self.rotated.values || self.xpos.is_some() || by_length,
            ..Needs::NONE
        }
    }
}
