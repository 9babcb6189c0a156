//! The operands, sizes and tile positions that all blocks of an attention share.

use super::inputs::AttentionArgs;
use super::tiles::{Limits, WIDTH};
use crate::host::gemm::blas::Blas;
use crate::host::gemm::product::product_into;
use crate::host::gemm::view::{Init, View};
use crate::host::{self, Slice};
use crate::ops::dropout::Dropout;
use crate::ops::reduce;
use crate::ops::softmax::MaskRows;
use crate::{Array, Result};
use gemm::Parallelism;
use std::ops::Range;

/// Reduces `grad`, (batch, heads, n, width), to the number of heads of `like`: if `like` has a
/// single head that all query heads share, its gradient is the sum over the heads.
pub(super) fn sum_heads(grad: &Array, like: &Array) -> Result<Array> {
    if grad.dim(1)? == like.dim(1)? {
        return Ok(grad.clone());
    }
    reduce::sum(grad, &[1])
}

/// A strided operand, (batch, heads, n, width), from which the matrix of each head is taken.
pub(super) struct Operand<'a, T> {
    /// The storage of the array.
    pub values: Slice<'a, T>,
    /// Index of the first element in `values`.
    pub start: usize,
    /// Strides over (batch, heads, n, width); 0 for the heads if all share one.
    pub strides: [usize; 4],
}

impl<'a, T: Blas> Operand<'a, T> {
    /// Wraps `array`, (batch, heads or 1, n, width).
    pub fn new(array: &'a Array, heads: usize) -> Result<Self> {
        let (values, start) = host::strided::<T>(array)?;
        let s = array.stride();
        let by_head = if array.dim(1)? == heads { s[1] } else { 0 };
        Ok(Self { values, start, strides: [s[0], by_head, s[2], s[3]] })
    }

    /// The matrix (n - row, width) of one head, starting at row `row`.
    pub fn head(&self, batch: usize, head: usize, row: usize) -> View<'_, T> {
        let [b, h, n, d] = self.strides;
        let data =
            self.values.get(self.start + batch * b + head * h + row * n..).unwrap_or_default();
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

/// The state that all blocks of an attention share.
pub(super) struct Attention<'a, T> {
    /// Queries, (batch, heads, i, d).
    pub q: Operand<'a, T>,
    /// Keys, (batch, heads or 1, j, d).
    pub k: Operand<'a, T>,
    /// Values, (batch, heads or 1, j, dv).
    pub v: Operand<'a, T>,
    /// Bias by distance, (heads, i + j - 1).
    pub bias: Option<Slice<'a, T>>,
    /// The mask of each row of scores.
    pub rows: MaskRows<'a>,
    /// The sizes.
    pub sizes: Sizes,
    /// Factor of the products of queries and keys.
    pub scale: T,
    /// Dropout of the weights.
    pub dropout: Option<Dropout>,
}

impl<'a, T: Blas> Attention<'a, T> {
    /// Returns the batch size and the shared state. `bias` is `of.bias` in row-major order.
    pub fn new(of: &'a AttentionArgs, bias: Option<&'a Array>) -> Result<(usize, Self)> {
        let (batch, sizes) = sizes(of)?;
        let Sizes { heads, i, j, .. } = sizes;
        let rows = MaskRows::with_dims([batch, heads, i, j], &of.mask)?;
        let bias = bias.map(host::slice::<T>).transpose()?;
        let (q, k, v) =
            (Operand::new(&of.q, heads)?, Operand::new(&of.k, heads)?, Operand::new(&of.v, heads)?);
        Ok((
            batch,
            Self { q, k, v, bias, rows, sizes, scale: T::of(of.scale), dropout: of.dropout },
        ))
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
        Limits { bias, allowed, visible: within(visible.start)..within(visible.end) }
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
