//! What an attention gets, and what it tells of its work.

use crate::position::{PositionBias, Rotation};
use crate::Tensor;

/// What an attention gets besides its input.
#[derive(Clone, Copy, Default)]
pub struct AttentionInputs<'a> {
    /// What keys and values are made from; the input itself where absent.
    pub context: Option<&'a Tensor>,
    /// Memories in front of the keys' and values' input, (batch, count, dim).
    pub mem: Option<&'a Tensor>,
    /// bool, (batch, i): rows that are False come out as 0.
    pub mask: Option<&'a Tensor>,
    /// bool, (batch, j): keys that are False are not attended to. Absent: `mask`.
    pub context_mask: Option<&'a Tensor>,
    /// bool, (i, j), (heads, i, j) or (batch, heads, i, j): True where a query may attend.
    pub attn_mask: Option<&'a Tensor>,
    /// Rotary positions, for self attention.
    pub rotation: Option<&'a Rotation>,
    /// A bias of the scores by position, for self attention.
    pub bias: Option<&'a PositionBias<'a>>,
    /// Scores of the layer before, to be added (residual attention).
    pub previous: Option<&'a Tensor>,
    /// Positions before those of the input, whose keys and values are in a cache.
    pub past: usize,
    /// Whether the maps are wanted. Without, they are not kept in memory where that is possible.
    pub maps: bool,
}

/// The attention maps, (batch, heads, i, j).
#[derive(Clone)]
pub struct AttentionMaps {
    /// Scaled scores with those of the layer before, before masks and biases.
    pub pre_softmax_attn: Tensor,
    /// Weights, before dropout.
    pub post_softmax_attn: Tensor,
}
