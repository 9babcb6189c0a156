//! The position embedding that a wrapper adds to its embeddings: learned, sinusoidal, given by the
//! caller, or none.

use super::{AbsolutePositions, SinusoidalPositions};
use crate::segments::Segments;
use crate::{DType, Error, Params, Result, Tensor};
use std::ops::Range;
use xt_autograd::ops;
use xt_options::wrappers::SequenceOptions;

/// The kind of absolute position embedding of a wrapper.
pub enum PositionEmbedding {
    /// A learned table.
    Absolute(AbsolutePositions),
    /// Sines and cosines.
    Sinusoidal(SinusoidalPositions),
    /// No position embedding.
    None,
}

impl PositionEmbedding {
    /// Registers the position embedding that the options select. If `layers_have_positions`, the
    /// layers encode positions themselves, so none is needed. `l2norm` scales learned vectors to
    /// length 1.
    pub fn new(
        dim: usize,
        layers_have_positions: bool,
        l2norm: bool,
        options: &SequenceOptions,
        p: &mut Params,
    ) -> Self {
        let mut p = p.submodule("pos_emb");
        match (options.has_positions() && !layers_have_positions, options.scaled_sinu_pos_emb) {
            (false, _) => Self::None,
            (true, true) => Self::Sinusoidal(SinusoidalPositions::new(dim, &mut p)),
            (true, false) => Self::Absolute(AbsolutePositions::new(
                options.max_seq_len,
                dim,
                l2norm,
                options.abs_pos_emb_scale,
                &mut p,
            )),
        }
    }

    /// The embedding to add to a sequence at `positions`, or `None`. A `pos` of type i64 has other
    /// positions, which are looked up; a `pos` of another type is used as the embedding itself,
    /// even if the layers encode positions themselves.
    fn forward(&self, positions: Range<usize>, pos: Option<&Tensor>) -> Result<Option<Tensor>> {
        if let Some(external) = pos.filter(|pos| pos.dtype() != DType::I64) {
            return Ok(Some(external.clone()));
        }
        if let Some(pos) = pos.filter(|pos| pos.rank() > 2 && !matches!(self, Self::None)) {
            return Error::shape(format!(
                "pos has shape {:?}, with an axis of heads, which is for `alibi_given_pos` alone: \
                 set `use_abs_pos_emb: false`",
                pos.dims()
            ));
        }
        Ok(match self {
            Self::Absolute(table) => Some(table.forward(positions, pos)?),
            Self::Sinusoidal(table) => Some(table.forward(positions, pos)?),
            Self::None => None,
        })
    }

    /// The positions to look up: `pos` where it is given, else those in the documents of packed
    /// rows.
    ///
    /// # Errors
    ///
    /// If memory cannot be allocated.
    pub fn of_segments(
        &self,
        pos: Option<&Tensor>,
        segments: Option<&Segments>,
    ) -> Result<Option<Tensor>> {
        match (self, pos, segments) {
            (Self::Absolute(_) | Self::Sinusoidal(_), None, Some(segments)) => {
                segments.positions().map(Some)
            }
            _ => Ok(pos.cloned()),
        }
    }

    /// The embedding to add to `n` positions that follow `past` earlier ones, or `None`. `pos`
    /// covers all `past + n` positions: those of type i64 are looked up; a `pos` of another type is
    /// used as the embedding itself, even if the layers encode positions themselves.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if `pos` does not cover them.
    pub fn forward_after(
        &self,
        past: usize,
        n: usize,
        pos: Option<&Tensor>,
    ) -> Result<Option<Tensor>> {
        match pos {
            None => self.forward(past..past + n, None),
            Some(pos) if past == 0 => self.forward(0..n, Some(pos)),
            Some(pos) => {
                // i64 positions are (.., n), embeddings are (.., n, dim)
                let axis = (pos.rank() + usize::from(pos.dtype() == DType::I64)).saturating_sub(2);
                if axis >= pos.rank() || pos.dim(axis) != past + n {
                    return Error::shape(format!(
                        "pos must cover {} positions, got {:?}",
                        past + n,
                        pos.dims()
                    ));
                }
                self.forward(past..past + n, Some(&ops::narrow(pos, axis, past, n)?))
            }
        }
    }
}
