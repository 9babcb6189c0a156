//! Learned absolute positions: one vector per position, scaled by dim^-0.5, or by a given factor,
//! and added to the token embeddings.
//!
//! Source: Attention Is All You Need, <https://arxiv.org/abs/1706.03762>, the learned variant.

use crate::layers::Embedding;
use crate::{Device, Error, Init, Params, Result, Tensor};
use std::ops::Range;
use xt_autograd::ops;

/// A learned table of position vectors, `(max_seq_len, dim)`.
pub struct AbsolutePositions {
    table: Embedding,
    max_seq_len: usize,
    scale: f64,
}

impl AbsolutePositions {
    /// Registers the table. With `l2norm`, vectors have length 1 and are not scaled, unless there
    /// is a `scale`.
    pub fn new(
        max_seq_len: usize,
        dim: usize,
        l2norm: bool,
        scale: Option<f64>,
        p: &mut Params,
    ) -> Self {
        let mut p = p.submodule("emb");
        let (table, usual) = if l2norm {
            (Embedding::normalised(max_seq_len, dim, &mut p), 1.0)
        } else {
            (
                Embedding::new(max_seq_len, dim, Init::Normal { std: 1.0 }, &mut p),
                (dim as f64).powf(-0.5),
            )
        };
        Self { table, max_seq_len, scale: scale.unwrap_or(usual) }
    }

    /// The vectors of `positions`, `(n, dim)`; or those of `pos`, i64 `(..)`: `(.., dim)`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if a position is not in the table.
    pub fn forward(&self, positions: Range<usize>, pos: Option<&Tensor>) -> Result<Tensor> {
        let rows = match pos {
            Some(pos) => {
                self.table.forward(pos).map_err(|error| self.out_of_range(pos).unwrap_or(error))?
            }
            None if positions.end > self.max_seq_len => {
                return Error::shape(format!(
                    "a sequence of {} is longer than `max_seq_len` ({}), which absolute positions \
                     cover",
                    positions.end, self.max_seq_len
                ))
            }
            None => self.table.rows(positions)?,
        };
        Ok(ops::affine(&rows, self.scale, 0.0)?)
    }

    /// The error that names the first position that is not in the table; `None` if there is none.
    fn out_of_range(&self, pos: &Tensor) -> Option<Error> {
        let values = pos
            .array()
            .ok()?
            .to_device(&Device::Cpu)
            .ok()?
            .flatten_all()
            .ok()?
            .to_vec1::<i64>()
            .ok()?;
        let bad =
            values.iter().find(|p| usize::try_from(**p).map_or(true, |p| p >= self.max_seq_len))?;
        let most = self.max_seq_len.saturating_sub(1);
        Some(Error::Shape(format!(
            "pos has {bad}: positions go from 0 to {most}, as `max_seq_len` is {}",
            most + 1
        )))
    }
}
