//! Element-wise work shared over threads.

use crate::cpu::{self, dispatch, Real};
use crate::layout::contiguous;
use crate::parallel::{part, written, PIECE};
use crate::{Array, Result};
use std::mem::MaybeUninit;

/// `f` over slices of `x`: input, output.
///
/// # Safety
/// `f` must write all of its output, for which there is as much input.
pub(crate) unsafe fn map<T: Real>(x: &Array, f: impl Fn(&[T], &mut [MaybeUninit<T>]) + Sync) -> Result<Array> {
    let x = contiguous(x)?;
    let xs = cpu::slice::<T>(&x)?;
    let xs: &[T] = &xs;
    // SAFETY: the caller's promise.
    let y = unsafe { written(xs.len(), PIECE, |piece, y| f(part(xs, piece, PIECE), y)) }?;
    cpu::array(y, x.dims())
}

/// `f` over slices of `a` and `b`, of one shape.
///
/// # Safety
/// As for [`map`].
pub(crate) unsafe fn zip<T: Real>(
    a: &Array,
    b: &Array,
    f: impl Fn(&[T], &[T], &mut [MaybeUninit<T>]) + Sync,
) -> Result<Array> {
    if a.dims() != b.dims() {
        candle_core::bail!("shapes {:?} and {:?} differ", a.dims(), b.dims());
    }
    let (a, b) = (contiguous(a)?, contiguous(b)?);
    let (xs, ys) = (cpu::slice::<T>(&a)?, cpu::slice::<T>(&b)?);
    let (xs, ys): (&[T], &[T]) = (&xs, &ys);
    // SAFETY: the caller's promise.
    let z = unsafe { written(xs.len(), PIECE, |piece, z| f(part(xs, piece, PIECE), part(ys, piece, PIECE), z)) }?;
    cpu::array(z, a.dims())
}

/// `a + b`, of one shape.
pub fn add(a: &Array, b: &Array) -> Result<Array> {
    same_type(a, b)?;
    // SAFETY: it writes a number for each two.
    dispatch!(a, T => unsafe { zip::<T>(a, b, add_slices) }, else a + b)
}

/// `a - b`, of one shape.
pub fn sub(a: &Array, b: &Array) -> Result<Array> {
    same_type(a, b)?;
    // SAFETY: it writes a number for each two.
    dispatch!(a, T => unsafe { zip::<T>(a, b, sub_slices) }, else a - b)
}

/// `a · b`, of one shape, element by element.
pub fn mul(a: &Array, b: &Array) -> Result<Array> {
    same_type(a, b)?;
    // SAFETY: it writes a number for each two.
    dispatch!(a, T => unsafe { zip::<T>(a, b, mul_slices) }, else a * b)
}

/// `x · scale + offset`.
pub fn affine(x: &Array, scale: f64, offset: f64) -> Result<Array> {
    // SAFETY: it writes a number for each.
    dispatch!(x, T => unsafe { map::<T>(x, |x, y| affine_slice(x, y, scale, offset)) }, else x.affine(scale, offset))
}

fn same_type(a: &Array, b: &Array) -> Result<()> {
    if a.dtype() == b.dtype() {
        return Ok(());
    }
    candle_core::bail!("types {:?} and {:?} differ", a.dtype(), b.dtype());
}

fn add_slices<T: Real>(x: &[T], y: &[T], z: &mut [MaybeUninit<T>]) {
    for ((z, x), y) in z.iter_mut().zip(x).zip(y) {
        *z = MaybeUninit::new(*x + *y);
    }
}

fn sub_slices<T: Real>(x: &[T], y: &[T], z: &mut [MaybeUninit<T>]) {
    for ((z, x), y) in z.iter_mut().zip(x).zip(y) {
        *z = MaybeUninit::new(*x - *y);
    }
}

fn mul_slices<T: Real>(x: &[T], y: &[T], z: &mut [MaybeUninit<T>]) {
    for ((z, x), y) in z.iter_mut().zip(x).zip(y) {
        *z = MaybeUninit::new(*x * *y);
    }
}

fn affine_slice<T: Real>(x: &[T], y: &mut [MaybeUninit<T>], scale: f64, offset: f64) {
    let (scale, offset) = (T::of(scale), T::of(offset));
    for (y, x) in y.iter_mut().zip(x) {
        *y = MaybeUninit::new(*x * scale + offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, normal};

    #[test]
    fn arithmetic_equals_the_reference() {
        let (a, b) = (normal(&[7, 5000], 1), normal(&[5000, 7], 2).t().unwrap());
        close(&add(&a, &b).unwrap(), &(&a + &b).unwrap(), 1e-7);
        close(&sub(&a, &b).unwrap(), &(&a - &b).unwrap(), 1e-7);
        close(&mul(&a, &b).unwrap(), &(&a * &b).unwrap(), 1e-7);
        close(&affine(&b, 0.3, -2.0).unwrap(), &b.affine(0.3, -2.0).unwrap(), 1e-6);
        let other = normal(&[7], 1);
        assert!(add(&a, &other).is_err() && sub(&a, &other).is_err() && mul(&a, &other).is_err());
    }
}
