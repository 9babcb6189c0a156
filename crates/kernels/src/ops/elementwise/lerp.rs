//! Linear interpolation: `a + t · (b - a)`, in one pass.

#[cfg(feature = "cuda")]
use super::cuda;
use super::map::zip;
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::host::Real;
use crate::kernel::{arrays, run, Kernel};
use crate::{Array, Result};
use std::mem::MaybeUninit;
#[cfg(feature = "cuda")]
use std::sync::Arc;
use xt_macros::simd;

/// Kernel of [`lerp`].
#[derive(Clone)]
pub(super) struct Lerp {
    a: Array,
    b: Array,
    t: f64,
}

arrays!(Lerp { a, b });

impl Kernel for Lerp {
    const NAME: &'static str = "lerp";
    type Out = Array;

    fn check(&self) -> Result<()> {
        let (a, b) = (&self.a, &self.b);
        if a.dims() != b.dims() || a.dtype() != b.dtype() || !a.dtype().is_float() {
            bail!(
                "lerp needs floating-point arrays that are alike, got {:?} {:?} and {:?} {:?}",
                a.dims(),
                a.dtype(),
                b.dims(),
                b.dtype()
            );
        }
        Ok(())
    }

    fn reference(&self) -> Result<Array> {
        let (a, b) = (self.a.host()?, self.b.host()?);
        Ok((a + ((b - a)? * self.t)?)?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        let t = T::of(self.t);
        // SAFETY: `interpolate` writes an output for each pair of inputs.
        unsafe { zip::<T>(&self.a, &self.b, |xs, ys, zs| interpolate(xs, ys, zs, t)) }
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        cuda::lerp(&self.a, &self.b, self.t, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        // of one sign: numbers that cancel would have any relative error
        let positive = |dims: &[usize], seed| {
            crate::testing::map(&crate::testing::normal64(dims, seed), |x| x.abs() + 0.01)
        };
        let of = |dims: &[usize]| {
            [0.0, 0.001, 0.75].map(|t| Self { a: positive(dims, 2), b: positive(dims, 3), t })
        };
        [&[5000, 7][..], &[3, 5], &[], &[0, 2]].into_iter().flat_map(of).collect()
    }
}

/// Computes `a + t · (b - a)` element by element, for arrays of one shape and type.
///
/// # Errors
/// If shapes, types or devices differ, or the type is no floating-point one.
pub fn lerp(a: &Array, b: &Array, t: f64) -> Result<Array> {
    run(&Lerp { a: a.clone(), b: b.clone(), t })
}

#[simd]
fn interpolate<T: Real>(xs: &[T], ys: &[T], zs: &mut [MaybeUninit<T>], t: T) {
    for ((z, x), y) in zs.iter_mut().zip(xs).zip(ys) {
        *z = MaybeUninit::new(*x + t * (*y - *x));
    }
}
