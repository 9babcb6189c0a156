//! The operands, sizes and tile positions that all blocks of an attention share.

use super::inputs::AttentionArgs;
use super::tiles::{Limits, Row, WIDTH};
use crate::host::gemm::blas::Blas;
use crate::host::gemm::product::product_into;
use crate::host::gemm::view::{Init, View};
use crate::host::{self, Slice};
use crate::ops::dropout::Dropout;
use crate::ops::layout::contiguous;
use crate::ops::reduce;
use crate::ops::softmax::MaskRows;
use crate::{Array, Result};
use gemm::Parallelism;
use std::ops::Range;

/// Reduces `grad`, (batch, heads, n, width), to the number of heads of `like`, (batch, key heads,
/// n, width): the gradient of a head that several query heads share is the sum over them.
pub(super) fn sum_heads(grad: &Array, like: &Array) -> Result<Array> {
    let ((batch, heads, n, width), shared) = (grad.dims4()?, like.dim(1)?);
    if heads == shared {
        return Ok(grad.clone());
    }
    // the heads are the last but one axis in memory
    let by_row = grad.transpose(1, 2)?.reshape((batch, n, shared, heads / shared, width))?;
    reduce::sum(&by_row, &[3])?.reshape((batch, n, shared, width))?.transpose(1, 2)
}

/// A strided operand, (batch, heads, n, width), from which the matrix of each head is taken.
pub(super) struct Operand<'a, T> {
    /// The storage of the array.
    pub values: Slice<'a, T>,
    /// Index of the first element in `values`.
    pub start: usize,
    /// Strides over (batch, heads, n, width).
    pub strides: [usize; 4],
    /// The number of query heads that share a head.
    pub group: usize,
}

impl<'a, T: Blas> Operand<'a, T> {
    /// Wraps `array`, (batch, some heads, n, width), whose number of heads divides `heads`.
    pub fn new(array: &'a Array, heads: usize) -> Result<Self> {
        let (values, start) = host::strided::<T>(array)?;
        let s = array.stride();
        let group = heads / array.dim(1)?.max(1);
        Ok(Self { values, start, strides: [s[0], s[1], s[2], s[3]], group: group.max(1) })
    }

    /// The matrix (n - row, width) of the head for a query head, starting at row `row`.
    pub fn head(&self, batch: usize, head: usize, row: usize) -> View<'_, T> {
        let [b, h, n, d] = self.strides;
        let at = self.start + batch * b + head / self.group * h + row * n;
        let data = self.values.get(at..).unwrap_or_default();
        View { data, row: n as isize, column: d as isize }
    }
}

/// Computes a matrix product of size (m, n, k) on the current thread: the parallelism is over
/// heads. `stride` is the leading dimension of `y`.
pub(super) fn multiply<T: Blas>(
    (y, stride): (&mut [T], usize),
    size: (usize, usize, usize),
    a: View<T>,
    b: View<T>,
    alpha: T,
    init: Init<T>,
) {
    product_into(y, stride, size, a, b, alpha, init, Parallelism::None);
}

/// The sizes of one attention.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    /// Number of query heads.
    pub heads: usize,
    /// Number of queries.
    pub i: usize,
    /// Number of keys.
    pub j: usize,
    /// Features of a query and a key of one head.
    pub d: usize,
    /// Features of a value of one head.
    pub dv: usize,
}

/// Returns the batch size and the sizes of an attention.
fn sizes(of: &AttentionArgs) -> Result<(usize, Sizes)> {
    let ((batch, heads, i, d), (_, _, j, dv)) = (of.q.dims4()?, of.v.dims4()?);
    Ok((batch, Sizes { heads, i, j, d, dv }))
}

/// What has one row for each head, in row-major order.
pub(super) struct ByHead {
    /// Bias by distance, (heads, i + j - 1).
    pub bias: Option<Array>,
    /// Sinks, (heads, count).
    pub sinks: Option<Array>,
}

impl ByHead {
    pub fn new(of: &AttentionArgs) -> Result<Self> {
        let rows = |array: &Option<Array>| array.as_ref().map(contiguous).transpose();
        Ok(Self { bias: rows(&of.bias)?, sinks: rows(&of.sinks)? })
    }
}

/// The state that all blocks of an attention share.
pub(super) struct Attention<'a, T> {
    /// Queries, (batch, heads, i, d).
    pub q: Operand<'a, T>,
    /// Keys, (batch, key heads, j, d).
    pub k: Operand<'a, T>,
    /// Values, (batch, value heads, j, dv).
    pub v: Operand<'a, T>,
    /// Bias by distance, (heads, i + j - 1).
    pub bias: Option<Slice<'a, T>>,
    /// The sinks of each head, (heads, count).
    pub sinks: Option<Slice<'a, T>>,
    /// The mask of each row of scores.
    pub rows: MaskRows<'a>,
    /// The sizes.
    pub sizes: Sizes,
    /// Factor of the products of queries and keys.
    pub scale: T,
    /// The limit of the scores.
    pub softcap: Option<T>,
    /// Dropout of the weights.
    pub dropout: Option<Dropout>,
}

impl<'a, T: Blas> Attention<'a, T> {
    /// Returns the batch size and the shared state. `by_head` has `of.bias` and `of.sinks`.
    pub fn new(of: &'a AttentionArgs, by_head: &'a ByHead) -> Result<(usize, Self)> {
        let (batch, sizes) = sizes(of)?;
        let Sizes { heads, i, j, .. } = sizes;
        Ok((
            batch,
            Self {
                q: Operand::new(&of.q, heads)?,
                k: Operand::new(&of.k, heads)?,
                v: Operand::new(&of.v, heads)?,
                bias: by_head.bias.as_ref().map(host::slice::<T>).transpose()?,
                sinks: by_head.sinks.as_ref().map(host::slice::<T>).transpose()?,
                rows: MaskRows::with_dims([batch, heads, i, j], &of.mask)?,
                sizes,
                scale: T::of(of.scale),
                softcap: of.softcap.map(T::of),
                dropout: of.dropout,
            },
        ))
    }

    /// The sinks of one head.
    pub fn sinks_of(&self, head: usize) -> &[T] {
        let Some(sinks) = &self.sinks else { return &[] };
        let count = sinks.len() / self.sizes.heads;
        &sinks[head * count..(head + 1) * count]
    }

    /// The softmax statistics of a query of a head before the first key: those of the sinks.
    pub fn start(&self, head: usize) -> Row<T> {
        let sinks = self.sinks_of(head);
        let mut start = Row::START;
        for sink in sinks {
            start.top = if *sink > start.top { *sink } else { start.top };
        }
        for sink in sinks {
            start.sum += (*sink - start.top).exp::<false>();
        }
        start
    }

    /// The bias of the scores of query `row` in head `head`, one number per key.
    pub fn bias_of(&self, head: usize, row: usize) -> Option<&[T]> {
        let Sizes { i, j, .. } = self.sizes;
        let bias: &[T] = self.bias.as_ref()?;
        bias.get(head * (i + j - 1) + i - 1 - row..)
    }

    /// Writes the dropout factors of the weights of one query into `factors`, from key `first` on.
    /// `row` is the index of the query among all queries of all heads and batch elements.
    pub fn factors(&self, dropout: Dropout, row: usize, first: usize, factors: &mut [T]) {
        // The index of a weight may exceed 32 bits, since the weights are never all in memory.
        dropout.factors(row as u64 * self.sizes.j as u64 + first as u64, factors);
    }

    /// The weights of query `row`, an index among all queries, if no key is allowed: all keys have
    /// the same weight, times its dropout factor.
    pub fn uniform_weights(&self, row: usize) -> Vec<T> {
        let mut uniform_weights = vec![T::ONE; self.sizes.j];
        if let Some(dropout) = self.dropout {
            self.factors(dropout, row, 0, &mut uniform_weights);
        }
        let count = T::of(uniform_weights.len() as f64);
        uniform_weights.iter_mut().for_each(|weight| *weight /= count);
        uniform_weights
    }

    /// The bias, the mask and the range of visible keys for one row of a tile of `width` keys.
    /// `line` is a buffer for the mask if it is not contiguous.
    pub fn limits<'b>(
        &'b self,
        place: TilePosition,
        width: usize,
        line: &'b mut Vec<u8>,
    ) -> Limits<'b, T> {
        let TilePosition { unit, query, key } = place;
        let Sizes { heads, i, .. } = self.sizes;
        let row = unit * i + query;
        let bias = self.bias_of(unit % heads, query).and_then(|bias| bias.get(key..));
        let allowed = self.rows.allowed(row, line).and_then(|allowed| allowed.get(key..));
        let visible = self.rows.visible(row);
        let within = |at: usize| at.saturating_sub(key).min(width);
        let visible = within(visible.start)..within(visible.end);
        Limits { bias, softcap: self.softcap, allowed, visible }
    }

    /// Key ranges of the tiles that at least one of `count` queries of a head sees, starting at
    /// query `first`.
    pub fn tiles(
        &self,
        unit: usize,
        first: usize,
        count: usize,
    ) -> impl Iterator<Item = Range<usize>> {
        let row = unit * self.sizes.i + first;
        let Range { start, end } = self.rows.visible_to_any(row, count);
        (start / WIDTH * WIDTH..end).step_by(WIDTH).map(move |key| key..end.min(key + WIDTH))
    }
}

/// The position of a row of a tile.
#[derive(Clone, Copy)]
pub(super) struct TilePosition {
    /// Index of the head among all heads of the batch: batch · heads + head.
    pub unit: usize,
    /// Index of the query.
    pub query: usize,
    /// Index of the first key.
    pub key: usize,
}

/// Splits an array (batch, n, heads, width) into its rows, grouped by batch element and head, so
/// that threads can write different heads at the same time.
pub(super) fn rows_by_head<T>(
    y: &mut [T],
    n: usize,
    heads: usize,
    width: usize,
) -> Vec<Vec<&mut [T]>> {
    let batch = y.len().checked_div(n * heads * width).unwrap_or(0);
    let mut rows: Vec<Vec<&mut [T]>> = (0..batch * heads).map(|_| Vec::with_capacity(n)).collect();
    for (at, row) in y.chunks_exact_mut(width.max(1)).enumerate() {
        rows[at / (n * heads) * heads + at % heads].push(row);
    }
    rows
}

/// Makes an array (batch, heads, n, width) from values stored as (batch, n, heads, width). With
/// this storage order, merging the heads afterwards needs no copy.
pub(super) fn from_heads_last<T: Blas>(
    values: Vec<T>,
    [batch, heads, n, width]: [usize; 4],
) -> Result<Array> {
    host::array(values, (batch, n, heads, width))?.transpose(1, 2)
}
