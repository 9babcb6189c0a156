//! What the variants of attention, positions and layers need of the way a model is computed.
//!
//! Every variant answers once, by [`Variant::needs`]. Whether attention can be fused, whether a
//! generation can keep keys and values between its steps, and whether padding changes a result,
//! follow from the answers of all variants together.

/// What a variant, or a model of several, needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// All scores of a query at once, in memory: (batch, heads, i, j). Attention cannot be fused.
    pub whole_scores: bool,
    /// Later positions, on which the output of an earlier one then depends: the reason, for people.
    pub sees_later: Option<&'static str>,
    /// The length of the sequence, with which the keys and values of earlier positions change: the
    /// reason, for people.
    pub varies_with_length: Option<&'static str>,
    /// As `varies_with_length`, but for some lengths alone: a generation keeps keys and values
    /// until they change.
    pub changes_at_lengths: bool,
    /// Keys in front of those of the sequence, which stand before its padding.
    pub prefix_keys: bool,
    /// The distance between query and key, as biases by position and windows do.
    pub distance: bool,
    /// Angles by the places in a row, whose difference to that of keys in front changes with the
    /// padding between.
    pub rotates: bool,
    /// The place of each token in its row, so that masked padding in front changes what is computed
    /// of the tokens behind it.
    pub position_in_row: bool,
}

impl Needs {
    /// Nothing.
    pub const NONE: Self = Self {
        whole_scores: false,
        sees_later: None,
        varies_with_length: None,
        changes_at_lengths: false,
        prefix_keys: false,
        distance: false,
        rotates: false,
        position_in_row: false,
    };

    /// What both need. Of two reasons the first is kept.
    pub fn and(self, other: Self) -> Self {
        Self {
            whole_scores: self.whole_scores || other.whole_scores,
            sees_later: self.sees_later.or(other.sees_later),
            varies_with_length: self.varies_with_length.or(other.varies_with_length),
            changes_at_lengths: self.changes_at_lengths || other.changes_at_lengths,
            prefix_keys: self.prefix_keys || other.prefix_keys,
            distance: self.distance || other.distance,
            rotates: self.rotates || other.rotates,
            position_in_row: self.position_in_row || other.position_in_row,
        }
    }

    /// Why keys and values cannot be kept between the steps of a generation; `None` where they can.
    pub fn not_cacheable(&self) -> Option<&'static str> {
        self.sees_later.or(self.varies_with_length)
    }

    /// Whether masked padding in front of a row changes the output of the tokens behind it. With
    /// `memories`, there are others in front besides the learned keys.
    pub fn affected_by_padding(&self, memories: bool) -> bool {
        let far = self.distance || self.rotates;
        self.position_in_row || (far && (memories || self.prefix_keys))
    }
}

/// A variant that an option switches on.
pub trait Variant {
    /// What it needs.
    fn needs(&self) -> Needs;
}

impl<V: Variant> Variant for Option<V> {
    fn needs(&self) -> Needs {
        self.as_ref().map_or(Needs::NONE, Variant::needs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_add_up_and_the_first_reason_is_kept() {
        let shift = Needs { sees_later: Some("shift"), position_in_row: true, ..Needs::NONE };
        let xpos = Needs { varies_with_length: Some("xpos"), ..Needs::NONE };
        let open = Needs { sees_later: Some("open"), ..Needs::NONE };
        assert_eq!(Needs::NONE.and(Needs::NONE), Needs::NONE);
        assert_eq!(xpos.and(shift).not_cacheable(), Some("shift"));
        assert_eq!(open.and(shift).not_cacheable(), Some("open"));
        assert_eq!(xpos.and(Needs::NONE).not_cacheable(), Some("xpos"));
        let window = Needs { distance: true, ..Needs::NONE };
        assert!(!window.affected_by_padding(false) && window.affected_by_padding(true));
        let memory = Needs { prefix_keys: true, ..Needs::NONE };
        assert!(window.and(memory).affected_by_padding(false) && !memory.affected_by_padding(true));
        assert!(shift.affected_by_padding(false));
        let rotary = Needs { rotates: true, ..Needs::NONE };
        assert!(!rotary.affected_by_padding(false) && rotary.affected_by_padding(true));
    }
}
