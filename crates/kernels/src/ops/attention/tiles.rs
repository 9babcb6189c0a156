//! Tiles of scores, some queries by some keys.

use crate::host::gemm::blas::Blas;
use crate::host::gemm::view::View;
use crate::host::scratch::{padded_stride, Scratch};
use crate::host::simd::{has_fma, map_in_place, max, sum_by, sum_by2, whole_vectors, zip_in_place};
use crate::Result;
use multiversion::multiversion;
use std::any::Any;
use std::cell::Cell;
use std::ops::Range;

/// How many of `i` queries make a block. Under causality a block computes scores that all but its last query hide: few, where blocks are
/// small beside the sequence. But each block reads keys and values anew. In WebAssembly the product takes three rows at a time.
pub(super) fn block_size(i: usize) -> usize {
    match i {
        0..=64 if cfg!(target_family = "wasm") => 24,
        _ if cfg!(target_family = "wasm") => 36,
        0..=64 => 16,
        65..=512 => 48,
        _ => 96,
    }
}

/// Keys of a tile: its scores for a block of queries stay in the second cache.
pub(super) const WIDTH: usize = 512;

/// From a row of a tile to the next.
pub(super) fn stride(j: usize) -> usize {
    padded_stride(j.min(WIDTH))
}

/// What a thread works with, head after head.
#[derive(Default)]
pub(super) struct Workspace<T> {
    /// Copies of a head's keys and values, for all blocks.
    pub keys: Scratch<T>,
    pub turned_keys: Scratch<T>,
    pub values: Scratch<T>,
    /// Tiles.
    pub weights: Scratch<T>,
    pub grad: Scratch<T>,
    pub dropped: Scratch<T>,
    /// Gathered by a block of queries.
    pub gathered: Scratch<T>,
    /// Gradients of a head's keys and values.
    pub dk: Scratch<T>,
    pub dv: Scratch<T>,
}

impl<T: Blas> Workspace<T> {
    /// Runs `f` with what this thread keeps.
    pub fn with<R>(f: impl FnOnce(&mut Self) -> R) -> R {
        thread_local!(static KEPT: Cell<Option<Box<dyn Any>>> = const { Cell::new(None) });
        let mut workspace = KEPT.take().and_then(|kept| kept.downcast::<Self>().ok()).unwrap_or_default();
        let result = f(&mut workspace);
        if workspace.size() <= MOST_KEPT {
            KEPT.set(Some(workspace));
        }
        result
    }

    /// Numbers of all buffers.
    fn size(&self) -> usize {
        let Self { keys, turned_keys, values, weights, grad, dropped, gathered, dk, dv } = self;
        [keys, turned_keys, values, weights, grad, dropped, gathered, dk, dv].iter().map(|buffer| buffer.len()).sum()
    }
}

/// An error where there is no room for what the threads work with: `units` heads of j keys.
pub(super) fn check_room<T: Blas>(units: usize, j: usize, (d, dv): (usize, usize)) -> Result<()> {
    let threads = crate::host::parallel::threads().min(units);
    // keys, keys values, and the gradients of both
    crate::memory::alloc::check(&[threads, j, 3 * padded_stride(d) + 2 * padded_stride(dv)], T::DTYPE)
}

/// More numbers than these are not kept: sequences are long then, and the time to take the memory again is little beside the work.
const MOST_KEPT: usize = 4 << 20;

/// Keys or values, (j, width), turned once for all blocks, where there are several: products would do it for each.
pub(super) struct Transposed<'a, T> {
    rows: View<'a, T>,
    width: usize,
    j: usize,
    /// (width, keys of the tile), tile by tile, with rows [`apart`]; nothing where they were not turned.
    turned: &'a [T],
}

impl<'a, T: Blas> Transposed<'a, T> {
    pub fn new(rows: View<'a, T>, (j, width): (usize, usize), blocks: usize, buffer: &'a mut Scratch<T>) -> Self {
        let mut turned: &[T] = &[];
        if blocks > 1 && rows.column == 1 {
            let tiles = (0..j).step_by(WIDTH).map(|first| (first, (j - first).min(WIDTH)));
            let all = buffer.of(tiles.clone().map(|(_, count)| width * padded_stride(count)).sum());
            for (first, count) in tiles {
                let into = &mut all[width * first / WIDTH * padded_stride(WIDTH)..];
                let from = &rows.data[first * rows.row as usize..];
                T::transpose(into, padded_stride(count), from, rows.row as usize, (count, width));
            }
            turned = all;
        }
        Self { rows, width, j, turned }
    }

    /// The tile from row `first` on, as (width, keys).
    pub fn tile(&self, first: usize) -> View<'_, T> {
        if self.turned.is_empty() {
            let View { data, row, column } = from(self.rows, first);
            return View { data, row: column, column: row };
        }
        debug_assert!(first.is_multiple_of(WIDTH) && first < self.j);
        let data = &self.turned[self.width * first / WIDTH * padded_stride(WIDTH)..];
        View { data, row: padded_stride((self.j - first).min(WIDTH)) as isize, column: 1 }
    }
}

/// The rows from `first` on.
pub(super) fn from<T>(rows: View<'_, T>, first: usize) -> View<'_, T> {
    View { data: rows.data.get(first * rows.row as usize..).unwrap_or_default(), ..rows }
}

/// Keys or values, (j, width), copied once for all blocks, where there are several and they lie between those of other heads.
pub(super) fn together<'a, T: Blas>(
    rows: View<'a, T>,
    (j, width): (usize, usize),
    blocks: usize,
    buffer: &'a mut Scratch<T>,
) -> View<'a, T> {
    if blocks <= 1 || rows.column != 1 {
        return rows;
    }
    let stride = padded_stride(width);
    let data = buffer.of(j * stride);
    for (r, into) in data.chunks_exact_mut(stride).enumerate() {
        into[..width].copy_from_slice(&rows.data[r * rows.row as usize..][..width]);
    }
    View { data, row: stride as isize, column: 1 }
}

/// What softmax knows of a row after some of its keys.
#[derive(Clone, Copy)]
pub(super) struct Row<T> {
    /// The largest score.
    pub top: T,
    /// The sum of the exponentials of all scores, less `top`.
    pub sum: T,
}

impl<T: Blas> Row<T> {
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

impl<T: Blas> Limits<'_, T> {
    /// The scores that are seen, with the bias, and the lowest number where nothing is allowed.
    #[inline(always)]
    fn apply<'b>(&self, scores: &'b mut [T]) -> &'b mut [T] {
        let seen = self.seen.clone();
        let scores = &mut scores[seen.clone()];
        if let Some(bias) = self.bias {
            scores.iter_mut().zip(&bias[seen.clone()]).for_each(|(x, b)| *x += *b);
        }
        if let Some(allowed) = self.allowed {
            scores.iter_mut().zip(&allowed[seen]).for_each(|(x, a)| *x = if *a != 0 { *x } else { T::LOWEST });
        }
        scores
    }

    /// Makes `f` of the scores that are seen, and 0 of the others; gives those that are seen, with some zeros behind them.
    #[inline(always)]
    fn map<'b>(&self, scores: &'b mut [T], f: impl Fn(T) -> T) -> &'b mut [T] {
        let whole = whole_vectors(&self.seen, scores.len());
        map_in_place(&mut scores[whole.clone()], f);
        scores[..self.seen.start].fill(T::ZERO);
        scores[self.seen.end..].fill(T::ZERO);
        &mut scores[whole]
    }
}

/// Makes exponentials of a row of scores, less the largest so far, and 0 of those that do not count. The row after these keys, and what all that
/// was gathered before is to be multiplied with. Rows of which nothing is allowed hold nothing of use.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(super) fn weigh<T: Blas>(scores: &mut [T], limits: &Limits<T>, before: Row<T>) -> (Row<T>, T) {
    const FMA: bool = has_fma!();
    let largest = max(limits.apply(scores));
    let top = if largest > before.top { largest } else { before.top };
    let seen = limits.map(scores, |v| (v - top).exp_down::<FMA>());
    let scale = (before.top - top).exp_down::<FMA>();
    (Row { top, sum: before.sum * scale + sum_by(seen, |v| v) }, scale)
}

/// Makes weights of a row of scores, where `row` is what [`weigh`] found in the end.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(super) fn weigh_again<T: Blas>(scores: &mut [T], limits: &Limits<T>, row: Row<T>) {
    const FMA: bool = has_fma!();
    if row.is_uniform() {
        return scores.fill(T::ZERO);
    }
    limits.apply(scores);
    let scale = T::ONE / row.sum;
    limits.map(scores, |v| (v - row.top).exp_down::<FMA>() * scale);
}

/// The sum of products of the first rows' numbers.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(super) fn product_of_rows<T: Blas>(a: View<T>, b: View<T>, width: usize) -> T {
    if a.column == 1 && b.column == 1 {
        return sum_by2(&a.data[..width], &b.data[..width], |a, b| a * b);
    }
    let mut sum = T::ZERO;
    for c in 0..width {
        sum += a.data[c * a.column as usize] * b.data[c * b.column as usize];
    }
    sum
}

/// Makes gradients of scores of those of the weights, in place: of those that are `seen`, and 0 of the others. `along` is the sum of all weights, each
/// times its gradient.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(super) fn scores_gradient<T: Blas>(weights: &[T], grad: &mut [T], seen: Range<usize>, along: T) {
    let whole = whole_vectors(&seen, grad.len().min(weights.len()));
    zip_in_place(&mut grad[whole.clone()], &weights[whole], |g, w| w * (g - along));
    grad[..seen.start].fill(T::ZERO);
    grad[seen.end..].fill(T::ZERO);
}
