//! Which input positions influence which output positions of a stack, as far as generation needs to
//! know.

use super::sublayer::SubLayer;
use super::AttentionLayers;
use crate::attention::Attention;
use crate::position::Rotary;
use xt_options::LayerKind;

impl AttentionLayers {
    /// Whether the output of a position depends on later positions.
    pub fn sees_later(&self) -> bool {
        self.attentions().any(|(kind, attention)| self.is_open(kind, attention))
            || self.layers.iter().any(SubLayer::shifts_back)
    }

    /// All attentions of the stack, with the kinds of their sub-layers.
    fn attentions(&self) -> impl Iterator<Item = (LayerKind, &Attention)> {
        self.layers.iter().filter_map(|layer| Some((layer.kind, layer.attention()?)))
    }

    /// Whether an attention sees later positions. A cross attention without a context attends to
    /// the sequence itself, so it sees them too.
    fn is_open(&self, kind: LayerKind, attention: &Attention) -> bool {
        match kind {
            LayerKind::CrossAttention => !self.cross_attend,
            _ => !attention.is_causal(),
        }
    }

    /// The reason why generation cannot cache keys and values, or `None` if it can. Caching is
    /// impossible if the result for a position changes when later positions are added.
    pub fn not_cacheable(&self) -> Option<&'static str> {
        if self.attentions().any(|(kind, attention)| self.is_open(kind, attention)) {
            return Some("an attention sees later positions: take a Decoder");
        }
        if self.layers.iter().any(SubLayer::shifts_back) {
            return Some("`shift_tokens` takes features from later positions too: take a Decoder");
        }
        if self.rotary.as_ref().is_some_and(Rotary::moves) {
            return Some("`rotary_xpos` decays values around the middle of the sequence, which moves with each token");
        }
        if self.attentions().any(|(kind, attention)| kind == LayerKind::CrossAttention && attention.is_limited()) {
            return Some("`attn_max_attend_past` counts from the end of the context for the last token, which moves with each token");
        }
        None
    }

    /// Whether masked padding before a sequence changes the outputs of the positions after it.
    /// `memories` tells whether memories precede the sequence.
    ///
    /// Rotary positions rotate the values too, and token shift moves features from one position to
    /// the next. Position biases and attention windows depend on the distance to memories and
    /// learned keys, which precede the padding.
    pub fn padding_shows(&self, memories: bool) -> bool {
        let any = |what: fn(&Attention) -> bool| self.attentions().any(|(_, attention)| what(attention));
        let front = memories || any(Attention::has_memory);
        let by_distance = self.bias.is_some() || any(Attention::is_limited);
        self.rotary.is_some() || self.layers.iter().any(SubLayer::has_shift) || (front && by_distance)
    }
}
