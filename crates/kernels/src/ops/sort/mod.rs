//! The order of the elements along the last axis, as indices.
//!
//! As in PyTorch, NaN is greater than every number. The order is stable, ascending and descending:
//! equal elements keep theirs.
//!
//! Shapes: `x` is (.., width), the result (.., k), i64.

#[cfg(feature = "cuda")]
mod cuda;

#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::host::parallel::{for_each_piece, nth_chunk, rows_per_piece, Buffers};
use crate::host::{self, rows_and_width, with_width, Real};
use crate::kernel::{arrays, run, Kernel};
use crate::memory::alloc;
use crate::ops::layout::{contiguous, narrow_on_host};
use crate::{Array, DType, Element, Result};
#[cfg(feature = "cuda")]
use std::sync::Arc;

/// Kernel of [`argsort`].
#[derive(Clone)]
struct Argsort {
    x: Array,
    k: usize,
    descending: bool,
}

arrays!(Argsort { x });

impl Kernel for Argsort {
    const NAME: &'static str = "argsort";
    type Out = Array;

    fn check(&self) -> Result<()> {
        match self.x.dims().last() {
            Some(width) if self.k <= *width => Ok(()),
            _ => bail!("the first {} along the last axis of {:?}", self.k, self.x.dims()),
        }
    }

    fn reference(&self) -> Result<Array> {
        let x = self.x.host()?.contiguous()?;
        let dims = with_width(&self.x, self.k);
        if dims.contains(&0) {
            return Array::zeros(dims, DType::I64, &self.x.device());
        }
        let order = x.arg_sort_last_dim(!self.descending)?;
        Ok(narrow_on_host(&order, x.rank() - 1, 0, self.k)?.to_dtype(DType::I64)?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        self.compute()
    }

    fn cpu_other<T: Element>(&self) -> Option<Result<Array>> {
        Some(self.compute())
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        cuda::argsort(&self.x, self.k, self.descending, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let cases: [(&[usize], usize); 9] = [
            (&[2, 3, 5], 5),
            (&[2, 3, 5], 2),
            (&[3, 1], 1),
            (&[1], 1),
            (&[4, 600], 600),
            (&[4, 600], 7),
            (&[3, 4], 0),
            (&[0, 4], 3),
            (&[3, 0], 0),
        ];
        // many equal values
        let of = |(dims, k): (&[usize], usize)| {
            let x = crate::testing::map(&crate::testing::normal64(dims, 1), |x| (9.0 * x).floor());
            [false, true].map(|descending| Self { x: x.clone(), k, descending })
        };
        cases.into_iter().flat_map(of).collect()
    }
}

impl Argsort {
    /// The CPU kernel. Elements are compared by integers of their order, so that there is one copy
    /// of the sort for all dtypes.
    fn compute(&self) -> Result<Array> {
        let (_, width) = rows_and_width(&self.x);
        let dims = with_width(&self.x, self.k);
        if dims.contains(&0) {
            return Array::zeros(dims, DType::I64, &self.x.device());
        }
        let keys = keys(&self.x, self.descending)?;
        let mut order = alloc::filled(0i64, dims.iter().product())?;
        let (k, rows) = (self.k, rows_per_piece(width));
        let buffers = Buffers::<(u64, usize)>::new(order.len().div_ceil(rows * k), width)?;
        for_each_piece(&mut order, rows * k, |piece, order| {
            buffers.with(|row| {
                for (i, order) in order.chunks_exact_mut(k).enumerate() {
                    row.clear();
                    row.extend(nth_chunk(&keys, piece * rows + i, width).iter().copied().zip(0..));
                    if k < width {
                        row.select_nth_unstable(k - 1);
                    }
                    row[..k].sort_unstable();
                    order.iter_mut().zip(&*row).for_each(|(to, (_, index))| *to = *index as i64);
                }
            });
        });
        host::array(order, dims)
    }
}

/// An integer for each element, in row-major order, that has the order to sort by.
fn keys(x: &Array, descending: bool) -> Result<Vec<u64>> {
    const SIGN: u64 = 1 << 63;
    let flip = if descending { u64::MAX } else { 0 };
    if x.dtype() == DType::I64 {
        let integers = host::to_vec::<i64>(x)?;
        return Ok(integers.into_iter().map(|x| (x as u64 ^ SIGN) ^ flip).collect());
    }
    // f64 has the numbers of all other dtypes
    alloc::check_like(x, DType::F64, 3)?;
    let key = |x: f64| match x.is_nan() {
        true => u64::MAX,
        // -0 is equal to 0
        false => (x + 0.0).key() as u64 ^ SIGN,
    };
    let numbers = host::to_vec::<f64>(&contiguous(x)?.to_dtype(DType::F64)?)?;
    Ok(numbers.into_iter().map(|x| key(x) ^ flip).collect())
}

/// Computes the indices of the first `k` elements of each row of `x`, in ascending or descending
/// order.
///
/// # Errors
/// If a row has fewer elements.
pub fn argsort(x: &Array, k: usize, descending: bool) -> Result<Array> {
    run(&Argsort { x: x.clone(), k, descending })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_matches_reference, device, normal, on_device, values};

    #[test]
    fn equals_the_reference() {
        assert_matches_reference::<Argsort>(0.0);
        assert!(argsort(&on_device(&normal(&[4, 3], 3)), 4, false).is_err());
        assert!(argsort(&on_device(&normal(&[], 3)), 0, false).is_err());
    }

    #[test]
    fn nan_is_the_greatest_and_zeros_are_equal() {
        let row = [0.0, f64::NAN, f64::INFINITY, -0.0, -1.0, f64::NAN, f64::NEG_INFINITY];
        for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
            let x = Array::new(&row, &device()).unwrap().to_dtype(dtype).unwrap();
            assert_eq!(
                values(&argsort(&x, 7, false).unwrap()),
                [6.0, 4.0, 0.0, 3.0, 2.0, 1.0, 5.0]
            );
            assert_eq!(values(&argsort(&x, 5, true).unwrap()), [1.0, 5.0, 2.0, 0.0, 3.0]);
        }
    }

    #[test]
    fn integers_are_compared_exactly() {
        let x = Array::new(&[1i64 << 60, (1 << 60) + 1, i64::MIN, i64::MAX, 7], &device()).unwrap();
        assert_eq!(values(&argsort(&x, 5, false).unwrap()), [2.0, 4.0, 0.0, 1.0, 3.0]);
        assert_eq!(values(&argsort(&x, 2, true).unwrap()), [3.0, 1.0]);
        for dtype in [DType::U8, DType::U32] {
            let x = Array::new(&[3u8, 255, 0, 3], &device()).unwrap().to_dtype(dtype).unwrap();
            assert_eq!(values(&argsort(&x, 4, false).unwrap()), [2.0, 0.0, 3.0, 1.0]);
            assert_eq!(values(&argsort(&x, 4, true).unwrap()), [1.0, 0.0, 3.0, 2.0]);
        }
    }
}
