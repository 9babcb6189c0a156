//! The CPU implementation.

use super::mask::{Mask, MaskRows};
use crate::host::parallel::{
    assume_init_mut, build_uninit, build_zeroed, nth_chunk, rows_per_piece,
};
use crate::host::simd::{has_fma, map_in_place, max, sum_by, sum_by2};
use crate::host::{self, Real};
use crate::ops::elementwise::is_nan;
use crate::ops::layout::contiguous;
use crate::{Array, Result};
use std::mem::MaybeUninit;
use std::ops::Range;
use xt_macros::simd;

pub(super) fn forward_cpu<T: Real>(scores: &Array, mask: &Mask) -> Result<Array> {
    let scores = contiguous(scores)?;
    let rows = MaskRows::new(&scores, mask)?;
    let width = rows.dims[3];
    let xs = host::slice::<T>(&scores)?;
    let xs: &[T] = &xs;
    let count = rows_per_piece(width);
    let block = count * width;
    let write = |task: usize, y: &mut [MaybeUninit<T>]| {
        let x = nth_chunk(xs, task, block);
        let mut line = Vec::new();
        for (r, (y, x)) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)).enumerate() {
            let row = task * count + r;
            y.iter_mut().zip(x).for_each(|(y, x)| *y = MaybeUninit::new(*x));
            // SAFETY: the line above has written every element of `y`.
            let y = unsafe { assume_init_mut(y) };
            if weights_in_place(y, rows.allowed(row, &mut line), rows.visible(row)) {
                y.fill(T::ONE / T::of(width as f64));
            }
        }
    };
    // SAFETY: each piece consists of whole rows, and `write` writes every element of each row.
    let y = unsafe { build_uninit(xs.len(), block, write) }?;
    host::array(y, scores.dims())
}

/// Replaces the `visible` scores of a row by their softmax weights; keys that `allowed` excludes,
/// and all other keys, get 0.
///
/// Returns true if no key is allowed. Then all keys must get the same weight, and the values in
/// `row` are meaningless.
#[simd]
fn weights_in_place<T: Real>(row: &mut [T], allowed: Option<&[u8]>, visible: Range<usize>) -> bool {
    const FMA: bool = has_fma!();
    let allowed = allowed.map(|allowed| &allowed[visible.clone()]);
    let (before, row) = row.split_at_mut(visible.start);
    let (visible, hidden) = row.split_at_mut(visible.len());
    let whole = before.is_empty() && hidden.is_empty();
    for (x, a) in visible.iter_mut().zip(allowed.unwrap_or_default()) {
        *x = if *a != 0 { *x } else { T::LOWEST };
    }
    let top = max(visible);
    if top == T::LOWEST {
        // A row that contains only negative infinity is not a masked row: it has no weights, and
        // the computation below results in NaN.
        let uniform = if whole {
            visible.iter().all(|v| *v == top)
        } else {
            !visible.iter().any(|v| is_nan(*v))
        };
        if uniform {
            return true;
        }
    }
    map_in_place(visible, |v| (v - top).exp_down::<FMA>());
    let scale = T::ONE / sum_by(visible, |v| v);
    map_in_place(visible, |v| v * scale);
    before.fill(T::ZERO);
    hidden.fill(T::ZERO);
    false
}

/// CPU kernel of [`backward`](super::backward).
pub(super) fn backward_cpu<T: Real>(y: &Array, grad: &Array, mask: &Mask) -> Result<Array> {
    let (y, grad) = (contiguous(y)?, contiguous(grad)?);
    if y.elem_count() == 0 {
        return Ok(grad);
    }
    let rows = MaskRows::new(&y, mask)?;
    let width = rows.dims[3];
    let (ys, gs) = (host::slice::<T>(&y)?, host::slice::<T>(&grad)?);
    let (ys, gs): (&[T], &[T]) = (&ys, &gs);
    let count = rows_per_piece(width);
    let block = count * width;
    let dx = build_zeroed(ys.len(), block, |task, dx: &mut [T]| {
        let mut line = Vec::new();
        for (r, dx) in dx.chunks_exact_mut(width).enumerate() {
            let row = task * count + r;
            let visible = rows.visible(row);
            let masked = |allowed: &[u8]| allowed[visible.clone()].iter().all(|a| *a == 0);
            if visible.is_empty() || rows.allowed(row, &mut line).is_some_and(masked) {
                continue; // the weights are uniform and do not depend on the scores
            }
            let of = |xs| &nth_chunk(xs, row, width)[visible.clone()];
            backward_row(of(ys), of(gs), &mut dx[visible.clone()]);
        }
    })?;
    host::array(dx, y.dims())
}

#[simd]
fn backward_row<T: Real>(y: &[T], grad: &[T], dx: &mut [T]) {
    let dot = sum_by2(y, grad, |a, b| a * b);
    for ((dx, y), g) in dx.iter_mut().zip(y).zip(grad) {
        *dx = *y * (*g - dot);
    }
}
