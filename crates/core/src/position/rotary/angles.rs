//! The angle per position of each pair of features, and its scaling for sequences longer than those
//! in training.
//!
//! Sources: linear, <https://arxiv.org/abs/2306.15595>; YaRN, <https://arxiv.org/abs/2309.00071>;
//! Llama 3, <https://arxiv.org/abs/2407.21783>; LongRoPE, <https://arxiv.org/abs/2402.13753>.

use std::f64::consts::PI;
use xt_options::layers::StackOptions;
use xt_options::rotary_scaling::{RotaryAngles, RotaryScaling};
use xt_options::RopeType;

/// The angles of one kind of rotary positions.
#[derive(Clone, Debug, PartialEq)]
pub struct Angles {
    /// The angle per position for each pair of features, with the scaling that is the same for all
    /// lengths.
    pub fixed: Vec<f64>,
    /// The scaling that depends on the length of the sequence.
    pub by_length: Option<ByLength>,
    /// Factor of the rotated queries and keys.
    pub factor: f64,
}

/// A scaling that depends on the length of the sequence.
#[derive(Clone, Debug, PartialEq)]
pub enum ByLength {
    /// The base grows with the length.
    Dynamic {
        /// How many times longer than `original` sequences may be.
        factor: f64,
        /// The length up to which the base stays.
        original: usize,
        /// The number of features that have angles.
        dim: usize,
    },
    /// Each angle is divided by one of two numbers.
    Long {
        /// The divisors up to `original`.
        short: Vec<f64>,
        /// The divisors beyond.
        long: Vec<f64>,
        /// The length in training.
        original: usize,
    },
}

impl Angles {
    /// The angles that the options of a stack and of one of its self attentions describe.
    pub fn new(options: &StackOptions, of: &RotaryAngles) -> Self {
        let (dim_head, rotated) = (of.dim_head, of.dim);
        let scaling = of.scaling.as_ref();
        let kind = scaling.map(|scaling| scaling.rope_type);
        let proportional = kind == Some(RopeType::Proportional);
        let dim = if proportional { dim_head } else { rotated };
        // with an odd head dimension the last feature is not rotated
        let half = dim.div_ceil(2).min(dim_head / 2);
        let rescale = match options.rotary_base_rescale_factor {
            1.0 => 1.0,
            factor => factor.powf(dim as f64 / (dim as f64 - 2.0)),
        };
        let base = of.base * rescale;
        let still = if proportional { rotated / 2 } else { half };
        let plain = (0..half).map(|pair| match pair < still {
            true => base.powf(-((2 * pair) as f64) / dim as f64),
            false => 0.0,
        });
        let mut angles = Self { fixed: plain.collect(), by_length: None, factor: 1.0 };
        if let Some(scaling) = scaling {
            angles.scale(scaling, base, dim);
        }
        angles
    }

    fn scale(&mut self, scaling: &RotaryScaling, base: f64, dim: usize) {
        let factor = scaling.factor.unwrap_or(1.0);
        let original = scaling.original_max_position_embeddings.map_or(1, |n| n.get());
        match scaling.rope_type {
            RopeType::Linear | RopeType::Proportional => {
                self.fixed.iter_mut().for_each(|angle| *angle /= factor);
            }
            RopeType::Dynamic => {
                self.by_length = Some(ByLength::Dynamic { factor, original, dim });
            }
            RopeType::Llama3 => {
                let low = scaling.low_freq_factor.unwrap_or(1.0);
                let high = scaling.high_freq_factor.unwrap_or(4.0);
                for angle in &mut self.fixed {
                    // the number of turns over the length in training
                    let turns = original as f64 * *angle / (2.0 * PI);
                    let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                    *angle = (1.0 - kept) * *angle / factor + kept * *angle;
                }
            }
            RopeType::Yarn => self.yarn(scaling, (base, factor), original, dim),
            RopeType::Longrope => {
                let list = |list: &Option<Vec<f64>>| list.clone().unwrap_or_default();
                let (short, long) = (list(&scaling.short_factor), list(&scaling.long_factor));
                self.by_length = Some(ByLength::Long { short, long, original });
                let usual = match factor > 1.0 {
                    true => (1.0 + factor.ln() / (original as f64).ln()).sqrt(),
                    false => 1.0,
                };
                self.factor = scaling.attention_factor.unwrap_or(usual);
            }
        }
    }

    fn yarn(
        &mut self,
        of: &RotaryScaling,
        (base, factor): (f64, f64),
        original: usize,
        dim: usize,
    ) {
        let width = dim as f64;
        // the feature whose angle makes this many turns over the length in training
        let feature =
            |turns: f64| width * (original as f64 / (2.0 * PI * turns)).ln() / (2.0 * base.ln());
        let (mut first, mut last) = (feature(of.beta_fast), feature(of.beta_slow));
        if of.truncate {
            (first, last) = (first.floor(), last.ceil());
        }
        (first, last) = (first.max(0.0), last.min(width - 1.0));
        if first == last {
            last += 0.001;
        }
        for (pair, angle) in self.fixed.iter_mut().enumerate() {
            let scaled = ((pair as f64 - first) / (last - first)).clamp(0.0, 1.0);
            *angle = *angle / factor * scaled + *angle * (1.0 - scaled);
        }
        let magnitude =
            |scale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * scale * factor.ln() + 1.0 };
        let usual = match (of.mscale, of.mscale_all_dim) {
            (Some(m), Some(all)) if m != 0.0 && all != 0.0 => magnitude(m) / magnitude(all),
            _ => magnitude(1.0),
        };
        self.factor = of.attention_factor.unwrap_or(usual);
    }
}

impl ByLength {
    /// What distinguishes the angles of sequences of this length from those of others.
    pub fn variant(&self, length: usize) -> usize {
        match self {
            Self::Dynamic { original, .. } if length > *original => length,
            Self::Long { original, .. } if length > *original => 1,
            _ => 0,
        }
    }

    /// The angles for a sequence of this length, of those in `fixed`.
    pub fn angles(&self, fixed: &[f32], length: usize) -> Vec<f32> {
        match self {
            Self::Dynamic { factor, original, dim } if length > *original => {
                let longer = factor * length as f64 / *original as f64 - (factor - 1.0);
                let dim = *dim as f64;
                let base = longer.powf(dim / (dim - 2.0));
                let angle = |(pair, angle): (usize, &f32)| {
                    (f64::from(*angle) * base.powf(-((2 * pair) as f64) / dim)) as f32
                };
                fixed.iter().enumerate().map(angle).collect()
            }
            Self::Dynamic { .. } => fixed.to_vec(),
            Self::Long { short, long, original } => {
                let divisors = if length > *original { long } else { short };
                let angle = |(angle, by): (&f32, &f64)| (f64::from(*angle) / by) as f32;
                fixed.iter().zip(divisors).map(angle).collect()
            }
        }
    }
}
