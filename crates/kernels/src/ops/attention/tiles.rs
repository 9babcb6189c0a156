//! Tiles of scores: a block of queries by a range of keys.

use crate::host::gemm::blas::Blas;
use crate::host::gemm::view::View;
use crate::host::scratch::{padded_stride, Scratch};
use crate::host::simd::{
    has_fma, map_in_place, max, sum_by, sum_by2, tanh, whole_vectors, zip_in_place,
};
use crate::Result;
use std::any::Any;
use std::cell::Cell;
use std::ops::Range;
use xt_macros::simd;

/// The number of queries per block, out of `i`.
///
/// Under a causal mask, a block computes scores that are hidden from all but its last query;
/// smaller blocks waste fewer of them. On the other hand, each block reads all keys and values
/// again. In WebAssembly, the matrix product processes three rows at a time, so the sizes are
/// multiples of three.
pub(super) fn block_size(i: usize) -> usize {
    match i {
        0..=64 if cfg!(target_family = "wasm") => 24,
        _ if cfg!(target_family = "wasm") => 36,
        0..=64 => 16,
        65..=512 => 48,
        _ => 96,
    }
}

/// The number of keys per tile, chosen so that the scores of a block of queries stay in the L2
/// cache.
pub(super) const WIDTH: usize = 512;

/// The leading dimension of a tile, for `j` keys.
pub(super) fn stride(j: usize) -> usize {
    padded_stride(j.min(WIDTH))
}

/// Buffers of one thread, which it reuses for each head.
#[derive(Default)]
pub(super) struct Workspace<T> {
    /// Copy of the keys of a head, shared by all blocks of queries.
    pub keys: Scratch<T>,
    /// Transposed copy of the keys.
    pub transposed_keys: Scratch<T>,
    /// Copy of the values; in the backward pass it is transposed.
    pub values: Scratch<T>,
    /// A tile of scores, then of weights.
    pub weights: Scratch<T>,
    /// A tile of gradients.
    pub grad: Scratch<T>,
    /// A tile of weights after dropout.
    pub dropped: Scratch<T>,
    /// The accumulated output, or the gradient, of a block of queries.
    pub accumulator: Scratch<T>,
    /// Gradient of the keys of a head.
    pub dk: Scratch<T>,
    /// Gradient of the values of a head.
    pub dv: Scratch<T>,
}

impl<T: Blas> Workspace<T> {
    /// Runs `f` with the workspace of this thread.
    pub fn with<R>(f: impl FnOnce(&mut Self) -> R) -> R {
        thread_local!(static WORKSPACE: Cell<Option<Box<dyn Any>>> = const { Cell::new(None) });
        let mut workspace =
            WORKSPACE.take().and_then(|kept| kept.downcast::<Self>().ok()).unwrap_or_default();
        let result = f(&mut workspace);
        if workspace.size() <= MAX_KEPT {
            WORKSPACE.set(Some(workspace));
        }
        result
    }

    /// The total number of elements of all buffers.
    fn size(&self) -> usize {
        let Self { keys, transposed_keys, values, weights, grad, dropped, accumulator, dk, dv } =
            self;
        [keys, transposed_keys, values, weights, grad, dropped, accumulator, dk, dv]
            .iter()
            .map(|buffer| buffer.len())
            .sum()
    }
}

/// Checks that the buffers of all threads can be allocated, for `units` heads of `j` keys.
///
/// # Errors
/// If they cannot.
pub(super) fn check_memory<T: Blas>(units: usize, j: usize, (d, dv): (usize, usize)) -> Result<()> {
    let threads = crate::host::parallel::threads().min(units);
    // Copies of the keys, transposed keys and values, and the gradients of keys and values.
    crate::memory::alloc::check(
        &[threads, j, 3 * padded_stride(d) + 2 * padded_stride(dv)],
        T::DTYPE,
    )
}

/// A workspace with more elements than this is freed after use. Sequences are long then, and the
/// time to allocate the memory again is small compared to the computation.
const MAX_KEPT: usize = 4 << 20;

/// Keys or values, (j, width), transposed once for all blocks of queries if there are several;
/// otherwise the matrix product would transpose them for each block.
pub(super) struct Transposed<'a, T> {
    rows: View<'a, T>,
    width: usize,
    j: usize,
    /// (width, keys of the tile) for each tile, with rows of [`padded_stride`] numbers. Empty if
    /// nothing was transposed.
    transposed: &'a [T],
}

impl<'a, T: Blas> Transposed<'a, T> {
    /// Transposes `rows` into `buffer` if there is more than one block and the rows are contiguous.
    pub fn new(
        rows: View<'a, T>,
        (j, width): (usize, usize),
        blocks: usize,
        buffer: &'a mut Scratch<T>,
    ) -> Self {
        let mut transposed: &[T] = &[];
        if blocks > 1 && rows.column == 1 {
            let tiles = (0..j).step_by(WIDTH).map(|first| (first, (j - first).min(WIDTH)));
            let all =
                buffer.get(tiles.clone().map(|(_, count)| width * padded_stride(count)).sum());
            for (first, count) in tiles {
                let into = &mut all[width * first / WIDTH * padded_stride(WIDTH)..];
                let from = &rows.data[first * rows.row as usize..];
                T::transpose(into, padded_stride(count), from, rows.row as usize, (count, width));
            }
            transposed = all;
        }
        Self { rows, width, j, transposed }
    }

    /// The tile that starts at key `first`, as a matrix (width, keys).
    pub fn tile(&self, first: usize) -> View<'_, T> {
        if self.transposed.is_empty() {
            let View { data, row, column } = skip_rows(self.rows, first);
            return View { data, row: column, column: row };
        }
        debug_assert!(first.is_multiple_of(WIDTH) && first < self.j);
        let data = &self.transposed[self.width * first / WIDTH * padded_stride(WIDTH)..];
        View { data, row: padded_stride((self.j - first).min(WIDTH)) as isize, column: 1 }
    }
}

/// The matrix without its first `first` rows.
pub(super) fn skip_rows<T>(rows: View<'_, T>, first: usize) -> View<'_, T> {
    View { data: rows.data.get(first * rows.row as usize..).unwrap_or_default(), ..rows }
}

/// Copies keys or values, (j, width), once for all blocks of queries, since the rows of a head may
/// lie between those of other heads. The rows of the copy have [`padded_stride`] numbers. Returns
/// `rows` unchanged if there is only one block or the rows are not contiguous.
pub(super) fn contiguous_rows<'a, T: Blas>(
    rows: View<'a, T>,
    (j, width): (usize, usize),
    blocks: usize,
    buffer: &'a mut Scratch<T>,
) -> View<'a, T> {
    if blocks <= 1 || rows.column != 1 {
        return rows;
    }
    let stride = padded_stride(width);
    let data = buffer.get(j * stride);
    for (r, into) in data.chunks_exact_mut(stride).enumerate() {
        into[..width].copy_from_slice(&rows.data[r * rows.row as usize..][..width]);
    }
    View { data, row: stride as isize, column: 1 }
}

/// Softmax statistics of a row, over the keys processed so far.
#[derive(Clone, Copy)]
pub(super) struct Row<T> {
    /// The maximum score.
    pub top: T,
    /// The sum of `exp(score - top)` over the scores.
    pub sum: T,
}

impl<T: Blas> Row<T> {
    /// The statistics before the first key.
    pub const START: Self = Self { top: T::LOWEST, sum: T::ZERO };

    /// Whether no key was allowed. Then all keys have the same weight.
    pub fn is_uniform(self) -> bool {
        self.top == T::LOWEST && !self.sum.as_f64().is_nan()
    }
}

/// The bias of a row of scores, and which of the scores count.
pub(super) struct Limits<'a, T> {
    /// The bias of each key of the tile.
    pub bias: Option<&'a [T]>,
    /// The limit of the scores.
    pub softcap: Option<T>,
    /// The mask of each key of the tile: 0 if the key must not be attended to.
    pub allowed: Option<&'a [u8]>,
    /// The range of keys of the tile that the query sees by its position (causal mask and window).
    pub visible: Range<usize>,
}

impl<T: Blas> Limits<'_, T> {
    /// Adds the bias to the visible scores, limits them, replaces those that the mask excludes by
    /// the lowest finite number, and returns the visible scores. `FMA` as for [`Real::exp`].
    /// `slopes` gets the derivatives of the limited scores, and may be empty.
    ///
    /// [`Real::exp`]: crate::host::Real::exp
    #[inline(always)]
    fn apply<'b, const FMA: bool>(&self, scores: &'b mut [T], slopes: &mut [T]) -> &'b mut [T] {
        let visible = self.visible.clone();
        let scores = &mut scores[visible.clone()];
        if let Some(bias) = self.bias {
            scores.iter_mut().zip(&bias[visible.clone()]).for_each(|(x, b)| *x += *b);
        }
        if let Some(cap) = self.softcap {
            let inverse = T::ONE / cap;
            map_in_place(scores, |x| cap * tanh::<T, FMA>(x * inverse));
            if !slopes.is_empty() {
                let slopes = &mut slopes[visible.clone()];
                slopes.iter_mut().zip(&*scores).for_each(|(slope, x)| {
                    let t = *x * inverse;
                    *slope = T::ONE - t * t;
                });
            }
        }
        if let Some(allowed) = self.allowed {
            scores
                .iter_mut()
                .zip(&allowed[visible])
                .for_each(|(x, a)| *x = if *a != 0 { *x } else { T::LOWEST });
        }
        scores
    }

    /// Applies `f` to the visible scores and sets the others to 0. Returns the visible scores,
    /// extended by zeros to whole SIMD vectors.
    #[inline(always)]
    fn map<'b>(&self, scores: &'b mut [T], f: impl Fn(T) -> T) -> &'b mut [T] {
        let whole = whole_vectors(&self.visible, scores.len());
        map_in_place(&mut scores[whole.clone()], f);
        scores[..self.visible.start].fill(T::ZERO);
        scores[self.visible.end..].fill(T::ZERO);
        &mut scores[whole]
    }
}

/// Online softmax: replaces a row of scores by `exp(score - top)`, where `top` is the maximum over
/// all keys so far, and by 0 where a key does not count.
///
/// Returns the updated statistics, and the factor by which the output accumulated before must be
/// multiplied. If no key of the row is allowed, the values in `scores` are meaningless.
#[simd]
pub(super) fn online_softmax<T: Blas>(
    scores: &mut [T],
    limits: &Limits<T>,
    before: Row<T>,
) -> (Row<T>, T) {
    const FMA: bool = has_fma!();
    let largest = max(limits.apply::<FMA>(scores, &mut []));
    let top = if largest > before.top { largest } else { before.top };
    let visible = limits.map(scores, |v| (v - top).exp_down::<FMA>());
    let scale = (before.top - top).exp_down::<FMA>();
    (Row { top, sum: before.sum * scale + sum_by(visible, |v| v) }, scale)
}

/// Replaces a row of scores by the softmax weights; `row` contains the final statistics of
/// [`online_softmax`]. With a softcap, `slopes` gets its derivatives at the visible scores; else it
/// is empty.
#[simd]
pub(super) fn recompute_weights<T: Blas>(
    scores: &mut [T],
    slopes: &mut [T],
    limits: &Limits<T>,
    row: Row<T>,
) {
    const FMA: bool = has_fma!();
    if row.is_uniform() {
        slopes.fill(T::ZERO);
        return scores.fill(T::ZERO);
    }
    limits.apply::<FMA>(scores, slopes);
    let scale = T::ONE / row.sum;
    limits.map(scores, |v| (v - row.top).exp_down::<FMA>() * scale);
}

/// The dot product of the first rows of two matrices, `width` elements each.
#[simd]
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

/// Backward pass of the softmax for one row: replaces the gradients of the weights by the gradients
/// of the scores, in place, and by 0 for keys that are not `visible`. `dot` is the sum over all
/// keys of weight times gradient.
#[simd]
pub(super) fn scores_gradient<T: Blas>(
    weights: &[T],
    grad: &mut [T],
    visible: Range<usize>,
    dot: T,
) {
    let whole = whole_vectors(&visible, grad.len().min(weights.len()));
    zip_in_place(&mut grad[whole.clone()], &weights[whole], |g, w| w * (g - dot));
    grad[..visible.start].fill(T::ZERO);
    grad[visible.end..].fill(T::ZERO);
}
