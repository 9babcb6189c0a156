//! What a stack needs of the way a generation and a score are computed.

use super::{AttentionLayers, LayerTensors};
use crate::layers::cache::LayersCache;
use crate::needs::{Needs, Variant};

impl AttentionLayers {
    /// What all of its layers and positions need. The order decides which of several reasons a user
    /// is told.
    pub fn needs(&self) -> Needs {
        self.needs_beside(self.rotary.needs())
    }

    /// What all need, if rotary positions need `rotary`.
    fn needs_beside(&self, rotary: Needs) -> Needs {
        let attentions = self.layers.iter().map(|layer| layer.attention_needs(self.cross_attend));
        let shifts = self.layers.iter().map(|layer| layer.shift_needs());
        let bias = self.bias.as_deref().map_or(Needs::NONE, Variant::needs);
        let all = [rotary].into_iter().chain(attentions).chain(shifts).chain([bias]);
        all.fold(Needs::NONE, Needs::and)
    }

    /// Whether the output of a position depends on later ones.
    pub fn sees_later(&self) -> bool {
        self.needs().sees_later.is_some()
    }

    /// Why a generation cannot keep keys and values between its steps; `None` where it can.
    pub fn not_cacheable(&self) -> Option<&'static str> {
        self.needs().not_cacheable()
    }

    /// Whether the output of a position depends on how many there are.
    pub fn varies_with_length(&self) -> bool {
        let needs = self.needs();
        needs.not_cacheable().is_some() || needs.changes_at_lengths
    }

    /// Whether the keys and values in `cache` stay as they are in a sequence with `new` further
    /// positions.
    pub fn goes_on(&self, cache: &LayersCache, new: usize) -> bool {
        let kept = cache.memories + cache.seen;
        cache.seen == 0 || self.rotary.same_angles(kept, kept + new)
    }

    /// Whether padding in front of a sequence, although masked, changes the output of the positions
    /// behind it. Rotary positions may rotate the values too, and token shift moves features from
    /// one position to the next. Biases, windows and rotary positions see how far away memories and
    /// learned keys are, which stand before the padding; rotary positions of cross attention, how
    /// far away the context is.
    pub fn affected_by_padding(&self, memories: bool, with: &LayerTensors) -> bool {
        with.context_pos.is_some() || self.needs().affected_by_padding(memories)
    }

    /// As [`AttentionLayers::affected_by_padding`], for a call that gives positions which count
    /// from the end of the padding.
    pub fn affected_by_padding_before(&self, memories: bool, with: &LayerTensors) -> bool {
        if self.rotary_given_pos {
            return self.needs_beside(Needs::NONE).affected_by_padding(memories);
        }
        self.affected_by_padding(memories, with)
    }
}
