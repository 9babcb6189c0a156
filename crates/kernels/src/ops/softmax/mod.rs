//! Softmax over the last axis, with the masks of attention.
//!
//! Shapes: scores are (batch, heads, i, j). A mask is u8, contains 1 where a key may be attended
//! to, and is broadcast over axes of size 1.
//!
//! A row without any allowed key gets the same weight everywhere, as if all scores were filled with
//! the lowest finite number, and its gradient is 0.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod mask;
#[cfg(test)]
mod tests;

#[cfg(feature = "cuda")]
pub(crate) use cuda::MaskArgs;
pub use mask::Mask;
pub(crate) use mask::{masked_fill, MaskRows};

use crate::array::HostArray;
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::host;
use crate::host::gemm::blas::Blas;
use crate::kernel::{arrays, run, Kernel};
use crate::ops::select;
#[cfg(test)]
use crate::testing::normal64;
#[cfg(test)]
use crate::Device;
use crate::{Array, DType, Result};
use cpu::{backward_cpu, forward_cpu};
use mask::dense;
#[cfg(feature = "cuda")]
use std::sync::Arc;

/// [`forward`] for host arrays.
pub(crate) fn on_host(scores: &HostArray, mask: &Mask) -> Result<HostArray> {
    let filled = masked_fill(scores, mask)?;
    Ok(candle_nn::ops::softmax(&filled, filled.rank() - 1)?)
}

/// Kernel of [`forward`].
#[derive(Clone)]
pub(super) struct Forward {
    scores: Array,
    mask: Mask,
}

/// Kernel of [`backward`].
#[derive(Clone)]
pub(super) struct Backward {
    /// The weights, (batch, heads, i, j).
    y: Array,
    /// The gradient of the weights, (batch, heads, i, j).
    grad: Array,
    mask: Mask,
}

arrays! {
    Forward { scores, mask }
    Backward { y, grad, mask }
}

/// Checks that the mask fits the scores.
fn check(scores: &Array, mask: &Mask) -> Result<()> {
    if mask.is_empty() {
        return Ok(());
    }
    let (b, h, i, j) = scores.dims4()?;
    mask.check([b, h, i, j])
}

impl Kernel for Forward {
    const NAME: &'static str = "softmax";
    type Out = Array;

    fn check(&self) -> Result<()> {
        check(&self.scores, &self.mask)
    }

    fn reference(&self) -> Result<Array> {
        Ok(on_host(self.scores.host()?, &self.mask)?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        forward_cpu::<T>(&self.scores, &self.mask)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        cuda::forward(&self.scores, &self.mask, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let masked =
            masks().into_iter().map(|mask| Self { scores: normal64(&[2, 3, 4, 5], 1), mask });
        let more_queries = Mask { causal: true, ..Mask::default() };
        let plain = [&[7][..], &[3, 700], &[5, 1]]
            .map(|dims| Self { scores: normal64(dims, 1), mask: Mask::default() });
        masked
            .chain(plain)
            .chain([Self { scores: normal64(&[1, 1, 5, 3], 1), mask: more_queries }])
            .collect()
    }
}

impl Kernel for Backward {
    const NAME: &'static str = "softmax backward";
    type Out = Array;

    fn check(&self) -> Result<()> {
        host::check_like(&self.y, [Some(&self.grad)])?;
        check(&self.y, &self.mask)
    }

    fn reference(&self) -> Result<Array> {
        Ok(backward_on_host(self.y.host()?, self.grad.host()?, &self.mask)?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        backward_cpu::<T>(&self.y, &self.grad, &self.mask)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        cuda::backward(&self.y, &self.grad, &self.mask, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |mask: Mask| {
            let y = run(&Forward { scores: normal64(&[2, 3, 4, 5], 1), mask: mask.clone() });
            Self { y: y.unwrap(), grad: normal64(&[2, 3, 4, 5], 2), mask }
        };
        masks().into_iter().map(of).collect()
    }
}

/// Computes the softmax of `scores` over the last axis. With a mask the scores must be
/// (batch, heads, i, j), without one they may have any rank. Half-precision scores are computed in
/// f32.
///
/// # Errors
/// If the mask does not fit the scores.
pub fn forward(scores: &Array, mask: &Mask) -> Result<Array> {
    if scores.elem_count() == 0 {
        return Ok(scores.clone());
    }
    if let Some(weights) = host::via_f32_if_half(scores, |scores| forward(scores, mask)) {
        return weights;
    }
    run(&Forward { scores: scores.clone(), mask: mask.clone() })
}

/// Computes the gradient of the scores from the weights `y`, the result of [`forward`], and their
/// gradient `grad`; all have the same shape.
///
/// # Errors
/// If the shapes do not fit together.
pub fn backward(y: &Array, grad: &Array, mask: &Mask) -> Result<Array> {
    if let Some(dx) = host::via_f32_if_half(y, |y| backward(y, &grad.to_dtype(DType::F32)?, mask)) {
        return dx;
    }
    run(&Backward { y: y.clone(), grad: grad.clone(), mask: mask.clone() })
}

/// [`backward`] for host arrays.
pub(crate) fn backward_on_host(y: &HostArray, grad: &HostArray, mask: &Mask) -> Result<HostArray> {
    let dot = (y * grad)?.sum_keepdim(y.rank() - 1)?;
    let dx = (y * grad.broadcast_sub(&dot)?)?;
    match dense(y, mask)? {
        None => Ok(dx),
        Some(allowed) => Ok(select::on_host(&allowed, &dx, &dx.zeros_like()?)?),
    }
}

#[cfg(test)]
pub(super) fn masks() -> Vec<Mask> {
    let key =
        Array::from_vec(vec![1u8, 1, 1, 1, 0, 0, 0, 0, 0, 1], (2, 1, 1, 5), &Device::Cpu).unwrap();
    let full = normal64(&[2, 3, 4, 5], 9)
        .ge(&Array::zeros((2, 3, 4, 5), DType::F64, &Device::Cpu).unwrap())
        .unwrap();
    let transposed = full.t().unwrap().copy().unwrap().t().unwrap();
    let allowed =
        [None, Some(key.clone()), Some(key.zeros_like().unwrap()), Some(full), Some(transposed)];
    let position_mask =
        [(false, None), (true, None), (true, Some(1)), (false, Some(0)), (false, Some(7))];
    let masks = |a: Option<Array>| {
        position_mask.map(|(causal, window)| Mask {
            allowed: a.clone(),
            causal,
            window,
            ranges: None,
        })
    };
    let by_range = |causal| Mask { causal, ranges: Some(ranges(2, 4, 5)), ..Mask::default() };
    let by_all = Mask { allowed: Some(key), window: Some(1), ..by_range(true) };
    allowed.into_iter().flat_map(masks).chain([by_range(false), by_range(true), by_all]).collect()
}

/// Ranges of keys, (batch, i, 2), for documents of three keys; the second query sees nothing.
#[cfg(test)]
pub(crate) fn ranges(batch: usize, i: usize, j: usize) -> Array {
    let of = |row: usize| {
        let at = (row / i + row % i + j).saturating_sub(i) / 3 * 3;
        let end = if row % i == 1 { at } else { (at + 3).min(j) };
        [at as i64, end as i64]
    };
    let values: Vec<i64> = (0..batch * i).flat_map(of).collect();
    Array::from_vec(values, (batch, i, 2), &Device::Cpu).unwrap()
}
