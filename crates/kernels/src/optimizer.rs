//! Steps of the optimizers over one parameter, and the norm of gradients.

use crate::cpu::{self, dispatch, Real};
use crate::layout::contiguous;
use crate::parallel::{computed3, map, part, PIECE};
use crate::{Array, Result};
use multiversion::multiversion;

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

/// One step of Adam, <https://arxiv.org/abs/1412.6980>, or AdamW, <https://arxiv.org/abs/1711.05101>.
/// `mean` and `square` are the running averages of the gradient and of its square.
pub fn adam(weight: &Array, grad: &Array, mean: &Array, square: &Array, s: Adam) -> Result<AdamResult> {
    dispatch!(weight, T => adam_cpu::<T>(weight, grad, mean, square, s), else adam_reference(weight, grad, mean, square, s))
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

fn adam_cpu<T: Real>(weight: &Array, grad: &Array, mean: &Array, square: &Array, s: Adam) -> Result<AdamResult> {
    let all = [contiguous(weight)?, contiguous(grad)?, contiguous(mean)?, contiguous(square)?];
    let slices = [cpu::slice::<T>(&all[0])?, cpu::slice(&all[1])?, cpu::slice(&all[2])?, cpu::slice(&all[3])?];
    let old = slices.each_ref().map(|slice| -> &[T] { slice });
    if old.iter().any(|values| values.len() != old[0].len()) {
        candle_core::bail!("gradient {:?} and state do not fit the parameter {:?}", grad.dims(), weight.dims());
    }
    let step = |piece, new: [&mut [T]; 3]| adam_slice(new, old.map(|values| part(values, piece, PIECE)), s);
    let [weight, mean, square] = computed3(old[0].len(), PIECE, step)?.map(|values| cpu::array(values, grad.dims()));
    Ok(AdamResult { weight: weight?, mean: mean?, square: square? })
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn adam_slice<T: Real>([w1, m1, v1]: [&mut [T]; 3], [w, g, m, v]: [&[T]; 4], s: Adam) {
    let (rate, root) = corrections(s);
    let (rate, inverse_root, eps) = (T::of(rate), T::of(1.0 / root), T::of(s.eps));
    let (b1, c1, b2, c2) = (T::of(s.beta1), T::of(1.0 - s.beta1), T::of(s.beta2), T::of(1.0 - s.beta2));
    let shrink = T::of(if s.decoupled { 1.0 - s.lr * s.weight_decay } else { 1.0 });
    let decay = T::of(if s.decoupled { 0.0 } else { s.weight_decay });
    let n = w.len();
    let (g, m, v) = (&g[..n], &m[..n], &v[..n]);
    let (w1, m1, v1) = (&mut w1[..n], &mut m1[..n], &mut v1[..n]);
    for i in 0..n {
        let g = g[i] + decay * w[i];
        m1[i] = b1 * m[i] + c1 * g;
        v1[i] = b2 * v[i] + c2 * g * g;
        w1[i] = w[i] * shrink - rate * m1[i] / (v1[i].sqrt() * inverse_root + eps);
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
            let (got, want) = (adam(&w, &g, &m, &v, s).unwrap(), adam_reference(&w, &g, &m, &v, s).unwrap());
            close(&got.weight, &want.weight, 1e-5);
            close(&got.mean, &want.mean, 1e-6);
            close(&got.square, &want.square, 1e-6);
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
