//! Parallel loops over the elements of arrays of one shape.

use crate::error::bail;
use crate::host::parallel::{build_uninit, nth_chunk, PIECE};
use crate::host::{self, Real};
use crate::ops::layout::contiguous;
use crate::{Array, Element, Result};
use std::mem::MaybeUninit;

/// Applies `f`, which gets slices of the input and the output, to pieces of `x` on several threads.
///
/// # Safety
/// `f` must write every element of its output, which is as long as its input.
pub(crate) unsafe fn map<T: Real>(
    x: &Array,
    f: impl Fn(&[T], &mut [MaybeUninit<T>]) + Sync,
) -> Result<Array> {
    let x = contiguous(x)?;
    let xs = host::slice::<T>(&x)?;
    let xs: &[T] = &xs;
    // SAFETY: the caller guarantees that `f` writes its whole output.
    let y = unsafe { build_uninit(xs.len(), PIECE, |piece, y| f(nth_chunk(xs, piece, PIECE), y)) }?;
    host::array(y, x.dims())
}

/// Applies `f`, which gets slices of both inputs and the output, to pieces of `a` and `b`, which
/// have the same shape.
///
/// # Safety
/// As for [`map`].
///
/// # Errors
/// If the shapes differ.
pub(crate) unsafe fn zip<T: Element>(
    a: &Array,
    b: &Array,
    f: impl Fn(&[T], &[T], &mut [MaybeUninit<T>]) + Sync,
) -> Result<Array> {
    if a.dims() != b.dims() {
        bail!("shapes {:?} and {:?} differ", a.dims(), b.dims());
    }
    let (a, b) = (contiguous(a)?, contiguous(b)?);
    let (xs, ys) = (host::slice::<T>(&a)?, host::slice::<T>(&b)?);
    let (xs, ys): (&[T], &[T]) = (&xs, &ys);
    // SAFETY: the caller guarantees that `f` writes its whole output.
    let z = unsafe {
        build_uninit(xs.len(), PIECE, |piece, z| {
            f(nth_chunk(xs, piece, PIECE), nth_chunk(ys, piece, PIECE), z)
        })
    }?;
    host::array(z, a.dims())
}

/// Applies `f` to each element of `x`.
pub(super) fn map_each<T: Real>(x: &Array, f: impl Fn(T) -> T + Sync) -> Result<Array> {
    // SAFETY: the closure writes an output for each input.
    unsafe { map::<T>(x, |x, y| x.iter().zip(y).for_each(|(x, y)| *y = MaybeUninit::new(f(*x)))) }
}
