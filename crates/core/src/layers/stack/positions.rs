//! The rotary positions of one forward pass.

use super::{AttentionLayers, LayerTensors};
use crate::ids::wrong_ids;
use crate::position::Rotations;
use crate::{DType, Error, Result, Tensor};
use std::ops::Range;
use xt_autograd::ops;

impl AttentionLayers {
    /// The rotary tables for `x`, `(batch, n, dim)`, with the memories before it: at `places` of
    /// the sequence, unless documents or the call give other positions.
    pub(super) fn rotations(
        &self,
        x: &Tensor,
        with: &LayerTensors,
        places: Range<usize>,
    ) -> Result<Rotations<'_>> {
        let dtype = x.dtype();
        let given = with.pos.as_ref().filter(|_| self.rotary_given_pos);
        let own = match (given, &with.segments) {
            (Some(pos), _) => {
                if !with.mems.is_empty() {
                    return Error::shape("pos does not go with mems, whose positions it lacks");
                }
                let pos = last_positions(pos, x)?;
                self.rotary.each(|rotary| rotary.of_positions(&pos, dtype))
            }
            (None, Some(segments)) => {
                self.rotary.each(|rotary| rotary.of_segments(segments, dtype))
            }
            (None, None) => self.rotary.each(|rotary| rotary.tables(places.clone(), dtype)),
        }?;
        match (&with.context_pos, &with.context) {
            (Some(pos), Some(context)) => {
                self.rotary.with_context(own, &last_positions(pos, context)?, dtype)
            }
            _ => Ok(own),
        }
    }
}

/// The positions of `x`, `(batch, n, dim)`, which are the last of `pos`, i64 `(length)` or
/// `(batch, length)`.
fn last_positions(pos: &Tensor, x: &Tensor) -> Result<Tensor> {
    let fits = match pos.rank() {
        1 => true,
        2 => pos.dim(0) == x.dim(0),
        _ => false,
    };
    let axis = pos.rank().saturating_sub(1);
    if pos.dtype() != DType::I64 || !fits || pos.dim(axis) < x.dim(1) {
        return wrong_ids("positions", "(length) or (batch, length) of what they are for", pos);
    }
    Ok(ops::narrow(pos, axis, pos.dim(axis) - x.dim(1), x.dim(1))?)
}
