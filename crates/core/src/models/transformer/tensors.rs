//! What goes into a transformer over tokens besides the ids, and what comes out.

use crate::layers::{Intermediates, LayerTensors};
use crate::Tensor;

/// The optional tensors that accompany the tokens, `(batch, n)`.
#[derive(Clone, Default)]
pub struct TokenTensors {
    /// i64 positions, `(n)` or `(batch, n)`, or position embeddings of another type.
    pub pos: Option<Tensor>,
    /// Embeddings to prepend to the sequence, `(batch, count, emb_dim)`.
    pub prepend_embeds: Option<Tensor>,
    /// Embeddings to add to the token embeddings, `(batch, n, emb_dim)`.
    pub sum_embeds: Option<Tensor>,
    /// Ids for the embeddings of kinds, i64 `(n)` or `(batch, n)`, by name.
    pub embed_ids: Vec<(String, Tensor)>,
    /// The tensors for the layers.
    pub layers: LayerTensors,
}

/// Which results a forward pass returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Returns {
    /// The logits.
    pub logits: bool,
    /// The output of the final norm.
    pub embeddings: bool,
    /// Inputs of the self attentions, and attention maps.
    pub intermediates: bool,
    /// The memories for the next segment.
    pub mems: bool,
    /// Whether these keep the autograd graph.
    pub attached_mems: bool,
}

/// The requested results of a forward pass.
pub struct TransformerOutput {
    /// `(batch, n, width of the head)` of each head, where `n` includes prepended embeddings; with
    /// class tokens, `n` is their number. Without axis `n` for one class token or a mean. Empty if
    /// not requested.
    pub logits: Vec<Tensor>,
    /// What the head reads, with `dim` in the place of its width.
    pub embeddings: Option<Tensor>,
    /// The intermediates of the layers; empty if not requested.
    pub intermediates: Intermediates,
    /// The memories of each self attention for the next segment, `(batch, count, dim)` each.
    pub mems: Option<Vec<Tensor>>,
}
