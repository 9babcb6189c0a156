//! The scaling of rotary positions, and the angles of one self attention.

use crate::record::record;
use crate::{options, Problems, RopeType};
use std::num::NonZeroUsize;

options! {
    /// How the angles of rotary positions are scaled for sequences longer than those in training.
    /// The names are those of Hugging Face's files.
    pub struct RotaryScaling {
        /// `'linear'` (<https://arxiv.org/abs/2306.15595>) divides all angles by `factor`;
        /// `'dynamic'` raises the base with the length of the sequence; `'llama3'`
        /// (<https://arxiv.org/abs/2407.21783>) and `'yarn'` (<https://arxiv.org/abs/2309.00071>)
        /// divide those that turn slowly; `'longrope'` (<https://arxiv.org/abs/2402.13753>) has
        /// factors for each; `'proportional'` takes the rotated share of `rotary_partial_factor`
        /// as pairs over the whole head.
        rope_type: RopeType,
        /// How many times longer sequences may be. `'longrope'` uses it for `attention_factor`
        /// alone.
        factor: Option<f64> = None,
        /// The length of the sequences in training, which all but `'linear'` and `'proportional'`
        /// need.
        original_max_position_embeddings: Option<NonZeroUsize> = None,
        /// `'yarn'`, `'longrope'`: factor of the rotated queries and keys. Absent: computed from
        /// the other options.
        attention_factor: Option<f64> = None,
        /// `'llama3'`: angles with fewer turns over the length in training than this are divided
        /// by `factor`.
        low_freq_factor: Option<f64> = None,
        /// `'llama3'`: angles with more turns than this stay as they are.
        high_freq_factor: Option<f64> = None,
        /// `'yarn'`: angles with more turns than this stay as they are.
        beta_fast: f64 = 32.0,
        /// `'yarn'`: angles with fewer turns than this are divided by `factor`.
        beta_slow: f64 = 1.0,
        /// `'yarn'`: with `mscale_all_dim`, sets `attention_factor`.
        mscale: Option<f64> = None,
        /// `'yarn'`: with `mscale`, sets `attention_factor`.
        mscale_all_dim: Option<f64> = None,
        /// `'yarn'`: the transition begins and ends at whole features.
        truncate: bool = true,
        /// `'longrope'`: divisors of the angles of sequences up to the length in training.
        short_factor: Option<Vec<f64>> = None,
        /// `'longrope'`: divisors of the angles of longer sequences.
        long_factor: Option<Vec<f64>> = None,
    }
    groups {}
    checks conflicts
}

record!(RotaryScaling as "RotaryScaling");

impl RotaryScaling {
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        let mut require = |holds: bool, name: &str, message: &str| {
            problems.require(holds, &format!("{prefix}{name}"), message)
        };
        let positive = |x: Option<f64>| x.is_none_or(|x| x > 0.0);
        let numbers = [
            ("factor", self.factor),
            ("attention_factor", self.attention_factor),
            ("low_freq_factor", self.low_freq_factor),
            ("high_freq_factor", self.high_freq_factor),
            ("beta_fast", Some(self.beta_fast)),
            ("beta_slow", Some(self.beta_slow)),
        ];
        for (name, number) in numbers {
            require(positive(number), name, "must be greater than 0");
        }
        for (name, number) in [("mscale", self.mscale), ("mscale_all_dim", self.mscale_all_dim)] {
            require(number.is_none_or(|x| x >= 0.0), name, "must be at least 0");
        }
        let (kind, needed) = (self.rope_type, "is required for this `rope_type`");
        let plain = matches!(kind, RopeType::Linear | RopeType::Proportional);
        let length = self.original_max_position_embeddings;
        require(plain || length.is_some(), "original_max_position_embeddings", needed);
        let own_factor = matches!(kind, RopeType::Longrope | RopeType::Proportional);
        require(own_factor || self.factor.is_some(), "factor", needed);
        let (low, high) = (self.low_freq_factor, self.high_freq_factor);
        if kind == RopeType::Llama3 {
            require(low.is_some(), "low_freq_factor", needed);
            require(high.is_some(), "high_freq_factor", needed);
            let ordered = low.zip(high).is_none_or(|(low, high)| low < high);
            require(ordered, "high_freq_factor", "must be greater than `low_freq_factor`");
        }
        let lists = [("short_factor", &self.short_factor), ("long_factor", &self.long_factor)];
        for (name, list) in lists {
            require(kind != RopeType::Longrope || list.is_some(), name, needed);
            let all = list.iter().flatten().all(|x| *x > 0.0);
            require(all, name, "must have numbers greater than 0");
        }
    }
}

/// The angles of rotary positions in one self attention.
#[derive(Clone, Debug, PartialEq)]
pub struct RotaryAngles {
    /// The number of features of a head.
    pub dim_head: usize,
    /// The number of features that have angles; see [`StackOptions::rotary_dim`].
    pub dim: usize,
    /// The base of the geometric series.
    pub base: f64,
    /// The scaling for longer sequences.
    pub scaling: Option<RotaryScaling>,
}
