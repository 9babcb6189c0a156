//! Tiles of scores, some queries by some keys.

use super::View;
use crate::cpu::Real;
use crate::simd::{max, sum_by};
use multiversion::multiversion;
use std::ops::Range;

/// How many of `i` queries make a block. Under causality a block computes scores that all but its last query hide: few, where blocks are
/// small beside the sequence. But for each block, the keys and values are packed anew, which costs less in WebAssembly, where the
/// product takes three rows at a time.
pub(super) fn block_size(i: usize) -> usize {
    match i {
        0..=64 if cfg!(target_family = "wasm") => 24,
        _ if cfg!(target_family = "wasm") => 36,
        0..=64 => 16,
        65..=512 => 96,
        _ => 192,
    }
}

/// Keys of a tile: its scores for a block of queries stay in the second cache.
pub(super) const WIDTH: usize = 512;

/// From a row of a tile to the next: some more than its keys, as rows that lie a power of two apart would all want the same places of the first cache.
pub(super) fn stride(j: usize) -> usize {
    const APART: usize = 16;
    j.min(WIDTH) + if cfg!(target_family = "wasm") { 0 } else { APART }
}

/// Keys or values, (j, width), turned once for all blocks, where there are several: products would do it for each. That of WebAssembly turns what
/// it packs as fast as it would copy.
pub(super) struct Turned<'a, T> {
    rows: View<'a, T>,
    width: usize,
    /// (width, keys of the tile), tile by tile.
    turned: Vec<T>,
}

impl<'a, T: Real> Turned<'a, T> {
    pub fn new(rows: View<'a, T>, (j, width): (usize, usize), blocks: usize) -> Self {
        let mut turned = Vec::new();
        if blocks > 1 && rows.column == 1 && !cfg!(target_family = "wasm") {
            turned = vec![T::ZERO; j * width];
            for (tile, into) in turned.chunks_mut(WIDTH * width).enumerate() {
                let count = into.len() / width;
                T::turn(into, count, &rows.data[tile * WIDTH * rows.row as usize..], rows.row as usize, (count, width));
            }
        }
        Self { rows, width, turned }
    }

    /// The tile from row `first` on, as (width, keys), of which `keys` are asked for.
    pub fn tile(&self, first: usize, keys: usize) -> View<'_, T> {
        let View { data, row, column } = self.from(first);
        if self.turned.is_empty() {
            return View { data, row: column, column: row };
        }
        let all = self.turned.len() / self.width;
        debug_assert!(first.is_multiple_of(WIDTH) && first + keys <= all);
        View { data: &self.turned[first * self.width..], row: (all - first).min(WIDTH) as isize, column: 1 }
    }

    /// The rows from `first` on, as they are.
    pub fn from(&self, first: usize) -> View<'a, T> {
        View { data: self.rows.data.get(first * self.rows.row as usize..).unwrap_or_default(), ..self.rows }
    }
}

/// What softmax knows of a row after some of its keys.
#[derive(Clone, Copy)]
pub(super) struct Row<T> {
    /// The largest score.
    pub top: T,
    /// The sum of the exponentials of all scores, less `top`.
    pub sum: T,
}

impl<T: Real> Row<T> {
    pub const START: Self = Self { top: T::LOWEST, sum: T::ZERO };

    /// Whether nothing is allowed: then all keys weigh alike.
    pub fn is_uniform(self) -> bool {
        self.top == T::LOWEST && !self.sum.wide().is_nan()
    }
}

/// What is added to a row's scores, and which of them count.
pub(super) struct Limits<'a, T> {
    pub bias: Option<&'a [T]>,
    /// 0 for the keys that are not allowed.
    pub allowed: Option<&'a [u8]>,
    /// The keys of the tile that the query sees by its position.
    pub seen: Range<usize>,
}

impl<T: Real> Limits<'_, T> {
    /// The scores that are seen, with the bias, and the lowest number where nothing is allowed; the others become 0.
    #[inline(always)]
    fn apply<'b>(&self, scores: &'b mut [T]) -> &'b mut [T] {
        let seen = self.seen.clone();
        scores[..seen.start].fill(T::ZERO);
        scores[seen.end..].fill(T::ZERO);
        let scores = &mut scores[seen.clone()];
        if let Some(bias) = self.bias {
            scores.iter_mut().zip(&bias[seen.clone()]).for_each(|(x, b)| *x += *b);
        }
        if let Some(allowed) = self.allowed {
            scores.iter_mut().zip(&allowed[seen]).for_each(|(x, a)| *x = if *a != 0 { *x } else { T::LOWEST });
        }
        scores
    }
}

/// Makes exponentials of a row of scores, less the largest so far, and 0 of those that do not count. The row after these keys, and what all that
/// was gathered before is to be multiplied with. Rows of which nothing is allowed hold nothing of use.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(super) fn weigh<T: Real>(scores: &mut [T], limits: &Limits<T>, before: Row<T>) -> (Row<T>, T) {
    let seen = limits.apply(scores);
    let largest = max(seen);
    let top = if largest > before.top { largest } else { before.top };
    for v in seen.iter_mut() {
        *v = (*v - top).exp_down();
    }
    let scale = (before.top - top).exp_down();
    (Row { top, sum: before.sum * scale + sum_by(seen, |v| v) }, scale)
}

/// Makes weights of a row of scores, where `row` is what [`weigh`] found in the end.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(super) fn weigh_again<T: Real>(scores: &mut [T], limits: &Limits<T>, row: Row<T>) {
    if row.is_uniform() {
        return scores.fill(T::ZERO);
    }
    let seen = limits.apply(scores);
    let scale = T::ONE / row.sum;
    for v in seen.iter_mut() {
        *v = (*v - row.top).exp_down() * scale;
    }
}

/// Makes gradients of scores of those of the weights, in place: of those that are `seen`, and 0 of the others. `along` is the sum of all weights, each
/// times its gradient.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(super) fn scores_gradient<T: Real>(weights: &[T], grad: &mut [T], seen: Range<usize>, along: T) {
    grad[..seen.start].fill(T::ZERO);
    grad[seen.end..].fill(T::ZERO);
    for (g, w) in grad[seen.clone()].iter_mut().zip(&weights[seen]) {
        *g = *w * (*g - along);
    }
}
