//! Element-wise work shared over threads.

use crate::cpu::{self, dispatch, Real, CHUNK};
use crate::{Array, Result};
use rayon::prelude::*;

/// `f` over slices of `x`.
pub(crate) fn map<T: Real>(x: &Array, f: impl Fn(&[T], &mut [T]) + Sync) -> Result<Array> {
    let x = x.contiguous()?;
    let xs = cpu::slice::<T>(&x)?;
    let xs: &[T] = &xs;
    let mut y = vec![T::ZERO; xs.len()];
    y.par_chunks_mut(CHUNK).zip(xs.par_chunks(CHUNK)).for_each(|(y, x)| f(x, y));
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
    let mut z = vec![T::ZERO; xs.len()];
    let parts = xs.par_chunks(CHUNK).zip(ys.par_chunks(CHUNK));
    z.par_chunks_mut(CHUNK).zip(parts).for_each(|(z, (x, y))| f(x, y, z));
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
