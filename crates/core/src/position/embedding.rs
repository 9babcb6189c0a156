//! The positions that a wrapper adds to its embeddings: learned, sinusoidal, from outside, or none.

use super::{AbsolutePositions, SinusoidalPositions};
use crate::{Array, DType, Device, Error, Params, Result, Tensor};
use xt_autograd::ops;
use xt_options::wrappers::SequenceOptions;

pub enum PositionEmbedding {
    Absolute(AbsolutePositions),
    Sinusoidal(SinusoidalPositions),
    None,
}

impl PositionEmbedding {
    /// `known`: the layers know positions by themselves. `l2norm`: learned vectors have length 1.
    pub fn new(dim: usize, known: bool, l2norm: bool, options: &SequenceOptions, p: &mut Params) -> Self {
        let mut p = p.under("pos_emb");
        match (options.use_abs_pos_emb && !known, options.scaled_sinu_pos_emb) {
            (false, _) => Self::None,
            (true, true) => Self::Sinusoidal(SinusoidalPositions::new(dim, &mut p)),
            (true, false) => Self::Absolute(AbsolutePositions::new(options.max_seq_len.get(), dim, l2norm, &mut p)),
        }
    }

    /// What is added to a sequence of length `n`. `pos` of integers is looked up; another type is the embedding itself,
    /// also for layers that know positions.
    pub fn forward(&self, n: usize, pos: Option<&Tensor>) -> Result<Option<Tensor>> {
        if let Some(external) = pos.filter(|pos| pos.dtype() != DType::I64) {
            return Ok(Some(external.clone()));
        }
        Ok(match self {
            Self::Absolute(positions) => Some(positions.forward(n, pos)?),
            Self::Sinusoidal(positions) => Some(positions.forward(n, pos)?),
            Self::None => None,
        })
    }

    /// The same for `n` positions behind `past` others; `pos` covers all of them.
    pub fn behind(&self, past: usize, n: usize, pos: Option<&Tensor>, device: &Device) -> Result<Option<Tensor>> {
        match pos {
            _ if past == 0 => self.forward(n, pos),
            Some(pos) => {
                // positions are the last axis of integers, and the one before the features of embeddings
                let axis = (pos.rank() + usize::from(pos.dtype() == DType::I64)).saturating_sub(2);
                if axis >= pos.rank() || pos.dim(axis) != past + n {
                    return Error::shape(format!("pos must cover {} positions, got {:?}", past + n, pos.dims()));
                }
                self.forward(n, Some(&ops::narrow(pos, axis, past, n)?))
            }
            None if matches!(self, Self::None) => Ok(None),
            None => {
                let positions = Array::arange(past as i64, (past + n) as i64, device)?;
                self.forward(n, Some(&Tensor::constant(positions)))
            }
        }
    }
}
