//! The rotation of the queries, keys and values of one call.

use crate::{Array, Result, Tensor};
use xt_autograd::ops;
use xt_kernels::ops::layout::narrow;
use xt_kernels::ops::rotary::Pairs;

/// Cosines and sines for the positions of a sequence, `(n, half)` each, or of the rows of a batch,
/// `(batch n, half)`. With xpos they include its factors.
#[derive(Clone)]
pub struct SinCos {
    pub cos: Array,
    pub sin: Array,
    /// Whether each row has its own positions.
    pub by_row: bool,
}

/// What is rotated.
#[derive(Clone, Copy, Debug)]
pub struct Rotated {
    /// Which features form a pair.
    pub pairs: Pairs,
    /// The number of query heads, counted from the last, of how many; absent: all. Of the heads of
    /// keys, those that belong to them.
    pub heads: Option<(usize, usize)>,
    /// Whether the values are rotated, as the keys are.
    pub values: bool,
}

/// The tables of one call.
pub struct Rotation {
    pub(super) query: SinCos,
    pub(super) key: SinCos,
    pub(super) rotated: Rotated,
}

impl Rotation {
    /// The tables with other rows, one for each position of a batch.
    pub(super) fn each(self, rows: impl Fn(&Array) -> Result<Array>) -> Result<Self> {
        let of = |table: SinCos| -> Result<SinCos> {
            Ok(SinCos { cos: rows(&table.cos)?, sin: rows(&table.sin)?, by_row: true })
        };
        Ok(Self { query: of(self.query)?, key: of(self.key)?, ..self })
    }

    /// The rotation of queries as here and of keys as in `context`. The values of a context are
    /// not rotated.
    pub(super) fn beside(&self, context: Self) -> Self {
        let rotated = Rotated { values: false, ..self.rotated };
        Self { query: self.query.clone(), key: context.key, rotated }
    }

    /// Rotates the first `2 half` features of queries, `(batch, n, heads, dim)`.
    pub fn query(&self, q: &Tensor) -> Result<Tensor> {
        self.rotate(&self.query, q)
    }

    /// Rotates the first `2 half` features of keys, `(batch, n, heads, dim)`.
    pub fn key(&self, k: &Tensor) -> Result<Tensor> {
        self.rotate(&self.key, k)
    }

    /// Rotates values, `(batch, n, heads, dim)`, as keys, or leaves them as they are.
    pub fn value(&self, v: &Tensor) -> Result<Tensor> {
        match self.rotated.values {
            true => self.rotate(&self.key, v),
            false => Ok(v.clone()),
        }
    }

    fn rotate(&self, table: &SinCos, x: &Tensor) -> Result<Tensor> {
        let heads = x.dim(2);
        let turned = self.rotated.heads.map_or(heads, |(some, of)| some * heads / of.max(1));
        let still = heads - turned.min(heads);
        if still == 0 {
            return table.rotate(x, self.rotated.pairs);
        }
        let last = ops::narrow(x, 2, still, x.dim(2) - still)?;
        let turned = table.rotate(&last, self.rotated.pairs)?;
        Ok(ops::cat(&[&ops::narrow(x, 2, 0, still)?, &turned], 2)?)
    }
}

impl SinCos {
    /// Rotates the features of `x`, `(batch, n, heads, dim)`.
    fn rotate(&self, x: &Tensor, pairs: Pairs) -> Result<Tensor> {
        let (n, half) = self.cos.dims2()?;
        if half == 0 {
            return Ok(x.clone());
        }
        if self.by_row {
            // as one row: (1, batch n, heads, dim)
            let row = ops::reshape(x, &[1, x.dim(0) * x.dim(1), x.dim(2), x.dim(3)])?;
            let turned = ops::rotary(&row, (&self.cos, &self.sin), pairs)?;
            return Ok(ops::reshape(&turned, x.dims())?);
        }
        // a sequence shorter than the tables uses their last positions
        let (count, from) = (x.dim(1), n.saturating_sub(x.dim(1)));
        let last = |table: &Array| narrow(table, 0, from, count);
        Ok(ops::rotary(x, (&last(&self.cos)?, &last(&self.sin)?), pairs)?)
    }
}
