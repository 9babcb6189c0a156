//! Steps of the optimizers over one parameter, and the norm of gradients.

use crate::cpu::{self, dispatch, Real};
use crate::elementwise::{affine, zip};
use crate::in_place::change;
use crate::layout::contiguous;
use crate::parallel::{map, part, written_beside, PIECE};
use crate::{Array, Result};
use multiversion::multiversion;
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

/// One step of Adam, <https://arxiv.org/abs/1412.6980>, or AdamW, <https://arxiv.org/abs/1711.05101>, on the CPU.
/// `mean` and `square` are the running averages of the gradient and of its square, which change, see [`crate::in_place`]. Gives the new weight. Where this is
/// an error, nothing has changed.
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
    /// A first step starts the buffer with the gradient itself, as PyTorch does.
    pub first: bool,
}

/// One step of stochastic gradient descent on the CPU. `buffer` is the gradients' running sum, which changes, see [`crate::in_place`]; without
/// momentum there is none. Gives the new weight. Where this is an error, nothing has changed.
pub fn sgd_in_place(weight: &Array, grad: &Array, buffer: Option<&Array>, s: Sgd) -> Result<Array> {
    dispatch!(
        weight,
        T => sgd_cpu::<T>(weight, grad, buffer, s),
        else candle_core::bail!("a step in place needs f32 or f64 on the CPU")
    )
}

/// The step on other operations: the new weight and buffer.
pub fn sgd_reference(weight: &Array, grad: &Array, buffer: Option<&Array>, s: Sgd) -> Result<(Array, Option<Array>)> {
    let grad = if s.weight_decay == 0.0 { grad.clone() } else { (grad + affine(weight, s.weight_decay, 0.0)?)? };
    let Some(buffer) = buffer else {
        return Ok(((weight - affine(&grad, s.lr, 0.0)?)?, None));
    };
    let buffer = match s.first {
        true => grad.clone(),
        false => (affine(buffer, s.momentum, 0.0)? + affine(&grad, 1.0 - s.dampening, 0.0)?)?,
    };
    let direction = if s.nesterov { (grad + affine(&buffer, s.momentum, 0.0)?)? } else { buffer.clone() };
    Ok(((weight - affine(&direction, s.lr, 0.0)?)?, Some(buffer)))
}

fn sgd_cpu<T: Real>(weight: &Array, grad: &Array, buffer: Option<&Array>, s: Sgd) -> Result<Array> {
    let Some(buffer) = buffer else {
        let (lr, decay) = (T::of(s.lr), T::of(s.weight_decay));
        let step = |w: &[T], g: &[T], new: &mut [MaybeUninit<T>]| {
            new.iter_mut().zip(w.iter().zip(g)).for_each(|(new, (w, g))| {
                *new = MaybeUninit::new(*w - lr * (*g + decay * *w));
            });
        };
        // SAFETY: it writes a number for each two.
        return unsafe { zip::<T>(weight, grad, step) };
    };
    let (weight, grad) = (contiguous(weight)?, contiguous(grad)?);
    let (w, g) = (cpu::slice::<T>(&weight)?, cpu::slice::<T>(&grad)?);
    let (w, g): (&[T], &[T]) = (&w, &g);
    if w.len() != g.len() {
        candle_core::bail!("a gradient {:?} for a parameter {:?}", grad.dims(), weight.dims());
    }
    let mut new = Vec::new();
    change::<T>(buffer, w.len(), |buffer| {
        let pieces = buffer.chunks_mut(PIECE).collect();
        let write = |i, new: &mut [MaybeUninit<T>], buffer: &mut [T]| {
            sgd_slice(new, buffer, [part(w, i, PIECE), part(g, i, PIECE)], s);
        };
        // SAFETY: it writes a number for each of the weight.
        new = unsafe { written_beside(w.len(), PIECE, pieces, write) }?;
        Ok(())
    })?;
    cpu::array(new, weight.dims())
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn sgd_slice<T: Real>(new: &mut [MaybeUninit<T>], buffer: &mut [T], [w, g]: [&[T]; 2], s: Sgd) {
    let (lr, decay) = (T::of(s.lr), T::of(s.weight_decay));
    // what the new buffer takes of the old one and of the gradient, and what the direction takes of the gradient and of the new buffer
    let (old, more) = if s.first { (0.0, 1.0) } else { (s.momentum, 1.0 - s.dampening) };
    let (own, sum) = if s.nesterov { (1.0, s.momentum) } else { (0.0, 1.0) };
    let [old, more, own, sum] = [old, more, own, sum].map(T::of);
    let n = w.len();
    let (g, new, b) = (&g[..n], &mut new[..n], &mut buffer[..n]);
    for i in 0..n {
        let g = g[i] + decay * w[i];
        b[i] = old * b[i] + more * g;
        new[i] = MaybeUninit::new(w[i] - lr * (own * g + sum * b[i]));
    }
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

    fn sgd() -> Sgd {
        Sgd { lr: 0.5, momentum: 0.9, dampening: 0.0, weight_decay: 0.0, nesterov: false, first: false }
    }

    #[test]
    fn sgd_equals_the_reference() {
        let (w, g, b) = (normal(&[3, 7], 1), normal(&[3, 7], 2), normal(&[3, 7], 3));
        let settings = [
            sgd(),
            Sgd { first: true, nesterov: true, ..sgd() },
            Sgd { nesterov: true, dampening: 0.4, weight_decay: 0.1, ..sgd() },
            Sgd { dampening: 0.4, weight_decay: 0.1, first: true, ..sgd() },
        ];
        for s in settings {
            let (want, buffer) = sgd_reference(&w, &g, Some(&b), s).unwrap();
            let own = b.copy().unwrap();
            close(&sgd_in_place(&w, &g, Some(&own), s).unwrap(), &want, 1e-6);
            close(&own, &buffer.unwrap(), 1e-6);
            let (want, _) = sgd_reference(&w, &g, None, s).unwrap();
            close(&sgd_in_place(&w, &g, None, s).unwrap(), &want, 1e-6);
            let message = sgd_in_place(&w, &g, Some(&normal(&[2], 5)), s).unwrap_err().to_string();
            assert!(message.contains("[2]"), "{message}");
        }
    }

    #[test]
    fn sgd_with_momentum_by_hand() {
        let (w, g) = (normal(&[4], 1), normal(&[4], 2));
        let buffer = w.zeros_like().unwrap();
        let w1 = sgd_in_place(&w, &g, Some(&buffer), Sgd { first: true, ..sgd() }).unwrap();
        let w2 = sgd_in_place(&w1, &g, Some(&buffer), sgd()).unwrap();
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
