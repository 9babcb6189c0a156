//! Element-wise work shared over threads.

use crate::cpu::{self, dispatch, Real};
use crate::parallel::{part, pieces, PIECE};
use crate::{Array, Result};

/// `f` over slices of `x`.
pub(crate) fn map<T: Real>(x: &Array, f: impl Fn(&[T], &mut [T]) + Sync) -> Result<Array> {
    let x = x.contiguous()?;
    let xs = cpu::slice::<T>(&x)?;
    let xs: &[T] = &xs;
    let mut y = crate::alloc::zeros::<T>(xs.len())?;
    pieces(&mut y, PIECE, |piece, y| f(part(xs, piece, PIECE), y));
    cpu::array(y, x.dims())
}

/// `f` over slices of `a` and `b`, of one shape.
pub(crate) fn zip<T: Real>(a: &Array, b: &Array, f: impl Fn(&[T], &[T], &mut [T]) + Sync) -> Result<Array> {
    if a.dims() != b.dims() {
        candle_core::bail!("shapes {:?} and {:?} differ", a.dims(), b.dims());
    }
    let (a, b) = (a.contiguous()?, b.contiguous()?);
    let (xs, ys) = (cpu::slice::<T>(&a)?, cpu::slice::<T>(&b)?);
    let (xs, ys): (&[T], &[T]) = (&xs, &ys);
    let mut z = crate::alloc::zeros::<T>(xs.len())?;
    pieces(&mut z, PIECE, |piece, z| f(part(xs, piece, PIECE), part(ys, piece, PIECE), z));
    cpu::array(z, a.dims())
}

/// `a + b`, of one shape.
pub fn add(a: &Array, b: &Array) -> Result<Array> {
    if a.dtype() != b.dtype() {
        candle_core::bail!("types {:?} and {:?} differ", a.dtype(), b.dtype());
    }
    dispatch!(a, T => zip::<T>(a, b, add_slices), else a + b)
}

fn add_slices<T: Real>(x: &[T], y: &[T], z: &mut [T]) {
    for ((z, x), y) in z.iter_mut().zip(x).zip(y) {
        *z = *x + *y;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, normal};

    #[test]
    fn add_equals_the_reference() {
        let (a, b) = (normal(&[7, 5000], 1), normal(&[5000, 7], 2).t().unwrap());
        close(&add(&a, &b).unwrap(), &(&a + &b).unwrap(), 1e-7);
        assert!(add(&a, &normal(&[7], 1)).is_err());
    }
}
