//! Conflicts between the options of rotary positions, and what follows from them.

use crate::attention::AttentionBlockOptions;
use crate::layers::StackOptions;
use crate::rotary_scaling::{RotaryAngles, RotaryScaling};
use crate::{Problems, RopeType};

/// The most features with angles: a larger head is certainly a mistake, and its angles could
/// exhaust memory.
const MAX_WIDTH: usize = 1 << 20;

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

    /// Whether a scaling depends on the length of the sequence.
    pub(crate) fn scales_by_length(&self) -> bool {
        let by_length =
            |s: &RotaryScaling| matches!(s.rope_type, RopeType::Dynamic | RopeType::Longrope);
        self.rotary_scaling.values().iter().flatten().any(by_length)
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
            &format!("does not go with `{prefix}rotary_emb_dim`; choose one of the two"),
        );
        require(
            !self.is_rotary()
                || self.attn.each().all(|attn| {
                    (2..=MAX_WIDTH).contains(&self.rotary_dim(attn.dim_head.get()))
                        || attn.dim_head.get() < 2
                }),
            if self.rotary_partial_factor.is_some() {
                "rotary_partial_factor"
            } else {
                "rotary_pos_emb"
            },
            &format!("must leave 2 to {MAX_WIDTH} rotated features in each head"),
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
        let shared = |attn: &AttentionBlockOptions| {
            let kv_heads = attn.key_heads(self.heads.get());
            self.rotate_num_heads.is_none_or(|some| {
                some.get().checked_mul(kv_heads).is_some_and(|n| n % self.heads.get() == 0)
            })
        };
        require(
            self.attn.each().all(shared),
            "rotate_num_heads",
            "must be whole groups of the query heads that share keys",
        );
        let scalings = || self.rotary_scaling.values().iter().flatten();
        require(
            !self.rotary_xpos || scalings().next().is_none(),
            "rotary_scaling",
            &format!("does not go with `{prefix}rotary_xpos`"),
        );
        require(
            scalings().all(|s| {
                s.rope_type != RopeType::Longrope
                    || s.original_max_position_embeddings.is_none_or(|n| n.get() > 1)
            }),
            "rotary_scaling",
            "'longrope' needs an `original_max_position_embeddings` above 1",
        );
        require(
            !self.rotary_given_pos || !(self.rotary_xpos || self.scales_by_length()),
            "rotary_given_pos",
            "does not go with `rotary_xpos` and scalings that depend on the length of the sequence",
        );
        let dynamic = scalings().any(|s| s.rope_type == RopeType::Dynamic);
        require(
            !dynamic || dims().all(|dim| dim > 2),
            "rotary_scaling",
            "'dynamic' needs more than 2 rotated features",
        );
    }

    /// Reports arrays that do not have a value for each of `attentions` attentions, `what` these
    /// are, and lists of factors that do not fit the heads.
    pub(crate) fn check_rotary_lengths(
        &self,
        (attentions, what): (usize, &str),
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
                format!("has {length} entries, but there are {attentions} {what}"),
            );
        }
        let wrong = |index: usize| {
            let angles = self.rotary_angles(index)?;
            let (scaling, half) = (angles.scaling?, angles.dim.div_ceil(2));
            let lists = [&scaling.short_factor, &scaling.long_factor];
            let fit = lists.into_iter().flatten().all(|list| list.len() == half);
            (!fit).then_some(half)
        };
        if let Some(half) = (0..attentions).find_map(wrong) {
            problems.add(
                format!("{prefix}rotary_scaling"),
                format!(
                    "`short_factor` and `long_factor` need {half} numbers each, one for each pair \
                     of features"
                ),
            );
        }
    }
}
