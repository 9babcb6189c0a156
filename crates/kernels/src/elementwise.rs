//! Element-wise work shared over threads.

use crate::cpu::{self, dispatch, Real};
use crate::layout::contiguous;
use crate::parallel::{computed, part, PIECE};
use crate::{Array, Result};

/// `f` over slices of `x`.
pub(crate) fn map<T: Real>(x: &Array, f: impl Fn(&[T], &mut [T]) + Sync) -> Result<Array> {
    let x = contiguous(x)?;
    let xs = cpu::slice::<T>(&x)?;
    let xs: &[T] = &xs;
    cpu::array(computed(xs.len(), PIECE, |piece, y| f(part(xs, piece, PIECE), y))?, x.dims())
}

/// `f` over slices of `a` and `b`, of one shape.
pub(crate) fn zip<T: Real>(a: &Array, b: &Array, f: impl Fn(&[T], &[T], &mut [T]) + Sync) -> Result<Array> {
    if a.dims() != b.dims() {
        candle_core::bail!("shapes {:?} and {:?} differ", a.dims(), b.dims());
    }
    let (a, b) = (contiguous(a)?, contiguous(b)?);
    let (xs, ys) = (cpu::slice::<T>(&a)?, cpu::slice::<T>(&b)?);
    let (xs, ys): (&[T], &[T]) = (&xs, &ys);
    let z = computed(xs.len(), PIECE, |piece, z| f(part(xs, piece, PIECE), part(ys, piece, PIECE), z))?;
    cpu::array(z, a.dims())
}

/// `a + b`, of one shape.
pub fn add(a: &Array, b: &Array) -> Result<Array> {
    same_type(a, b)?;
    dispatch!(a, T => zip::<T>(a, b, add_slices), else a + b)
}

/// `a - b`, of one shape.
pub fn sub(a: &Array, b: &Array) -> Result<Array> {
    same_type(a, b)?;
    dispatch!(a, T => zip::<T>(a, b, sub_slices), else a - b)
}

/// `a · b`, of one shape, element by element.
pub fn mul(a: &Array, b: &Array) -> Result<Array> {
    same_type(a, b)?;
    dispatch!(a, T => zip::<T>(a, b, mul_slices), else a * b)
}

/// `x · scale + offset`.
pub fn affine(x: &Array, scale: f64, offset: f64) -> Result<Array> {
    dispatch!(x, T => map::<T>(x, |x, y| affine_slice(x, y, scale, offset)), else x.affine(scale, offset))
}

fn same_type(a: &Array, b: &Array) -> Result<()> {
    if a.dtype() == b.dtype() {
        return Ok(());
    }
    candle_core::bail!("types {:?} and {:?} differ", a.dtype(), b.dtype());
}

fn add_slices<T: Real>(x: &[T], y: &[T], z: &mut [T]) {
    for ((z, x), y) in z.iter_mut().zip(x).zip(y) {
        *z = *x + *y;
    }
}

fn sub_slices<T: Real>(x: &[T], y: &[T], z: &mut [T]) {
    for ((z, x), y) in z.iter_mut().zip(x).zip(y) {
        *z = *x - *y;
    }
}

fn mul_slices<T: Real>(x: &[T], y: &[T], z: &mut [T]) {
    for ((z, x), y) in z.iter_mut().zip(x).zip(y) {
        *z = *x * *y;
    }
}

fn affine_slice<T: Real>(x: &[T], y: &mut [T], scale: f64, offset: f64) {
    let (scale, offset) = (T::of(scale), T::of(offset));
    for (y, x) in y.iter_mut().zip(x) {
        *y = *x * scale + offset;
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
