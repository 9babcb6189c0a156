//! Steps of the optimizers over one parameter, and the norm of gradients.

use crate::cpu::{self, dispatch, Real};
use crate::layout::contiguous;
use crate::parallel::{map, part, written_beside, PIECE};
use crate::{Array, DType, Result};
use candle_core::{CpuStorage, InplaceOp1, Layout};
use multiversion::multiversion;
use std::cell::RefCell;
use std::mem::MaybeUninit;

/// Settings of one Adam step.
#[derive(Clone, Copy, Debug)]
pub struct Adam {
    pub lr: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub weight_decay: f64,
    /// Weight decay shrinks the weights directly (AdamW) instead of entering the gradient (Adam).
    pub decoupled: bool,
    /// Number of this step, from 1.
    pub step: u64,
}

/// What an Adam step leaves behind.
pub struct AdamResult {
    pub weight: Array,
    pub mean: Array,
    pub square: Array,
}

/// Whether [`adam_in_place`] takes a weight with its gradient and averages.
pub fn is_in_place(all: [&Array; 4]) -> bool {
    let known = |array: &Array| array.device().is_cpu() && matches!(array.dtype(), DType::F32 | DType::F64);
    let alike = |array: &Array| array.dtype() == all[0].dtype() && array.dims() == all[0].dims();
    all.into_iter().all(|array| known(array) && alike(array))
}

/// One step of Adam, <https://arxiv.org/abs/1412.6980>, or AdamW, <https://arxiv.org/abs/1711.05101>, on the CPU.
/// `mean` and `square` are the running averages of the gradient and of its square: whole storages that nothing else holds, and that change. Gives
/// the new weight. Where this is an error, nothing has changed.
pub fn adam_in_place(weight: &Array, grad: &Array, mean: &Array, square: &Array, s: Adam) -> Result<Array> {
    dispatch!(
        weight,
        T => adam_cpu::<T>(weight, grad, mean, square, s),
        else candle_core::bail!("a step in place needs f32 or f64 on the CPU")
    )
}

/// The step on candle's own operations.
pub fn adam_reference(weight: &Array, grad: &Array, mean: &Array, square: &Array, s: Adam) -> Result<AdamResult> {
    let (mut weight, mut grad) = (weight.clone(), grad.clone());
    if s.decoupled {
        weight = (weight * (1.0 - s.lr * s.weight_decay))?;
    } else if s.weight_decay != 0.0 {
        grad = (grad + (&weight * s.weight_decay)?)?;
    }
    let mean = ((mean * s.beta1)? + (&grad * (1.0 - s.beta1))?)?;
    let square = ((square * s.beta2)? + (grad.sqr()? * (1.0 - s.beta2))?)?;
    let (rate, root) = corrections(s);
    let weight = (weight - ((&mean * rate)? / ((square.sqrt()? / root)? + s.eps)?)?)?;
    Ok(AdamResult { weight, mean, square })
}

/// The rate, and the divisor of the root, with the bias of the running averages taken out.
fn corrections(s: Adam) -> (f64, f64) {
    let power = |beta: f64| 1.0 - beta.powf(s.step as f64);
    (s.lr / power(s.beta1), power(s.beta2).sqrt())
}

/// An operation on the storage of an array.
struct InPlace<F>(RefCell<F>);

impl<F: FnMut(&mut CpuStorage) -> Result<()>> InplaceOp1 for InPlace<F> {
    fn name(&self) -> &'static str {
        "in place"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, _: &Layout) -> Result<()> {
        (self.0.borrow_mut())(storage)
    }
}

/// Runs `f` on the values of `array`, which are `count`.
fn change<T: Real>(array: &Array, count: usize, mut f: impl FnMut(&mut [T]) -> Result<()>) -> Result<()> {
    let on_storage = |storage: &mut CpuStorage| match T::values_mut(storage) {
        Some(values) if values.len() == count => f(values),
        _ => candle_core::bail!("state {:?} does not fit a parameter of {count} numbers", array.dims()),
    };
    array.inplace_op1(&InPlace(RefCell::new(on_storage)))
}

fn adam_cpu<T: Real>(weight: &Array, grad: &Array, mean: &Array, square: &Array, s: Adam) -> Result<Array> {
    let (weight, grad) = (contiguous(weight)?, contiguous(grad)?);
    let (w, g) = (cpu::slice::<T>(&weight)?, cpu::slice::<T>(&grad)?);
    let (w, g): (&[T], &[T]) = (&w, &g);
    if w.len() != g.len() {
        candle_core::bail!("a gradient {:?} for a parameter {:?}", grad.dims(), weight.dims());
    }
    let mut new = Vec::new();
    change::<T>(mean, w.len(), |mean| {
        change::<T>(square, w.len(), |square| {
            let averages = mean.chunks_mut(PIECE).zip(square.chunks_mut(PIECE)).collect();
            let write = |i, new: &mut [MaybeUninit<T>], (mean, square): (&mut [T], &mut [T])| {
                adam_slice(new, [mean, square], [part(w, i, PIECE), part(g, i, PIECE)], s);
            };
            // SAFETY: it writes a number for each of the weight.
            new = unsafe { written_beside(w.len(), PIECE, averages, write) }?;
            Ok(())
        })
    })?;
    cpu::array(new, weight.dims())
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn adam_slice<T: Real>(new: &mut [MaybeUninit<T>], [m, v]: [&mut [T]; 2], [w, g]: [&[T]; 2], s: Adam) {
    let (rate, root) = corrections(s);
    let (rate, inverse_root, eps) = (T::of(rate), T::of(1.0 / root), T::of(s.eps));
    let (b1, c1, b2, c2) = (T::of(s.beta1), T::of(1.0 - s.beta1), T::of(s.beta2), T::of(1.0 - s.beta2));
    let shrink = T::of(if s.decoupled { 1.0 - s.lr * s.weight_decay } else { 1.0 });
    let decay = T::of(if s.decoupled { 0.0 } else { s.weight_decay });
    let n = w.len();
    let (g, new, m, v) = (&g[..n], &mut new[..n], &mut m[..n], &mut v[..n]);
    for i in 0..n {
        let g = g[i] + decay * w[i];
        m[i] = b1 * m[i] + c1 * g;
        v[i] = b2 * v[i] + c2 * g * g;
        new[i] = MaybeUninit::new(w[i] * shrink - rate * m[i] / (v[i].sqrt() * inverse_root + eps));
    }
}

/// Settings of one SGD step.
#[derive(Clone, Copy, Debug)]
pub struct Sgd {
    pub lr: f64,
    pub momentum: f64,
    pub dampening: f64,
    pub weight_decay: f64,
    pub nesterov: bool,
}

/// One step of stochastic gradient descent; gives the weight and, with momentum, the new buffer. A first step
/// (`buffer` is `None`) starts the buffer with the gradient itself, as PyTorch does.
pub fn sgd(weight: &Array, grad: &Array, buffer: Option<&Array>, s: Sgd) -> Result<(Array, Option<Array>)> {
    let grad = if s.weight_decay == 0.0 { grad.clone() } else { (grad + (weight * s.weight_decay)?)? };
    if s.momentum == 0.0 {
        return Ok(((weight - (grad * s.lr)?)?, None));
    }
    let buffer = match buffer {
        None => grad.clone(),
        Some(buffer) => ((buffer * s.momentum)? + (&grad * (1.0 - s.dampening))?)?,
    };
    let direction = if s.nesterov { (grad + (&buffer * s.momentum)?)? } else { buffer.clone() };
    Ok(((weight - (direction * s.lr)?)?, Some(buffer)))
}

/// The sum of squares, in f64.
pub fn sum_of_squares(x: &Array) -> Result<f64> {
    dispatch!(x, T => squares_cpu::<T>(x), else x.to_dtype(crate::DType::F32)?.sqr()?.sum_all()?.to_dtype(crate::DType::F64)?.to_scalar())
}

fn squares_cpu<T: Real>(x: &Array) -> Result<f64> {
    let x = contiguous(x)?;
    let xs = cpu::slice::<T>(&x)?;
    let xs: &[T] = &xs;
    // short pieces, summed in f64: the norm of many small numbers keeps its digits
    let parts = map(xs.len().div_ceil(1024), 16, |i| crate::simd::sum_by(part(xs, i, 1024), |v| v * v).wide());
    Ok(parts.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, normal, values};

    #[test]
    fn adam_equals_the_reference() {
        let (w, g, m) = (normal(&[3, 7], 1), normal(&[3, 7], 2), normal(&[3, 7], 3));
        let v = normal(&[3, 7], 4).sqr().unwrap();
        for decoupled in [false, true] {
            let s = Adam { lr: 0.1, beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.1, decoupled, step: 3 };
            let want = adam_reference(&w, &g, &m, &v, s).unwrap();
            let [mean, square] = [&m, &v].map(|array| array.copy().unwrap());
            let new = adam_in_place(&w, &g, &mean, &square, s).unwrap();
            close(&new, &want.weight, 1e-5);
            close(&mean, &want.mean, 1e-6);
            close(&square, &want.square, 1e-6);
            let message = adam_in_place(&w, &g, &normal(&[2], 5), &square, s).unwrap_err().to_string();
            assert!(message.contains("[2]"), "{message}");
        }
    }

    #[test]
    fn sgd_with_momentum_by_hand() {
        let (w, g) = (normal(&[4], 1), normal(&[4], 2));
        let s = Sgd { lr: 0.5, momentum: 0.9, dampening: 0.0, weight_decay: 0.0, nesterov: false };
        let (w1, b1) = sgd(&w, &g, None, s).unwrap();
        let (w2, _) = sgd(&w1, &g, b1.as_ref(), s).unwrap();
        for (i, x) in values(&w2).iter().enumerate() {
            let want = values(&w)[i] - 0.5 * values(&g)[i] * (1.0 + 1.9);
            assert!((x - want).abs() < 1e-5);
        }
    }

    #[test]
    fn norm() {
        let x = normal(&[5000], 1);
        let want: f64 = values(&x).iter().map(|v| v * v).sum();
        assert!((sum_of_squares(&x).unwrap() / want - 1.0).abs() < 1e-5);
    }
}
