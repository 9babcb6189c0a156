//! Which positions of a stack's input show in which of its output, as far as a generation must know.

use super::sublayer::SubLayer;
use super::AttentionLayers;
use crate::attention::Attention;
use crate::position::Rotary;
use xt_options::LayerKind;

impl AttentionLayers {
    /// Whether what comes of a position depends on later ones.
    pub fn sees_later(&self) -> bool {
        self.attentions().any(|(kind, attention)| self.is_open(kind, attention))
            || self.layers.iter().any(SubLayer::shifts_back)
    }

    fn attentions(&self) -> impl Iterator<Item = (LayerKind, &Attention)> {
        self.layers.iter().filter_map(|layer| Some((layer.kind, layer.attention()?)))
    }

    /// Whether an attention sees later positions; a cross attention does without a context, since it then attends to the sequence itself.
    fn is_open(&self, kind: LayerKind, attention: &Attention) -> bool {
        match kind {
            LayerKind::CrossAttention => !self.cross_attend,
            _ => !attention.is_causal(),
        }
    }

    /// Why a generation cannot keep keys and values, where it cannot: what an earlier position knows changes with later ones.
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

    /// Whether padding in front of a sequence, although masked, changes what comes of the positions behind it: rotary
    /// positions turn the values too, token shift moves features from one position to the next, and biases and windows see
    /// how far away memories and learned keys are, which stand before the padding.
    pub fn padding_shows(&self, memories: bool) -> bool {
        let any = |what: fn(&Attention) -> bool| self.attentions().any(|(_, attention)| what(attention));
        let front = memories || any(Attention::has_memory);
        let by_distance = self.bias.is_some() || any(Attention::is_limited);
        self.rotary.is_some() || self.layers.iter().any(SubLayer::has_shift) || (front && by_distance)
    }
}
