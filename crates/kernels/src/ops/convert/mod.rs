//! Checked conversion of floating-point numbers to integers.

#[cfg(feature = "cuda")]
mod cuda;

#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::host::parallel::{build_uninit, nth_chunk, PIECE};
use crate::host::{self, Real};
use crate::kernel::{arrays, run, Kernel};
use crate::ops::layout::contiguous;
use crate::{Array, DType, Device, Element, Result};
use std::mem::MaybeUninit;
#[cfg(feature = "cuda")]
use std::sync::Arc;

/// The smallest i64.
const LEAST: f64 = i64::MIN as f64;
/// The first number above the range of i64.
const BEYOND: f64 = -LEAST;

/// Kernel of [`to_integer`].
#[derive(Clone)]
struct ToI64 {
    x: Array,
}

arrays!(ToI64 { x });

impl Kernel for ToI64 {
    const NAME: &'static str = "to i64";
    type Out = Array;

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn reference(&self) -> Result<Array> {
        let x: Vec<f64> = self.x.host()?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
        x.iter().try_for_each(|x| check(*x))?;
        Array::from_vec(x.into_iter().map(|x| x as i64).collect(), self.x.dims(), &Device::Cpu)
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        to_i64::<T>(&self.x)
    }

    fn cpu_other<T: Element>(&self) -> Option<Result<Array>> {
        Some(self.x.to_dtype(DType::F32).and_then(|x| to_i64::<f32>(&x)))
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        cuda::to_i64(&self.x, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |dims: &[usize]| Self {
            x: crate::testing::map(&crate::testing::normal64(dims, 1), |x| 9.0 * x),
        };
        [&[4, 5000][..], &[7], &[0, 3], &[]].map(of).into()
    }
}

/// Converts `x` to the integer type `dtype`, i64 or u8. As in PyTorch, fractions are truncated, and
/// u8 wraps.
///
/// # Errors
/// If a value has no i64: NaN, infinities, and numbers beyond 64 bits. In PyTorch their result
/// depends on the processor.
pub fn to_integer(x: &Array, dtype: DType) -> Result<Array> {
    run(&ToI64 { x: x.clone() })?.to_dtype(dtype)
}

/// Checks that `x` is in the range of i64.
fn check(x: f64) -> Result<()> {
    if !(LEAST..BEYOND).contains(&x) {
        bail!("{x} does not fit a 64-bit integer: replace such values before the cast");
    }
    Ok(())
}

fn to_i64<T: Real>(x: &Array) -> Result<Array> {
    let x = contiguous(x)?;
    let xs = host::slice::<T>(&x)?;
    let xs: &[T] = &xs;
    xs.iter().try_for_each(|x| check(x.as_f64()))?;
    let convert = |piece: usize, ys: &mut [MaybeUninit<i64>]| {
        let xs = nth_chunk(xs, piece, PIECE);
        ys.iter_mut().zip(xs).for_each(|(y, x)| *y = MaybeUninit::new(x.as_f64() as i64));
    };
    // SAFETY: `convert` writes an output for each input.
    host::array(unsafe { build_uninit(xs.len(), PIECE, convert) }?, x.dims())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::device;

    #[test]
    fn equals_the_reference() {
        crate::testing::assert_matches_reference::<ToI64>(0.0);
    }

    #[test]
    fn fractions_are_cut_off_and_u8_wraps() {
        let values = [300.0, -1.0, -1.7, 0.0, -0.0, 1.9, 255.5, 1e10];
        for dtype in [DType::F64, DType::F32] {
            let x = Array::new(&values, &device()).unwrap().to_dtype(dtype).unwrap();
            let whole = to_integer(&x, DType::I64).unwrap().to_vec1::<i64>().unwrap();
            assert_eq!(whole, [300, -1, -1, 0, 0, 1, 255, 10_000_000_000]);
            let bytes = to_integer(&x, DType::U8).unwrap().to_vec1::<u8>().unwrap();
            assert_eq!(bytes, [44, 255, 255, 0, 0, 1, 255, 0]);
        }
        let half = Array::new(&[-3.5f32, 2.0, 300.0], &device()).unwrap();
        for dtype in [DType::F16, DType::BF16] {
            let whole = to_integer(&half.to_dtype(dtype).unwrap(), DType::I64).unwrap();
            assert_eq!(whole.to_vec1::<i64>().unwrap(), [-3, 2, 300]);
        }
        let transposed = Array::arange(0f32, 20_000.0, &device())
            .unwrap()
            .reshape((4, 5000))
            .unwrap()
            .t()
            .unwrap();
        let whole = to_integer(&transposed, DType::I64).unwrap();
        assert_eq!(whole.dims(), [5000, 4]);
        assert_eq!(whole.to_vec2::<i64>().unwrap()[1], [1, 5001, 10_001, 15_001]);
        let least = Array::new(&[LEAST], &device()).unwrap();
        assert_eq!(to_integer(&least, DType::I64).unwrap().to_vec1::<i64>().unwrap(), [i64::MIN]);
    }

    /// On a GPU the next download fails with it, which may be that of another test.
    #[test]
    fn what_does_not_fit_is_an_error_on_the_cpu() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 9.3e18, BEYOND, -9.3e18] {
            let x = Array::new(&[1.0, bad], &Device::Cpu).unwrap();
            for dtype in [DType::I64, DType::U8] {
                let message = to_integer(&x, dtype).unwrap_err().to_string();
                assert!(message.contains("does not fit a 64-bit integer"), "{message}");
            }
        }
    }
}
