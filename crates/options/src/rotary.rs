//! Options of rotary positions, and their conflicts.

use crate::layers::StackOptions;
use crate::types::record;
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

impl StackOptions {
    /// The angles of the self attention number `index`; `None` if it has no rotary positions.
    pub fn rotary_angles(&self, index: usize) -> Option<RotaryAngles> {
        let on = self.is_rotary() && self.rotary_layers.at(index)?;
        let dim_head = self.attn.at(index).dim_head.get();
        on.then_some(RotaryAngles {
            dim_head,
            dim: self.rotary_dim(dim_head),
            base: self.rotary_base.at(index)?,
            scaling: self.rotary_scaling.at(index)?,
        })
    }

    /// The number of features per head of width `dim_head` that have angles: by default half of the
    /// head, at least 32, at most the whole head.
    pub fn rotary_dim(&self, dim_head: usize) -> usize {
        match self.rotary_partial_factor {
            Some(share) => (dim_head as f64 * share.0) as usize,
            None => self.rotary_emb_dim.map_or(dim_head / 2, |dim| dim.get()).max(32).min(dim_head),
        }
    }

    /// Reports conflicts between the options of rotary positions.
    pub(crate) fn check_rotary(&self, prefix: &str, problems: &mut Problems) {
        let mut require = |holds: bool, name: &str, message: &str| {
            problems.require(holds, &format!("{prefix}{name}"), message)
        };
        let positive = [
            ("rotary_xpos_scale_base", self.rotary_xpos_scale_base),
            ("rotary_base_rescale_factor", self.rotary_base_rescale_factor),
        ];
        for (name, number) in positive {
            require(number > 0.0, name, "must be greater than 0");
        }
        let bases = self.rotary_base.values();
        require(bases.iter().all(|base| *base > 0.0), "rotary_base", "must be greater than 0");
        require(
            self.rotary_interpolation_factor >= 1.0,
            "rotary_interpolation_factor",
            "must be at least 1",
        );
        require(
            self.rotary_partial_factor.is_none() || self.rotary_emb_dim.is_none(),
            "rotary_partial_factor",
            "does not go with `rotary_emb_dim`; choose one of the two",
        );
        let rescaled = self.rotary_base_rescale_factor != 1.0;
        let dims = || self.attn.each().map(|attn| self.rotary_dim(attn.dim_head.get()));
        require(
            !rescaled || dims().all(|dim| dim > 2),
            "rotary_base_rescale_factor",
            "needs more than 2 rotated features",
        );
        require(
            self.rotate_num_heads.is_none_or(|heads| heads <= self.heads),
            "rotate_num_heads",
            "is more than there are heads",
        );
        let scalings = || self.rotary_scaling.values().iter().flatten();
        require(
            !self.rotary_xpos || scalings().next().is_none(),
            "rotary_scaling",
            "does not go with `rotary_xpos`",
        );
        let lists = || scalings().flat_map(|s| [&s.short_factor, &s.long_factor]).flatten();
        let half = dims().map(|dim| dim.div_ceil(2)).max().unwrap_or_default();
        require(
            lists().all(|list| list.len() == half),
            "rotary_scaling",
            &format!("`short_factor` and `long_factor` need {half} numbers each, one for each pair of features"),
        );
        let dynamic = scalings().any(|s| s.rope_type == RopeType::Dynamic);
        require(
            !dynamic || dims().all(|dim| dim > 2),
            "rotary_scaling",
            "'dynamic' needs more than 2 rotated features",
        );
    }

    /// Reports arrays that do not have a value for each of `attentions` self attentions.
    pub(crate) fn check_rotary_lengths(
        &self,
        attentions: usize,
        prefix: &str,
        problems: &mut Problems,
    ) {
        let lengths = [
            ("rotary_base", self.rotary_base.len()),
            ("rotary_scaling", self.rotary_scaling.len()),
            ("rotary_layers", self.rotary_layers.len()),
        ];
        for (name, length) in lengths {
            let Some(length) = length.filter(|length| *length != attentions) else { continue };
            problems.add(
                format!("{prefix}{name}"),
                format!("has {length} entries, but there are {attentions} self attentions"),
            );
        }
    }
}
