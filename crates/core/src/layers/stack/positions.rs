//! The rotary positions and the position bias of one forward pass.

use super::{AttentionLayers, LayerKind, LayerTensors, SubLayer};
use crate::ids::wrong_ids;
use crate::position::{PositionBias, Rotations, ScoreBias};
use crate::{DType, Error, Result, Tensor};
use std::ops::Range;
use std::sync::Arc;
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
        match (given, &with.segments) {
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
        }
    }

    /// The rotary tables of cross attention to a context at the positions `pos`, i64 `(j)` or
    /// `(batch, j)`; `own` are those of the sequence. None without `pos`.
    pub(super) fn beside_context<'a>(
        &self,
        own: &Rotations<'a>,
        pos: Option<&Tensor>,
        dtype: DType,
    ) -> Result<Option<Rotations<'a>>> {
        let one = pos.filter(|pos| pos.rank() == 2 && pos.dim(0) == 1);
        let row = one.map(|pos| ops::reshape(pos, &[pos.dim(1)])).transpose()?;
        row.as_ref().or(pos).map(|pos| self.rotary.beside(own, pos, dtype)).transpose()
    }
}

impl AttentionLayers {
    /// Checks that the positions of a context can act, and are there where nothing else would.
    pub(super) fn check_context_pos(&self, with: &LayerTensors) -> Result<()> {
        let Some(pos) = &with.context_pos else {
            let is_self = |layer: &Arc<SubLayer>| layer.kind == LayerKind::SelfAttention;
            if !self.rotary.is_empty() && !self.layers.iter().any(is_self) {
                return Error::shape(
                    "layers with rotary positions and without self attention need context_pos, the \
                     positions of the context",
                );
            }
            return Ok(());
        };
        let Some(context) = &with.context else {
            return Error::shape("context_pos needs a context, whose positions it is");
        };
        let (batch, j) = (context.dim(0), context.dim(1));
        let fits = [&[j][..], &[1, j], &[batch, j]].contains(&pos.dims());
        if pos.dtype() != DType::I64 || !fits {
            return wrong_ids("context_pos", &format!("({j}) or ({batch}, {j})"), pos);
        }
        self.rotary.check_context()
    }

    /// The position bias for `x`, `(batch, n, dim)`, behind `past` positions in a cache: by the
    /// distances in the sequence, unless the call gives positions.
    pub(super) fn score_bias(
        &self,
        x: &Tensor,
        with: &LayerTensors,
        past: usize,
    ) -> Result<Option<PositionBias<'_>>> {
        let Some(bias) = self.bias.as_deref() else { return Ok(None) };
        let given = with.pos.as_ref().filter(|_| self.alibi_given_pos);
        let positions = given.map(|pos| self.positions_by_head(pos, x, with, past)).transpose()?;
        Ok(Some(bias.for_call(positions)))
    }

    /// `pos`, i64 `(length)`, `(batch, length)` or `(batch, ALiBi heads, length)`, with three axes,
    /// of which the first two may be 1.
    fn positions_by_head(
        &self,
        pos: &Tensor,
        x: &Tensor,
        with: &LayerTensors,
        past: usize,
    ) -> Result<Tensor> {
        if !with.mems.is_empty() {
            return Error::shape("pos does not go with mems, whose positions it lacks");
        }
        let heads = self.bias.as_deref().map_or(0, ScoreBias::alibi_heads);
        let (batch, length) = (x.dim(0), past + x.dim(1));
        let dims = match *pos.dims() {
            [n] => [1, 1, n],
            [rows, n] => [rows, 1, n],
            [rows, heads, n] => [rows, heads, n],
            _ => [0; 3],
        };
        let fits = [1, batch].contains(&dims[0]) && [1, heads].contains(&dims[1]);
        if pos.dtype() != DType::I64 || !fits || dims[2] != length {
            let wanted = format!(
                "({length}), ({batch}, {length}) or ({batch}, {heads}, {length}) with ALiBi"
            );
            return wrong_ids("positions", &wanted, pos);
        }
        Ok(ops::reshape(pos, &dims)?)
    }
}

/// The positions of `x`, `(batch, n, dim)`, which are the last of `pos`, i64 `(length)` or
/// `(batch, length)`; with one row for all, `(n)`.
fn last_positions(pos: &Tensor, x: &Tensor) -> Result<Tensor> {
    if pos.rank() == 2 && pos.dim(0) == 1 {
        return last_positions(&ops::reshape(pos, &[pos.dim(1)])?, x);
    }
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
