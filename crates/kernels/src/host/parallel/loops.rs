//! Loops over pieces and items.

use super::pool::{install, threads};
use gemm::Parallelism;
use rayon::prelude::*;

/// Elements per piece of an element-wise loop.
pub const PIECE: usize = 8 * 1024;

/// Rows per piece, so that a piece has about [`PIECE`] elements.
pub fn rows_per_piece(width: usize) -> usize {
    (PIECE / width.max(1)).max(1)
}

/// Splits `out` into pieces of `size` elements and runs `f(index, piece)` for each.
pub fn for_each_piece<T: Send>(out: &mut [T], size: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    map_pieces(out, size, f);
}

/// [`for_each_piece`], on the calling thread only if `how` is [`Parallelism::None`].
pub fn for_each_piece_by<T: Send>(
    how: Parallelism,
    out: &mut [T],
    size: usize,
    f: impl Fn(usize, &mut [T]) + Sync,
) {
    match how {
        Parallelism::None => {
            out.chunks_mut(size.max(1)).enumerate().for_each(|(i, piece)| f(i, piece))
        }
        Parallelism::Rayon(_) => for_each_piece(out, size, f),
    }
}

/// Splits `out` into pieces of `size` elements and returns the results of `f(index, piece)`, in
/// order.
pub fn map_pieces<T: Send, R: Send>(
    out: &mut [T],
    size: usize,
    f: impl Fn(usize, &mut [T]) -> R + Sync,
) -> Vec<R> {
    map_pieces_dyn(out, size.max(1), &f)
}

/// Takes `f` as a trait object, so that this function is not compiled once for each closure: the
/// code that rayon generates would be larger than most kernels.
fn map_pieces_dyn<T: Send, R: Send>(
    out: &mut [T],
    size: usize,
    f: &(dyn Fn(usize, &mut [T]) -> R + Sync),
) -> Vec<R> {
    if out.len() <= size || threads() == 1 {
        return out.chunks_mut(size).enumerate().map(|(i, piece)| f(i, piece)).collect();
    }
    install(|| out.par_chunks_mut(size).enumerate().map(|(i, piece)| f(i, piece)).collect())
}

/// Runs `f(index, item)` for each item.
pub fn for_each<T: Send>(items: Vec<T>, f: impl Fn(usize, T) + Sync) {
    for_each_dyn(items, &f);
}

/// The body of [`for_each`], with a trait object for the reason given at [`map_pieces_dyn`].
fn for_each_dyn<T: Send>(items: Vec<T>, f: &(dyn Fn(usize, T) + Sync)) {
    if items.len() <= 1 || threads() == 1 {
        return items.into_iter().enumerate().for_each(|(i, item)| f(i, item));
    }
    install(|| items.into_par_iter().enumerate().for_each(|(i, item)| f(i, item)));
}

/// Returns the results of `f(0)` to `f(count - 1)`, in order. A thread runs at least `per_piece` of
/// them at a time.
pub fn map<R: Send>(count: usize, per_piece: usize, f: impl Fn(usize) -> R + Sync) -> Vec<R> {
    map_dyn(count, per_piece, &f)
}

/// The body of [`map`], with a trait object for the reason given at [`map_pieces_dyn`].
fn map_dyn<R: Send>(count: usize, per_piece: usize, f: &(dyn Fn(usize) -> R + Sync)) -> Vec<R> {
    if count <= per_piece || threads() == 1 {
        return (0..count).map(f).collect();
    }
    install(|| (0..count).into_par_iter().with_min_len(per_piece.max(1)).map(f).collect())
}

/// The piece of `xs` with this index, when pieces have `size` elements; the last one may be
/// shorter.
pub fn nth_chunk<T>(xs: &[T], index: usize, size: usize) -> &[T] {
    let start = (index * size).min(xs.len());
    &xs[start..xs.len().min(start + size)]
}
