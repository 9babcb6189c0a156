//! The optional inputs of an attention layer, and the attention maps that it returns.

use crate::position::{PositionBias, Rotation};
use crate::segments::Bounds;
use crate::Tensor;
use std::sync::Arc;

/// The inputs of an attention layer besides `x`, `(batch, i, dim)`.
#[derive(Clone, Copy, Default)]
pub struct AttentionInputs<'a> {
    /// The input of keys and values, `(batch, j, dim)`; absent: `x`.
    pub context: Option<&'a Tensor>,
    /// Memories `(batch, count, dim)` that are prepended to the input of keys and values.
    pub mem: Option<&'a Tensor>,
    /// bool, `(batch, count)`: memories that are false are not attended to. Those in a cache have
    /// no `mem` any more.
    pub mem_mask: Option<&'a Tensor>,
    /// bool, `(batch, i)`: output rows that are false are set to 0.
    pub mask: Option<&'a Tensor>,
    /// bool, `(batch, j)`: keys that are false are not attended to. Absent: `mask` is used.
    pub context_mask: Option<&'a Tensor>,
    /// bool, `(i, j)`, `(heads, i, j)` or `(batch, heads, i, j)`: true where a query may attend to
    /// a key.
    pub attn_mask: Option<&'a Tensor>,
    /// Rotary positions, for self attention.
    pub rotation: Option<&'a Arc<Rotation>>,
    /// The position bias of the scores, for self attention.
    pub bias: Option<&'a PositionBias<'a>>,
    /// The scores of the previous attention, `(batch, heads, i, j)`, which are added to the scores
    /// (residual attention).
    pub previous: Option<&'a Tensor>,
    /// The values of the first attention of its kind, `(batch, j, heads, width)`, with which its
    /// own are mixed (value residual).
    pub first_values: Option<&'a Tensor>,
    /// Whether to return the values, for other attentions.
    pub keep_values: bool,
    /// The documents of packed rows, to which queries attend. For self attention.
    pub bounds: Option<&'a Arc<Bounds>>,
    /// Whether to hide later keys; absent: as the options say.
    pub causal: Option<bool>,
    /// The number of earlier positions whose keys and values are in a cache.
    pub past: usize,
    /// Whether to return the attention maps. Otherwise they are not stored if that can be avoided.
    pub maps: bool,
}

/// What an attention gives.
pub struct Attended {
    /// The output, `(batch, i, dim)`.
    pub y: Tensor,
    /// The attention maps, if they were requested.
    pub maps: Option<AttentionMaps>,
    /// The values, `(batch, j, heads, width)`, if they were requested and are not in a cache.
    pub values: Option<Tensor>,
}

/// The attention maps, each `(batch, heads, i, j)`.
#[derive(Clone)]
pub struct AttentionMaps {
    /// The scaled scores plus those of the previous attention (residual attention), before talking
    /// heads, position bias and masks.
    pub pre_softmax_attn: Tensor,
    /// The weights after the softmax, before dropout.
    pub post_softmax_attn: Tensor,
}
