//! Vectors whose pieces are written by several threads.

use super::loops::{for_each, map_pieces, PIECE};
use crate::array::Element;
use crate::error::bail;
use crate::host::Real;
use crate::memory::alloc;
use crate::Result;
use std::mem::MaybeUninit;

/// Returns `count` elements that `f(index, piece)` writes in pieces of `size`. Pieces are set to 0
/// before `f` is called.
///
/// # Errors
/// If memory is short.
pub(crate) fn build_zeroed<T: Real>(
    count: usize,
    size: usize,
    f: impl Fn(usize, &mut [T]) + Sync,
) -> Result<Vec<T>> {
    // SAFETY: `zero_init` initialises all elements of a piece.
    unsafe { build_uninit(count, size, |i, piece| f(i, zero_init(piece))) }
}

/// [`written`], where `f` also receives one of `items` for each piece.
///
/// # Errors
/// If there is not one item for each piece, or memory is short.
///
/// # Safety
/// As for [`build_uninit_map`].
pub(crate) unsafe fn build_uninit_zip<T: Element, I: Send>(
    count: usize,
    size: usize,
    items: Vec<I>,
    f: impl Fn(usize, &mut [MaybeUninit<T>], I) + Sync,
) -> Result<Vec<T>> {
    let mut values = alloc::with_capacity::<T>(count)?;
    let uninit = &mut values.spare_capacity_mut()[..count];
    if uninit.len().div_ceil(size.max(1)) != items.len() {
        bail!("{} items for {count} numbers in pieces of {size}", items.len());
    }
    let pieces: Vec<(&mut [MaybeUninit<T>], I)> =
        uninit.chunks_mut(size.max(1)).zip(items).collect();
    for_each(pieces, |i, (piece, item)| {
        poison_in_tests(piece);
        f(i, piece, item);
    });
    // SAFETY: the pieces cover all `count` elements; the caller guarantees that `f` writes them.
    unsafe { values.set_len(count) };
    Ok(values)
}

/// Returns `count` elements that `f(index, piece)` writes in pieces of `size`, and the results of
/// `f`, in order.
///
/// # Errors
/// If memory is short.
///
/// # Safety
/// `f` must write all elements of its piece.
pub(crate) unsafe fn build_uninit_map<T: Element, R: Send>(
    count: usize,
    size: usize,
    f: impl Fn(usize, &mut [MaybeUninit<T>]) -> R + Sync,
) -> Result<(Vec<T>, Vec<R>)> {
    let mut values = alloc::with_capacity::<T>(count)?;
    let results = map_pieces(&mut values.spare_capacity_mut()[..count], size, |i, piece| {
        poison_in_tests(piece);
        f(i, piece)
    });
    // SAFETY: the pieces cover all `count` elements; the caller guarantees that `f` writes them.
    unsafe { values.set_len(count) };
    Ok((values, results))
}

/// [`build_uninit_map`], without results of `f`.
///
/// # Safety
/// As for [`build_uninit_map`].
pub(crate) unsafe fn build_uninit<T: Element>(
    count: usize,
    size: usize,
    f: impl Fn(usize, &mut [MaybeUninit<T>]) + Sync,
) -> Result<Vec<T>> {
    // SAFETY: the caller guarantees that `f` writes all elements of its piece.
    Ok(unsafe { build_uninit_map(count, size, f) }?.0)
}

/// Converts a piece whose elements are initialised.
///
/// # Safety
/// All elements must be initialised.
pub(crate) unsafe fn assume_init_mut<T: Element>(piece: &mut [MaybeUninit<T>]) -> &mut [T] {
    // SAFETY: the caller guarantees that all elements are initialised; MaybeUninit<T> has the
    // layout of T.
    unsafe { std::slice::from_raw_parts_mut(piece.as_mut_ptr().cast(), piece.len()) }
}

/// In tests, fills the piece with NaN to reveal elements that are not written.
fn poison_in_tests<T: Element>(piece: &mut [MaybeUninit<T>]) {
    if cfg!(test) {
        piece.fill(MaybeUninit::new(T::from_f64(f64::NAN)));
    }
}

/// Sets uninitialised memory to zero. The thread that is about to write the piece calls this, so
/// that the memory is then in that thread's cache.
pub(crate) fn zero_init<T: Real>(piece: &mut [MaybeUninit<T>]) -> &mut [T] {
    piece.fill(MaybeUninit::new(T::ZERO));
    // SAFETY: the fill above has initialised all elements.
    unsafe { assume_init_mut(piece) }
}

/// `count` zeros.
///
/// # Errors
/// If memory is short.
pub(crate) fn zeros<T: Real>(count: usize) -> Result<Vec<T>> {
    build_zeroed(count, PIECE, |_, _| {})
}
