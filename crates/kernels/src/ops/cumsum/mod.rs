//! Running sums along an axis: `y[i] = Σ x[j]` over all `j ≤ i`, or over all `j ≥ i`.
//!
//! As in PyTorch, sums of integers and booleans are i64. Floating-point numbers are summed in f64.

#[cfg(feature = "cuda")]
mod cuda;

use crate::array::HostArray;
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::host::parallel::{for_each_piece, rows_per_piece, Buffers};
use crate::host::{self, via_f32_if_half};
use crate::kernel::{arrays, run, Kernel};
use crate::ops::layout::narrow_on_host;
use crate::{Array, DType, Element, Result};
#[cfg(feature = "cuda")]
use std::sync::Arc;

/// Kernel of [`cumsum`].
#[derive(Clone)]
struct Cumsum {
    x: Array,
    axis: usize,
    reverse: bool,
}

arrays!(Cumsum { x });

impl Kernel for Cumsum {
    const NAME: &'static str = "cumsum";
    type Out = Array;

    fn check(&self) -> Result<()> {
        if self.axis >= self.x.rank() {
            bail!("there is no axis {} in shape {:?}", self.axis, self.x.dims());
        }
        Ok(())
    }

    fn reference(&self) -> Result<Array> {
        let x = self.x.host()?;
        let x = if x.dtype().is_float() { x.clone() } else { x.to_dtype(DType::I64)? };
        let count = x.dims()[self.axis];
        if x.elem_count() == 0 {
            return Ok(x.into());
        }
        let mut sums: Vec<HostArray> = Vec::new();
        for i in 0..count {
            let at = if self.reverse { count - 1 - i } else { i };
            let next = narrow_on_host(&x, self.axis, at, 1)?;
            sums.push(sums.last().map_or(Ok(next.clone()), |sum| sum + &next)?);
        }
        if self.reverse {
            sums.reverse();
        }
        Ok(HostArray::cat(&sums, self.axis)?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        self.scan::<T, f64>(0.0, |sum, x| sum + x.as_f64(), T::of)
    }

    fn cpu_other<T: Element>(&self) -> Option<Result<Array>> {
        let with = |x: &Array| Self { x: x.clone(), ..*self };
        Some(via_f32_if_half(&self.x, |x| with(x).cpu::<f32>()).unwrap_or_else(|| {
            with(&self.x.to_dtype(DType::I64)?).scan::<i64, i64>(0, i64::wrapping_add, |sum| sum)
        }))
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        cuda::cumsum(&self.x, self.axis, self.reverse, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let cases: [(&[usize], usize); 8] = [
            (&[2, 3, 5], 0),
            (&[2, 3, 5], 1),
            (&[2, 3, 5], 2),
            (&[7], 0),
            (&[3, 2000], 1),
            (&[700, 3], 0),
            (&[2, 0, 3], 1),
            (&[0, 3], 1),
        ];
        let of = |(dims, axis): (&[usize], usize)| {
            [false, true].map(|reverse| Self {
                x: crate::testing::normal64(dims, 1),
                axis,
                reverse,
            })
        };
        cases.into_iter().flat_map(of).collect()
    }
}

impl Cumsum {
    /// CPU kernel: `add` adds a number to a sum of type `S`, which starts as `zero`.
    fn scan<T: Element, S: Copy + Send + Sync>(
        &self,
        zero: S,
        add: impl Fn(S, T) -> S + Sync,
        round: impl Fn(S) -> T + Sync,
    ) -> Result<Array> {
        let dims = self.x.dims();
        let (count, inner) = (dims[self.axis], dims[self.axis + 1..].iter().product::<usize>());
        let mut y = host::to_vec::<T>(&self.x)?;
        let block = (count * inner).max(1);
        let size = rows_per_piece(block) * block;
        let buffers = Buffers::<S>::new(y.len().div_ceil(size), inner)?;
        for_each_piece(&mut y, size, |_, piece| {
            buffers.with(|sums| {
                for block in piece.chunks_exact_mut(block) {
                    sums.clear();
                    sums.resize(inner, zero);
                    for i in 0..count {
                        let at = if self.reverse { count - 1 - i } else { i };
                        for (sum, x) in sums.iter_mut().zip(&mut block[at * inner..]) {
                            *sum = add(*sum, *x);
                            *x = round(*sum);
                        }
                    }
                }
            });
        });
        host::array(y, dims)
    }
}

/// Computes the running sums of `x` along `axis`, from the first element on, or with `reverse` from
/// the last. Integers give i64.
///
/// # Errors
/// If the axis does not exist.
pub fn cumsum(x: &Array, axis: usize, reverse: bool) -> Result<Array> {
    run(&Cumsum { x: x.clone(), axis, reverse })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_matches_reference, device, normal, on_device, reference, values};

    #[test]
    fn equals_the_reference() {
        assert_matches_reference::<Cumsum>(1e-5);
        assert!(cumsum(&on_device(&normal(&[4, 3], 3)), 2, false).is_err());
    }

    #[test]
    fn integers_are_summed_in_64_bits() {
        for dtype in [DType::U8, DType::U32, DType::I64] {
            let x = Array::full(200u8, (3, 700, 2), &device()).unwrap().to_dtype(dtype).unwrap();
            for reverse in [false, true] {
                let got = cumsum(&x, 1, reverse).unwrap();
                assert_eq!(got.dtype(), DType::I64);
                let want = reference(&Cumsum { x: x.clone(), axis: 1, reverse });
                assert_eq!(values(&got), values(&want));
            }
        }
    }

    /// A running sum in f16 would stop at 2048.
    #[test]
    fn half_precision_is_summed_in_f64() {
        let x = Array::ones(4096, DType::F16, &device()).unwrap();
        assert_eq!(values(&cumsum(&x, 0, false).unwrap())[4095], 4096.0);
    }
}
