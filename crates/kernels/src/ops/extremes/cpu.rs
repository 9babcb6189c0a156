//! The CPU implementation.

use crate::host::parallel::{assume_init_mut, build_uninit, map, nth_chunk, rows_per_piece, PIECE};
use crate::ops::elementwise::is_nan;
use crate::{host, Array, Element, Result};
use std::mem::MaybeUninit;
use xt_macros::simd;

/// The greater number, or `x` if it is NaN. A NaN in `best` stays.
#[inline(always)]
pub(super) fn larger<T: Element>(best: T, x: T) -> T {
    if x > best || is_nan(x) {
        x
    } else {
        best
    }
}

/// The smaller number, or `x` if it is NaN. A NaN in `best` stays.
#[inline(always)]
pub(super) fn smaller<T: Element>(best: T, x: T) -> T {
    if x < best || is_nan(x) {
        x
    } else {
        best
    }
}

/// Number of independent accumulators, so that comparisons do not wait for each other.
const LANES: usize = 32;

/// Reduces a row, which is not empty, by `join`.
#[inline(always)]
fn reduce_row<T: Element>(row: &[T], join: impl Fn(T, T) -> T) -> T {
    let (chunks, rest) = row.as_chunks::<LANES>();
    let mut best = row[0];
    if let [first, others @ ..] = chunks {
        let mut lanes = *first;
        for chunk in others {
            for l in 0..LANES {
                lanes[l] = join(lanes[l], chunk[l]);
            }
        }
        for x in lanes {
            best = join(best, x);
        }
    }
    for x in rest {
        best = join(best, *x);
    }
    best
}

#[simd]
pub(super) fn row_max<T: Element>(row: &[T]) -> T {
    reduce_row(row, larger)
}

#[simd]
pub(super) fn row_min<T: Element>(row: &[T]) -> T {
    reduce_row(row, smaller)
}

/// Reduces values of shape (outer, count, inner) over the middle axis, which is not empty.
pub(super) fn extreme_axis<T: Element>(
    xs: &[T],
    (outer, count, inner): (usize, usize, usize),
    reduce_row: fn(&[T]) -> T,
    join: fn(T, T) -> T,
) -> Result<Vec<T>> {
    if inner == 1 {
        return Ok(map(outer, rows_per_piece(count), |row| {
            reduce_long_row(nth_chunk(xs, row, count), reduce_row)
        }));
    }
    let size = (PIECE / count).max(64);
    let write = |piece: usize, mut ys: &mut [MaybeUninit<T>]| {
        let mut at = piece * size;
        while !ys.is_empty() {
            let (block, first) = (nth_chunk(xs, at / inner, count * inner), at % inner);
            let (now, rest) = ys.split_at_mut(ys.len().min(inner - first));
            let mut rows = block.chunks_exact(inner).map(|row| &row[first..][..now.len()]);
            let top = rows.next().unwrap_or_default();
            now.iter_mut().zip(top).for_each(|(y, x)| *y = MaybeUninit::new(*x));
            // SAFETY: the line above has written every element, since the first row is as long as
            // `now`.
            let best = unsafe { assume_init_mut(&mut *now) };
            block.chunks_exact(inner).skip(1).for_each(|row| {
                best.iter_mut().zip(&row[first..]).for_each(|(y, x)| *y = join(*y, *x));
            });
            at += best.len();
            ys = rest;
        }
    };
    // SAFETY: `write` fills its piece until it is complete.
    unsafe { build_uninit(outer * inner, size, write) }
}

/// Reduces a row, on several threads if it is long.
fn reduce_long_row<T: Element>(row: &[T], reduce_row: fn(&[T]) -> T) -> T {
    if row.len() <= PIECE {
        return reduce_row(row);
    }
    reduce_long_row(
        &map(row.len().div_ceil(PIECE), 1, |i| reduce_row(nth_chunk(row, i, PIECE))),
        reduce_row,
    )
}

/// Computes the index of the extreme, which `reduce_row` finds, along the last axis; `x` is
/// contiguous.
pub(super) fn position_on_last_axis<T: Element>(
    x: &Array,
    reduce_row: fn(&[T]) -> T,
) -> Result<Array> {
    let (rows, width) = host::rows_and_width(x);
    let xs = host::slice::<T>(x)?;
    let xs: &[T] = &xs;
    let index = |row: usize| {
        let row = nth_chunk(xs, row, width);
        let top = reduce_long_row(row, reduce_row);
        row.iter().position(|x| *x == top || is_nan(*x)).unwrap_or(0) as i64
    };
    let indices = map(rows, rows_per_piece(width), index);
    let mut dims = x.dims().to_vec();
    dims[x.rank() - 1] = 1;
    host::array(indices, dims)
}
