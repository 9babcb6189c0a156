//! Conflicts of the options of ALiBi.

use crate::layers::StackOptions;
use crate::Problems;

/// The most heads: more are certainly a mistake, and their slopes could exhaust memory.
const MAX_HEADS: usize = 1 << 20;

impl StackOptions {
    /// Reports conflicts of ALiBi.
    pub(crate) fn check_alibi(&self, prefix: &str, problems: &mut Problems) {
        let alibi = self.alibi_pos_bias && !self.dynamic_pos_bias;
        let mut require = |holds: bool, name: &str, message: String| {
            problems.require(holds, &format!("{prefix}{name}"), message)
        };
        require(
            !alibi || self.alibi_num_heads.is_none_or(|heads| heads <= self.heads),
            "alibi_num_heads",
            format!("is more than `{prefix}heads` ({})", self.heads),
        );
        require(
            !alibi || self.heads.get() <= MAX_HEADS,
            "heads",
            format!("must be at most {MAX_HEADS} with `{prefix}alibi_pos_bias`"),
        );
        require(
            alibi || !self.alibi_given_pos,
            "alibi_given_pos",
            format!("needs `{prefix}alibi_pos_bias`"),
        );
        let Some(slopes) = &self.alibi_slopes else { return };
        let heads = self.alibi_num_heads.unwrap_or(self.heads).get();
        require(alibi, "alibi_slopes", format!("needs `{prefix}alibi_pos_bias`"));
        require(
            slopes.len() == heads,
            "alibi_slopes",
            format!("has {} entries, but {heads} heads have ALiBi", slopes.len()),
        );
        require(
            !self.alibi_learned || slopes.iter().all(|slope| *slope > 0.0),
            "alibi_slopes",
            format!("must be positive with `{prefix}alibi_learned`"),
        );
    }
}
