//! Operands, sizes and places of an attention, which all of its blocks share.

use super::inputs::AttentionArgs;
use super::tiles::{Limits, WIDTH};
use crate::host::gemm::blas::Blas;
use crate::host::gemm::product::product;
use crate::host::gemm::view::{Init, View};
use crate::host::{self, Slice};
use crate::ops::dropout::Dropout;
use crate::ops::reduce;
use crate::ops::softmax::Rows;
use crate::{Array, Result};
use gemm::Parallelism;
use std::ops::Range;

/// One head for all gets the sum of what each would get.
pub(super) fn sum_heads(grad: &Array, like: &Array) -> Result<Array> {
    if grad.dim(1)? == like.dim(1)? {
        return Ok(grad.clone());
    }
    reduce::sum(grad, &[1])
}

/// An operand, of which each head's part is a matrix at some place of its storage.
pub(super) struct Operand<'a, T> {
    pub values: Slice<'a, T>,
    pub start: usize,
    pub strides: [usize; 4],
}

impl<'a, T: Blas> Operand<'a, T> {
    pub fn new(array: &'a Array, heads: usize) -> Result<Self> {
        let (values, start) = host::strided::<T>(array)?;
        let s = array.stride();
        let by_head = if array.dim(1)? == heads { s[1] } else { 0 };
        Ok(Self { values, start, strides: [s[0], by_head, s[2], s[3]] })
    }

    /// The matrix (length, width) of a head, from row `row` on.
    pub fn head(&self, batch: usize, head: usize, row: usize) -> View<'_, T> {
        let [b, h, n, d] = self.strides;
        let data = self.values.get(self.start + batch * b + head * h + row * n..).unwrap_or_default();
        View { data, row: n as isize, column: d as isize }
    }
}

/// A product on this thread: heads are what is shared over threads. Rows of `y` begin `stride` numbers after each other.
pub(super) fn multiply<T: Blas>(
    (y, stride): (&mut [T], usize),
    size: (usize, usize, usize),
    a: View<T>,
    b: View<T>,
    alpha: T,
    start: Init<T>,
) {
    product(y, stride, size, a, b, alpha, start, Parallelism::None);
}

/// Sizes of one attention.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub heads: usize,
    pub i: usize,
    pub j: usize,
    pub d: usize,
    pub dv: usize,
}

fn sizes(of: &AttentionArgs) -> Result<(usize, Sizes)> {
    let ((batch, heads, i, d), (_, _, j, dv)) = (of.q.dims4()?, of.v.dims4()?);
    Ok((batch, Sizes { heads, i, j, d, dv }))
}

/// What is the same for all blocks of an attention.
pub(super) struct Attention<'a, T> {
    pub q: Operand<'a, T>,
    pub k: Operand<'a, T>,
    pub v: Operand<'a, T>,
    /// (heads, i + j - 1)
    pub bias: Option<Slice<'a, T>>,
    pub rows: Rows<'a>,
    pub sizes: Sizes,
    pub scale: T,
    pub dropout: Option<Dropout>,
}

impl<'a, T: Blas> Attention<'a, T> {
    /// `bias` is that of `of`, row by row.
    pub fn new(of: &'a AttentionArgs, bias: Option<&'a Array>) -> Result<(usize, Self)> {
        let (batch, sizes) = sizes(of)?;
        let Sizes { heads, i, j, .. } = sizes;
        let rows = Rows::with_dims([batch, heads, i, j], &of.mask)?;
        let bias = bias.map(host::slice::<T>).transpose()?;
        let (q, k, v) = (Operand::new(&of.q, heads)?, Operand::new(&of.k, heads)?, Operand::new(&of.v, heads)?);
        Ok((batch, Self { q, k, v, bias, rows, sizes, scale: T::of(of.scale), dropout: of.dropout }))
    }

    /// What is added to the scores of query `row` of a head, for each key.
    pub fn bias_of(&self, head: usize, row: usize) -> Option<&[T]> {
        let Sizes { i, j, .. } = self.sizes;
        let bias: &[T] = self.bias.as_ref()?;
        bias.get(head * (i + j - 1) + i - 1 - row..)
    }

    /// What dropout multiplies the weights with that query number `row` of all gives to the keys from number `first` on.
    pub fn factors(&self, dropout: Dropout, row: usize, first: usize, factors: &mut [T]) {
        // more than 32 bits have, where nothing holds all weights
        dropout.factors(row as u64 * self.sizes.j as u64 + first as u64, factors);
    }

    /// What query number `row` of all gives to each key, where it weighs all alike.
    pub fn shares(&self, row: usize) -> Vec<T> {
        let mut shares = vec![T::ONE; self.sizes.j];
        if let Some(dropout) = self.dropout {
            self.factors(dropout, row, 0, &mut shares);
        }
        let count = T::of(shares.len() as f64);
        shares.iter_mut().for_each(|share| *share /= count);
        shares
    }

    /// What is added to the scores of a tile that begins at key `first`, and what it leaves of them: bias, mask, and number of keys.
    pub fn limits<'b>(&'b self, place: TilePosition, width: usize, line: &'b mut Vec<u8>) -> Limits<'b, T> {
        let TilePosition { unit, query, key } = place;
        let Sizes { heads, i, .. } = self.sizes;
        let row = unit * i + query;
        let bias = self.bias_of(unit % heads, query).and_then(|bias| bias.get(key..));
        let allowed = self.rows.allowed(row, line).and_then(|allowed| allowed.get(key..));
        let seen = self.rows.seen(row);
        let within = |at: usize| at.saturating_sub(key).min(width);
        Limits { bias, allowed, seen: within(seen.start)..within(seen.end) }
    }

    /// The keys of the tiles that `count` queries of a head see any of, from query `first` on.
    pub fn tiles(&self, unit: usize, first: usize, count: usize) -> impl Iterator<Item = Range<usize>> {
        let row = unit * self.sizes.i + first;
        let (start, end) = (self.rows.seen(row).start / WIDTH * WIDTH, self.rows.seen(row + count - 1).end);
        (start..end).step_by(WIDTH).map(move |key| key..end.min(key + WIDTH))
    }
}

/// Where a row of a tile is: head (of all of the batch), query, and first key.
#[derive(Clone, Copy)]
pub(super) struct TilePosition {
    pub unit: usize,
    pub query: usize,
    pub key: usize,
}

/// The rows of an array in the order (batch, n, heads, width), for each batch and head: what threads can write at the same time.
pub(super) fn rows_by_head<T>(y: &mut [T], n: usize, heads: usize, width: usize) -> Vec<Vec<&mut [T]>> {
    let batch = y.len().checked_div(n * heads * width).unwrap_or(0);
    let mut rows: Vec<Vec<&mut [T]>> = (0..batch * heads).map(|_| Vec::with_capacity(n)).collect();
    for (at, row) in y.chunks_exact_mut(width.max(1)).enumerate() {
        rows[at / (n * heads) * heads + at % heads].push(row);
    }
    rows
}

/// An array (batch, heads, n, width) from values in the order (batch, n, heads, width): layers merge the heads again, which then is
/// no copy.
pub(super) fn heads_last<T: Blas>(values: Vec<T>, [batch, heads, n, width]: [usize; 4]) -> Result<Array> {
    host::array(values, (batch, n, heads, width))?.transpose(1, 2)
}
