//! The norm of gradients.

#[cfg(feature = "cuda")]
use super::cuda;
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::host::gemm::blas::Blas;
use crate::host::parallel::{map, PIECE};
use crate::host::{self, Real};
use crate::kernel::{arrays, run, Kernel};
use crate::ops::layout::contiguous;
#[cfg(test)]
use crate::testing::normal64;
use crate::{Array, DType, Result};
#[cfg(feature = "cuda")]
use std::sync::Arc;

/// Kernel of [`sum_of_squares`].
#[derive(Clone)]
pub(super) struct SumOfSquares {
    all: Vec<Array>,
}

arrays!(SumOfSquares { all });

impl Kernel for SumOfSquares {
    const NAME: &'static str = "sum of squares";
    type Out = f64;

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn reference(&self) -> Result<f64> {
        let squares = |x: &Array| -> Result<f64> {
            let x = x.host()?;
            // half precision overflows
            let x = if x.dtype() == DType::F64 { x.clone() } else { x.to_dtype(DType::F32)? };
            Ok(x.sqr()?.sum_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?)
        };
        self.all.iter().map(squares).sum()
    }

    fn cpu<T: Blas>(&self) -> Result<f64> {
        squares_cpu::<T>(&self.all)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<f64> {
        cuda::sum_of_squares(&self.all, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let all = |sizes: &[usize]| Self {
            all: sizes.iter().map(|size| normal64(&[*size, 3], *size as u64)).collect(),
        };
        vec![all(&[1]), all(&[0, 7, 500]), all(&[3 * PIECE + 5, 2])]
    }

    #[cfg(test)]
    fn results(&self, sum: &f64) -> Vec<Array> {
        vec![Array::from_vec(vec![*sum], 1, &crate::Device::Cpu).unwrap()]
    }
}

/// Computes the sum of the squares of all elements of all arrays, accumulated in f64. The arrays
/// may differ in type and device.
pub fn sum_of_squares(all: &[Array]) -> Result<f64> {
    let (mut sum, mut rest) = (0.0, all);
    while let Some(first) = rest.first() {
        let alike = |array: &&Array| {
            array.dtype() == first.dtype() && array.device().same_device(&first.device())
        };
        let (some, others) = rest.split_at(rest.iter().take_while(alike).count().max(1));
        sum += run(&SumOfSquares { all: some.into() })?;
        rest = others;
    }
    Ok(sum)
}

fn squares_cpu<T: Real>(all: &[Array]) -> Result<f64> {
    let all = all.iter().map(contiguous).collect::<Result<Vec<_>>>()?;
    let slices = all.iter().map(host::slice::<T>).collect::<Result<Vec<_>>>()?;
    let pieces: Vec<&[T]> = slices.iter().flat_map(|slice| slice.chunks(PIECE)).collect();
    // Rows of 1024 elements are summed in the type of the array, their sums in f64: the norm of
    // many small numbers stays accurate.
    let squares = |piece: &[T]| {
        piece
            .chunks(1024)
            .map(|row| crate::host::simd::sum_by(row, |v| v * v).as_f64())
            .sum::<f64>()
    };
    Ok(map(pieces.len(), 1, |i| squares(pieces[i])).iter().sum())
}
