//! A learned vector for each position, scaled by dim^-0.5 and added to the token embeddings.
//!
//! Source: Attention Is All You Need, <https://arxiv.org/abs/1706.03762>, in its learned form.

use crate::layers::Embedding;
use crate::{Device, Error, Init, Params, Result, Tensor};
use xt_autograd::ops;

pub struct AbsolutePositions {
    table: Embedding,
    max_seq_len: usize,
    scale: f64,
}

impl AbsolutePositions {
    /// With `l2norm` the vectors have length 1 and no scale.
    pub fn new(max_seq_len: usize, dim: usize, l2norm: bool, p: &mut Params) -> Self {
        let mut p = p.under("emb");
        let (table, scale) = if l2norm {
            (Embedding::normalised(max_seq_len, dim, &mut p), 1.0)
        } else {
            (Embedding::new(max_seq_len, dim, Init::Normal { std: 1.0 }, &mut p), (dim as f64).powf(-0.5))
        };
        Self { table, max_seq_len, scale }
    }

    /// Vectors to add to a sequence of length `n`: (n, dim), or those of the positions `pos`, i64 (..): (.., dim).
    pub fn forward(&self, n: usize, pos: Option<&Tensor>) -> Result<Tensor> {
        let rows = match pos {
            Some(pos) => self.table.forward(pos).map_err(|error| self.beyond(pos).unwrap_or(error))?,
            None if n > self.max_seq_len => {
                return Error::shape(format!(
                    "a sequence of {n} is longer than `max_seq_len` ({}), which absolute positions cover",
                    self.max_seq_len
                ))
            }
            None => self.table.first(n)?,
        };
        Ok(ops::affine(&rows, self.scale, 0.0)?)
    }

    /// An error that names a position which the table does not have.
    fn beyond(&self, pos: &Tensor) -> Option<Error> {
        let values = pos.array().ok()?.to_device(&Device::Cpu).ok()?.flatten_all().ok()?.to_vec1::<i64>().ok()?;
        let bad = values.iter().find(|p| usize::try_from(**p).map_or(true, |p| p >= self.max_seq_len))?;
        let most = self.max_seq_len.saturating_sub(1);
        Some(Error::Shape(format!("pos has {bad}: positions go from 0 to {most}, as `max_seq_len` is {}", most + 1)))
    }
}
