//! Softmax over the last axis, with the masks of attention.
//!
//! Shapes: scores are (batch, heads, i, j). A mask is u8, contains 1 where a key may be attended
//! to, and is broadcast over axes of size 1.
//!
//! A row without any allowed key gets the same weight everywhere, as if all scores were filled with
//! the lowest finite number, and its gradient is 0.

use crate::array::{HostArray, HostResult};
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::host::parallel::{
    assume_init_mut, build_uninit, build_zeroed, nth_chunk, rows_per_piece,
};
use crate::host::simd::{has_fma, map_in_place, max, sum_by, sum_by2};
use crate::host::{self, Real};
use crate::kernel::{arrays, no_cuda, run, Kernel};
use crate::memory::alloc;
use crate::ops::elementwise::{self, is_nan};
use crate::ops::layout::contiguous;
#[cfg(test)]
use crate::testing::normal64;
use crate::{Array, DType, Device, Result};
use std::mem::MaybeUninit;
use std::ops::Range;
use xt_macros::simd;

/// Which keys each query may attend to. A key must satisfy all conditions. The default allows every
/// key.
#[derive(Clone, Default)]
pub struct Mask {
    /// Mask, u8, 1 where a key is allowed; broadcastable to (batch, heads, i, j).
    pub allowed: Option<Array>,
    /// Whether the mask is causal: query r of i sees the keys up to r + j - i, so the last query
    /// sees all keys.
    pub causal: bool,
    /// Window: query r of i sees no key before r + j - i - `window`.
    pub window: Option<usize>,
}

impl Mask {
    /// Whether every key is allowed.
    fn is_empty(&self) -> bool {
        self.allowed.is_none() && !self.causal && self.window.is_none()
    }

    /// Checks that the mask fits scores of shape (batch, heads, i, j).
    pub(crate) fn check(&self, dims: [usize; 4]) -> Result<()> {
        let Some(allowed) = &self.allowed else { return Ok(()) };
        let (b, h, i, j) = allowed.dims4()?;
        let sizes = [b, h, i, j];
        if (0..4).any(|axis| sizes[axis] != 1 && sizes[axis] != dims[axis]) {
            bail!("mask {sizes:?} does not fit scores {dims:?}");
        }
        Ok(())
    }

    /// The range of the `j` keys that query `r` of `i` sees by its position.
    fn visible_keys(&self, r: usize, i: usize, j: usize) -> Range<usize> {
        let end = if self.causal { (r + j + 1).saturating_sub(i).min(j) } else { j };
        let start =
            self.window.map_or(0, |window| (r + j).saturating_sub(i.saturating_add(window)));
        start.min(end)..end
    }

    /// Combines all conditions into one mask, u8, (1 or batch, 1 or heads, 1 or i, j). Returns
    /// `None` if every key is allowed.
    pub fn dense(&self, i: usize, j: usize, device: &Device) -> Result<Option<Array>> {
        if !self.causal && self.window.is_none() {
            return Ok(self.allowed.clone());
        }
        let row = |r: usize| {
            let visible = self.visible_keys(r, i, j);
            (0..j).map(move |c| u8::from(visible.contains(&c)))
        };
        let visible =
            Array::from_vec((0..i).flat_map(row).collect::<Vec<u8>>(), (1, 1, i, j), device)?;
        match &self.allowed {
            Some(allowed) => Ok(Some(elementwise::mul(&visible, allowed)?)),
            None => Ok(Some(visible)),
        }
    }
}

/// [`forward`] for host arrays.
pub(crate) fn on_host(scores: &HostArray, mask: &Mask) -> Result<HostArray> {
    let filled = masked_fill(scores, mask)?;
    Ok(candle_nn::ops::softmax(&filled, filled.rank() - 1)?)
}

/// Replaces the scores that the mask excludes by the lowest finite number.
pub(crate) fn masked_fill(scores: &HostArray, mask: &Mask) -> Result<HostArray> {
    // candle creates the fill values as an f64 array.
    alloc::check(&[scores.elem_count(), 2], DType::F64)?;
    match dense(scores, mask)? {
        None => Ok(scores.clone()),
        Some(allowed) => Ok(allowed.where_cond(scores, &lowest(scores)?)?),
    }
}

/// The mask, broadcast to the shape of the scores; `None` if every key is allowed.
fn dense(scores: &HostArray, mask: &Mask) -> Result<Option<HostArray>> {
    if mask.is_empty() {
        return Ok(None);
    }
    let (_, _, i, j) = scores.dims4()?;
    match mask.dense(i, j, &Device::Cpu)? {
        Some(mask) => Ok(Some(mask.host()?.broadcast_as(scores.shape())?)),
        None => Ok(None),
    }
}

/// An array like `scores`, filled with the lowest finite value of its type.
fn lowest(scores: &HostArray) -> HostResult<HostArray> {
    let value = match scores.dtype() {
        DType::F64 => f64::MIN,
        DType::F16 => -65504.0,
        _ => f64::from(f32::MIN),
    };
    // The lowest finite bf16 is greater than the lowest f32.
    let value = if scores.dtype() == DType::BF16 { -3.389e38 } else { value };
    HostArray::full(value, scores.shape(), scores.device())?.to_dtype(scores.dtype())
}

/// Kernel of [`forward`].
#[derive(Clone)]
struct Forward {
    scores: Array,
    mask: Mask,
}

/// Kernel of [`backward`].
#[derive(Clone)]
struct Backward {
    /// The weights, (batch, heads, i, j).
    y: Array,
    /// The gradient of the weights, (batch, heads, i, j).
    grad: Array,
    mask: Mask,
}

arrays! {
    Mask { allowed }
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

    no_cuda!();

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let masked =
            masks().into_iter().map(|mask| Self { scores: normal64(&[2, 3, 4, 5], 1), mask });
        let more_queries = Mask { allowed: None, causal: true, window: None };
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

    no_cuda!();

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
        Some(allowed) => Ok(allowed.where_cond(&dx, &dx.zeros_like()?)?),
    }
}

/// The mask of each row of scores: its part of the mask array, and the range of keys that are
/// visible by position.
pub(crate) struct MaskRows<'a> {
    /// The storage of [`Mask::allowed`].
    mask: Option<host::Slice<'a, u8>>,
    /// Index of the first element in `mask`.
    offset: usize,
    /// Strides of the mask over (batch, heads, i, j); 0 for broadcast axes.
    strides: [usize; 4],
    /// Shape of the scores, (batch, heads, i, j).
    dims: [usize; 4],
    /// The settings for the range of visible keys.
    position_mask: &'a Mask,
}

impl<'a> MaskRows<'a> {
    /// The rows of `scores`, which may have any rank if the mask is empty.
    fn new(scores: &Array, mask: &'a Mask) -> Result<Self> {
        if mask.is_empty() {
            let (count, width) = host::rows_and_width(scores);
            return Self::with_dims([1, 1, count, width], mask);
        }
        let (b, h, i, j) = scores.dims4()?;
        Self::with_dims([b, h, i, j], mask)
    }

    /// The rows of scores of shape (batch, heads, i, j).
    pub(crate) fn with_dims(dims: [usize; 4], mask: &'a Mask) -> Result<Self> {
        let mut rows =
            MaskRows { mask: None, offset: 0, strides: [0; 4], dims, position_mask: mask };
        if let Some(allowed) = &mask.allowed {
            mask.check(dims)?;
            for (axis, size) in allowed.dims().iter().enumerate() {
                rows.strides[axis] = if *size == 1 { 0 } else { allowed.stride()[axis] };
            }
            let (slice, offset) = host::strided::<u8>(allowed)?;
            (rows.mask, rows.offset) = (Some(slice), offset);
        }
        Ok(rows)
    }

    /// The range of keys that row `row` sees by its position.
    pub(crate) fn visible(&self, row: usize) -> Range<usize> {
        let [_, _, i, j] = self.dims;
        self.position_mask.visible_keys(row % i, i, j)
    }

    /// The part of the mask array for row `row`, one number per key. If it is not contiguous, it is
    /// copied to `line`.
    pub(crate) fn allowed<'b>(&'b self, row: usize, line: &'b mut Vec<u8>) -> Option<&'b [u8]> {
        let mask: &[u8] = self.mask.as_ref()?;
        let [_, h, i, j] = self.dims;
        let at = self.offset
            + (row / (h * i)) * self.strides[0]
            + (row / i % h) * self.strides[1]
            + (row % i) * self.strides[2];
        if self.strides[3] == 1 {
            return mask.get(at..at + j);
        }
        line.clear();
        line.extend((0..j).map(|c| mask.get(at + c * self.strides[3]).copied().unwrap_or(0)));
        Some(line)
    }
}

fn forward_cpu<T: Real>(scores: &Array, mask: &Mask) -> Result<Array> {
    let scores = contiguous(scores)?;
    let rows = MaskRows::new(&scores, mask)?;
    let width = rows.dims[3];
    let xs = host::slice::<T>(&scores)?;
    let xs: &[T] = &xs;
    let count = rows_per_piece(width);
    let block = count * width;
    let write = |task: usize, y: &mut [MaybeUninit<T>]| {
        let x = nth_chunk(xs, task, block);
        let mut line = Vec::new();
        for (r, (y, x)) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)).enumerate() {
            let row = task * count + r;
            y.iter_mut().zip(x).for_each(|(y, x)| *y = MaybeUninit::new(*x));
            // SAFETY: the line above has written every element of `y`.
            let y = unsafe { assume_init_mut(y) };
            if weights_in_place(y, rows.allowed(row, &mut line), rows.visible(row)) {
                y.fill(T::ONE / T::of(width as f64));
            }
        }
    };
    // SAFETY: each piece consists of whole rows, and `write` writes every element of each row.
    let y = unsafe { build_uninit(xs.len(), block, write) }?;
    host::array(y, scores.dims())
}

/// Replaces the `visible` scores of a row by their softmax weights; keys that `allowed` excludes,
/// and all other keys, get 0.
///
/// Returns true if no key is allowed. Then all keys must get the same weight, and the values in
/// `row` are meaningless.
#[simd]
fn weights_in_place<T: Real>(row: &mut [T], allowed: Option<&[u8]>, visible: Range<usize>) -> bool {
    const FMA: bool = has_fma!();
    let allowed = allowed.map(|allowed| &allowed[visible.clone()]);
    let (before, row) = row.split_at_mut(visible.start);
    let (visible, hidden) = row.split_at_mut(visible.len());
    let whole = before.is_empty() && hidden.is_empty();
    for (x, a) in visible.iter_mut().zip(allowed.unwrap_or_default()) {
        *x = if *a != 0 { *x } else { T::LOWEST };
    }
    let top = max(visible);
    if top == T::LOWEST {
        // A row that contains only negative infinity is not a masked row: it has no weights, and
        // the computation below results in NaN.
        let uniform = if whole {
            visible.iter().all(|v| *v == top)
        } else {
            !visible.iter().any(|v| is_nan(*v))
        };
        if uniform {
            return true;
        }
    }
    map_in_place(visible, |v| (v - top).exp_down::<FMA>());
    let scale = T::ONE / sum_by(visible, |v| v);
    map_in_place(visible, |v| v * scale);
    before.fill(T::ZERO);
    hidden.fill(T::ZERO);
    false
}

/// CPU kernel of [`backward`].
fn backward_cpu<T: Real>(y: &Array, grad: &Array, mask: &Mask) -> Result<Array> {
    let (y, grad) = (contiguous(y)?, contiguous(grad)?);
    if y.elem_count() == 0 {
        return Ok(grad);
    }
    let rows = MaskRows::new(&y, mask)?;
    let width = rows.dims[3];
    let (ys, gs) = (host::slice::<T>(&y)?, host::slice::<T>(&grad)?);
    let (ys, gs): (&[T], &[T]) = (&ys, &gs);
    let count = rows_per_piece(width);
    let block = count * width;
    let dx = build_zeroed(ys.len(), block, |task, dx: &mut [T]| {
        let mut line = Vec::new();
        for (r, dx) in dx.chunks_exact_mut(width).enumerate() {
            let row = task * count + r;
            let visible = rows.visible(row);
            let masked = |allowed: &[u8]| allowed[visible.clone()].iter().all(|a| *a == 0);
            if visible.is_empty() || rows.allowed(row, &mut line).is_some_and(masked) {
                continue; // the weights are uniform and do not depend on the scores
            }
            let of = |xs| &nth_chunk(xs, row, width)[visible.clone()];
            backward_row(of(ys), of(gs), &mut dx[visible.clone()]);
        }
    })?;
    host::array(dx, y.dims())
}

#[simd]
fn backward_row<T: Real>(y: &[T], grad: &[T], dx: &mut [T]) {
    let dot = sum_by2(y, grad, |a, b| a * b);
    for ((dx, y), g) in dx.iter_mut().zip(y).zip(grad) {
        *dx = *y * (*g - dot);
    }
}

#[cfg(test)]
fn masks() -> Vec<Mask> {
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
        position_mask.map(|(causal, window)| Mask { allowed: a.clone(), causal, window })
    };
    allowed.into_iter().flat_map(masks).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_matches_reference, f64s, gradcheck, normal};

    #[test]
    fn equals_the_reference() {
        assert_matches_reference::<Forward>(1e-6);
        assert_matches_reference::<Backward>(1e-5);
    }

    #[test]
    fn gradient_agrees_with_differences() {
        let (x, g) = (f64s(&normal(&[2, 3, 4, 5], 1)), f64s(&normal(&[2, 3, 4, 5], 2)));
        for mask in masks() {
            let dx = backward(&forward(&x, &mask).unwrap(), &g, &mask).unwrap();
            gradcheck(&x, &g, &dx, |x| forward(x, &mask).unwrap());
        }
    }

    #[test]
    fn rows_with_nan_and_rows_without_weights_are_nan() {
        let all = |x: &Array, f: fn(f64) -> bool| crate::testing::values(x).into_iter().all(f);
        let mask = Mask::default();
        let plain =
            |x: &Array| Forward { scores: x.clone(), mask: Mask::default() }.reference().unwrap();
        for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
            for length in 1..=70 {
                for at in 0..length {
                    let mut values = crate::testing::values(&normal(&[length], 1));
                    values[at] = f64::NAN;
                    let x = Array::from_vec(values, length, &Device::Cpu)
                        .unwrap()
                        .to_dtype(dtype)
                        .unwrap();
                    assert!(all(&forward(&x, &mask).unwrap(), f64::is_nan), "{length}, {at}");
                    assert!(all(&plain(&x), f64::is_nan));
                }
                let lowest = Array::full(f64::NEG_INFINITY, length, &Device::Cpu)
                    .unwrap()
                    .to_dtype(dtype)
                    .unwrap();
                assert!(all(&forward(&lowest, &mask).unwrap(), f64::is_nan), "{length}");
                assert!(all(&plain(&lowest), f64::is_nan));
            }
            let empty = Array::zeros((2, 0), dtype, &Device::Cpu).unwrap();
            assert_eq!(forward(&empty, &mask).unwrap().dims(), [2, 0]);
        }
        let x = Array::new(&[f64::NEG_INFINITY, 1.0, f64::MIN], &Device::Cpu).unwrap();
        assert_eq!(forward(&x, &mask).unwrap().to_vec1::<f64>().unwrap(), [0.0, 1.0, 0.0]);
    }
}
