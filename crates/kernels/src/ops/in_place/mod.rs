//! In-place operations. The caller guarantees that an array is a whole storage that nothing else
//! refers to.

#[cfg(feature = "cuda")]
mod cuda;

use crate::array::HostResult;
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::host::parallel::{for_each, nth_chunk, PIECE};
use crate::host::{self, Real};
use crate::kernel::{arrays, run, Kernel};
use crate::ops::layout;
#[cfg(test)]
use crate::testing::normal64;
use crate::{Array, DType, Result};
use candle_core::{CpuStorage, InplaceOp1, Layout};
use std::cell::RefCell;
#[cfg(feature = "cuda")]
use std::sync::Arc;

/// Whether in-place kernels accept these arrays together: all must be f32 or f64 on one device, and
/// have the same type and shape.
pub fn is_possible(all: &[&Array]) -> bool {
    let known = |array: &&Array| matches!(array.dtype(), DType::F32 | DType::F64);
    let alike = |pair: &[&Array]| {
        pair[0].dtype() == pair[1].dtype()
            && pair[0].dims() == pair[1].dims()
            && pair[0].device().same_device(&pair[1].device())
    };
    all.iter().all(known) && all.windows(2).all(alike)
}

/// Kernel of [`add`].
#[derive(Clone)]
struct Add {
    sum: Array,
    more: Array,
}

arrays!(Add { sum, more });

impl Kernel for Add {
    const NAME: &'static str = "add in place";
    type Out = ();

    fn check(&self) -> Result<()> {
        if self.sum.dims() != self.more.dims() || self.sum.dtype() != self.more.dtype() {
            bail!(
                "{} numbers {:?} in place of {:?}",
                self.more.elem_count(),
                self.more.dims(),
                self.sum.dims()
            );
        }
        if !matches!(self.sum.dtype(), DType::F32 | DType::F64) {
            bail!("a sum in place needs f32 or f64");
        }
        Ok(())
    }

    fn reference(&self) -> Result<()> {
        write(&self.sum, &(self.sum.host()? + self.more.host()?)?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<()> {
        add_cpu::<T>(&self.sum, &self.more)
    }

    #[cfg(test)]
    fn changed(&self) -> Vec<&Array> {
        vec![&self.sum]
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<()> {
        cuda::add(&self.sum, &self.more, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |size| {
            let (sum, more) = (normal64(&[size, 3], 1), normal64(&[size, 3], 2));
            Self { sum, more }
        };
        [0, 1, 7, 3 * PIECE + 5].map(of).into()
    }

    #[cfg(test)]
    const HALF: bool = false;

    #[cfg(test)]
    fn prepare(&mut self) {
        self.sum = self.sum.copy().unwrap();
    }
}

/// Overwrites the values of `array`, a contiguous array of at least one dimension.
pub(crate) fn write(array: &Array, values: &Array) -> Result<()> {
    Ok(array.host()?.slice_set(&values.host()?.force_contiguous()?, 0, 0)?)
}

/// Adds `more` to `sum` in place; both have the same type and shape, see [`is_possible`].
///
/// # Errors
/// If the arrays do not have the same shape and an accepted type and device, or `sum` is not a
/// whole storage; nothing has changed then.
pub fn add(sum: &Array, more: &Array) -> Result<()> {
    run(&Add { sum: sum.clone(), more: more.clone() })
}

fn add_cpu<T: Real>(sum: &Array, more: &Array) -> Result<()> {
    let more = layout::contiguous(more)?;
    let xs = host::slice::<T>(&more)?;
    let xs: &[T] = &xs;
    with_values_mut::<T>(sum, xs.len(), |sum| {
        for_each(sum.chunks_mut(PIECE).collect(), |i, sum| {
            sum.iter_mut().zip(nth_chunk(xs, i, PIECE)).for_each(|(s, x)| *s += *x);
        });
        Ok(())
    })
}

/// The values of `array`, a whole storage of `count` elements.
///
/// # Safety
/// The storage of `array` must live for `'a`, and nothing else may access its values during that
/// time.
pub(crate) unsafe fn values<'a, T: Real>(array: &Array, count: usize) -> Result<&'a mut [T]> {
    let mut first = std::ptr::null_mut();
    with_values_mut::<T>(array, count, |values| {
        first = values.as_mut_ptr();
        Ok(())
    })?;
    // SAFETY: `with_values_mut` has checked that the storage has `count` values from `first` on;
    // the caller guarantees the lifetime and exclusive access.
    Ok(unsafe { std::slice::from_raw_parts_mut(first, count) })
}

/// Runs `f` on the values of `array`, which must be a whole storage of `count` elements.
fn with_values_mut<T: Real>(
    array: &Array,
    count: usize,
    mut f: impl FnMut(&mut [T]) -> HostResult<()>,
) -> Result<()> {
    let on_storage = |storage: &mut CpuStorage| match T::values_mut(storage) {
        Some(values) if values.len() == count => f(values),
        _ => candle_core::bail!("{:?} in place of {count} numbers", array.dims()),
    };
    Ok(array.host()?.inplace_op1(&StorageOp(RefCell::new(on_storage)))?)
}

/// Adapter that runs a closure on the storage of an array.
struct StorageOp<F>(RefCell<F>);

impl<F: FnMut(&mut CpuStorage) -> HostResult<()>> InplaceOp1 for StorageOp<F> {
    fn name(&self) -> &'static str {
        "in place"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, _: &Layout) -> HostResult<()> {
        (self.0.borrow_mut())(storage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, assert_matches_reference, normal, on_device};

    #[test]
    fn equals_the_reference() {
        assert_matches_reference::<Add>(1e-6);
    }

    #[test]
    fn sums_change_and_keep_their_place() {
        for size in [0, 1, 7, 3 * PIECE + 5] {
            let x = on_device(&normal(&[size, 3], 1));
            let more = on_device(&normal(&[3, size], 2)).t().unwrap();
            for dtype in [DType::F32, DType::F64] {
                let (sum, more) =
                    (x.to_dtype(dtype).unwrap().copy().unwrap(), more.to_dtype(dtype).unwrap());
                assert!(is_possible(&[&sum, &more]));
                let want = crate::ops::elementwise::add(&sum, &more).unwrap();
                add(&sum, &more).unwrap();
                assert_close(&sum, &want, 1e-6);
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let of = |size, seed| on_device(&normal(&[size], seed));
        let (sum, long, double) = (of(4, 1), of(5, 2), of(4, 2).to_dtype(DType::F64).unwrap());
        let before = sum.copy().unwrap();
        assert!(!is_possible(&[&sum, &long]));
        assert!(add(&sum, &long).unwrap_err().to_string().contains("5 numbers"));
        assert!(!is_possible(&[&sum, &double]));
        assert!(add(&sum, &double).is_err());
        let half = sum.to_dtype(DType::F16).unwrap();
        assert!(!is_possible(&[&half, &half]));
        assert!(add(&half, &half).is_err());
        // A view of a part of a storage is refused.
        assert!(add(&layout::narrow(&sum, 0, 0, 2).unwrap(), &of(2, 2)).is_err());
        assert_close(&sum, &before, 0.0);
    }
}
