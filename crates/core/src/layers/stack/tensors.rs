//! What goes into a stack besides its input, and what comes out.

use crate::attention::AttentionMaps;
use crate::segments::Segments;
use crate::{Result, Tensor};
use std::sync::Arc;
use xt_autograd::ops;

/// The optional tensors that accompany the input `(batch, n, dim)` of a stack.
#[derive(Clone, Default)]
pub struct LayerTensors {
    /// The context of the cross attentions, `(batch, j, dim)`.
    pub context: Option<Tensor>,
    /// bool, `(batch, n)`: the real positions of the sequence.
    pub mask: Option<Tensor>,
    /// bool, `(batch, j)`: the real positions of the context.
    pub context_mask: Option<Tensor>,
    /// bool, `(n, n)`, `(heads, n, n)` or `(batch, heads, n, n)`: true where a query may attend to
    /// a key, for self attention.
    pub attn_mask: Option<Tensor>,
    /// bool, `(batch, n)`: the keys that self attention may attend to; absent: `mask`.
    pub self_attn_context_mask: Option<Tensor>,
    /// The memories of each self attention, `(batch, count, dim)` each.
    pub mems: Vec<Tensor>,
    /// bool, `(batch, count)` each: the real memories; absent: all.
    pub mem_masks: Vec<Tensor>,
    /// i64 positions for `rotary_given_pos` and `alibi_given_pos`, `(n)` or `(batch, n)`, for the
    /// latter also `(batch, heads, n)`; with a cache those of all positions.
    pub pos: Option<Tensor>,
    /// i64 positions of the context, `(j)` or `(batch, j)`, with which rotary positions are those
    /// of cross attention too.
    pub context_pos: Option<Tensor>,
    /// Whether self attentions hide later positions; absent: as their options say.
    pub causal: Option<bool>,
    /// The documents of packed rows.
    pub segments: Option<Arc<Segments>>,
}

impl LayerTensors {
    /// Reshapes one-dimensional masks over tokens, `(n)`, to `(1, n)`.
    pub fn add_batch_axis(&mut self) -> Result<()> {
        for mask in [&mut self.mask, &mut self.self_attn_context_mask] {
            if let Some(row) = mask.as_ref().filter(|mask| mask.rank() == 1) {
                *mask = Some(ops::reshape(row, &[1, row.dim(0)])?);
            }
        }
        Ok(())
    }
}

/// Intermediate results, with the names of the Python package.
#[derive(Clone, Default)]
pub struct Intermediates {
    /// The inputs of the self attentions before their norms, `(batch, n, dim)` each.
    pub hiddens: Vec<Tensor>,
    /// The attention maps of all self and cross attentions, in order.
    pub attn_intermediates: Vec<AttentionMaps>,
}

/// Which intermediates a forward pass returns. The others are freed during the pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerReturns {
    /// Return the inputs of the self attentions.
    pub hiddens: bool,
    /// Return the attention maps.
    pub maps: bool,
}

/// The result of a forward pass.
pub struct LayersOutput {
    /// The output of the last sub-layer, `(batch, n, dim)`.
    pub x: Tensor,
    /// The recorded intermediates.
    pub intermediates: Intermediates,
}
