//! Layer normalisation: `y = (x - mean) / sqrt(variance + eps) · weight + bias` over the last axis.
//!
//! Shapes: `x` and `y` are (.., dim), `weight` and `bias` are (dim).
//!
//! Source: Layer Normalization, <https://arxiv.org/abs/1607.06450>.

#[cfg(feature = "cuda")]
mod cuda;

use crate::array::{HostArray, HostResult};
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::host::parallel::{build_uninit, build_uninit_map, nth_chunk, rows_per_piece};
use crate::host::simd::{sum_by, sum_by2, write_sum};
use crate::host::{self, Real};
use crate::kernel::{arrays, run, Kernel};
use crate::ops::layout::contiguous;
use crate::ops::reduce::sum_vectors;
#[cfg(test)]
use crate::testing::normal64;
use crate::{Array, Result};
use std::mem::MaybeUninit;
#[cfg(feature = "cuda")]
use std::sync::Arc;
use xt_macros::simd;

/// Returns `(x - mean) / deviation`, (.., dim), and `1 / deviation`, (.., 1).
fn normalised(x: &HostArray, eps: f64) -> HostResult<(HostArray, HostArray)> {
    let last = x.rank() - 1;
    let centred = x.broadcast_sub(&x.mean_keepdim(last)?)?;
    let scale = ((centred.sqr()?.mean_keepdim(last)? + eps)?.sqrt()?).recip()?;
    Ok((centred.broadcast_mul(&scale)?, scale))
}

/// Kernel of [`forward`].
#[derive(Clone)]
struct Forward {
    x: Array,
    weight: Array,
    bias: Array,
    eps: f64,
}

/// Kernel of [`backward`].
#[derive(Clone)]
struct Backward {
    x: Array,
    weight: Array,
    grad: Array,
    /// Gradient of the residual connection around the norm, of the shape of `x`.
    residual_grad: Option<Array>,
    eps: f64,
}

/// The gradients of input, weight and bias.
pub struct Gradients {
    /// Gradient of the input, (.., dim).
    pub x: Array,
    /// Gradient of the weight, (dim).
    pub weight: Array,
    /// Gradient of the bias, (dim).
    pub bias: Array,
}

arrays! {
    Forward { x, weight, bias }
    Backward { x, weight, grad, residual_grad }
    Gradients { x, weight, bias }
}

/// Checks that the parameters have one element per feature.
fn check(x: &Array, params: &[&Array]) -> Result<()> {
    let width = x.dims().last().copied();
    match params.iter().find(|param| Some(param.elem_count()) != width) {
        Some(param) => {
            bail!("layer norm: parameters {:?} for rows of {:?}", param.dims(), x.dims())
        }
        None => Ok(()),
    }
}

#[cfg(test)]
const SIZES: [&[usize]; 6] = [&[2, 3, 24], &[1, 1], &[5, 33], &[300, 160], &[0, 3], &[7]];

impl Kernel for Forward {
    const NAME: &'static str = "layer_norm";
    type Out = Array;

    fn check(&self) -> Result<()> {
        check(&self.x, &[&self.weight, &self.bias])
    }

    fn reference(&self) -> Result<Array> {
        let y = normalised(self.x.host()?, self.eps)?.0;
        Ok(y.broadcast_mul(self.weight.host()?)?.broadcast_add(self.bias.host()?)?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        forward_cpu::<T>(&self.x, &self.weight, &self.bias, self.eps)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        cuda::forward(&self.x, &self.weight, &self.bias, self.eps, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |dims: &[usize]| {
            let width = &dims[dims.len() - 1..];
            Self {
                x: normal64(dims, 1),
                weight: normal64(width, 2),
                bias: normal64(width, 3),
                eps: 1e-5,
            }
        };
        SIZES.map(of).into()
    }
}

impl Kernel for Backward {
    const NAME: &'static str = "layer_norm backward";
    type Out = Gradients;

    fn check(&self) -> Result<()> {
        host::check_like(&self.x, [Some(&self.grad), self.residual_grad.as_ref()])?;
        check(&self.x, &[&self.weight])
    }

    fn reference(&self) -> Result<Gradients> {
        let (x, weight, grad) = (self.x.host()?, self.weight.host()?, self.grad.host()?);
        let last = x.rank() - 1;
        let (hat, scale) = normalised(x, self.eps)?;
        let weighted = grad.broadcast_mul(weight)?;
        let dot = (&weighted * &hat)?.mean_keepdim(last)?;
        let inner = weighted
            .broadcast_sub(&weighted.mean_keepdim(last)?)?
            .broadcast_sub(&hat.broadcast_mul(&dot)?)?;
        let columns = |a: &HostArray| {
            let (rows, width) = host::rows_and_width(&self.x);
            a.contiguous()?.reshape((rows, width))?.sum(0)
        };
        let dx = inner.broadcast_mul(&scale)?;
        let dx = match &self.residual_grad {
            Some(residual_grad) => (dx + residual_grad.host()?)?,
            None => dx,
        };
        Ok(Gradients {
            x: dx.into(),
            weight: columns(&(grad * &hat)?)?.into(),
            bias: columns(grad)?.into(),
        })
    }

    fn cpu<T: Blas>(&self) -> Result<Gradients> {
        backward_cpu::<T>(&self.x, &self.weight, &self.grad, self.residual_grad.as_ref(), self.eps)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Gradients> {
        let grads = (&self.grad, self.residual_grad.as_ref());
        let [x, weight, bias] = cuda::backward(&self.x, &self.weight, grads, self.eps, gpu)?;
        Ok(Gradients { x, weight, bias })
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |dims: &[usize]| {
            let (x, weight) = (normal64(dims, 1), normal64(&dims[dims.len() - 1..], 2));
            [None, Some(normal64(dims, 5))].map(|residual_grad| Self {
                x: x.clone(),
                weight: weight.clone(),
                grad: normal64(dims, 4),
                residual_grad,
                eps: 1e-5,
            })
        };
        SIZES.into_iter().flat_map(of).collect()
    }
}

/// Normalises each row of `x`, (.., dim); `weight` and `bias` are (dim).
///
/// # Errors
/// If a parameter does not have dim elements.
pub fn forward(x: &Array, weight: &Array, bias: &Array, eps: f64) -> Result<Array> {
    run(&Forward { x: x.clone(), weight: weight.clone(), bias: bias.clone(), eps })
}

/// Computes the gradients from the input `x`, (.., dim), and `grad`, the gradient of the output. If
/// the input is also used around the norm, as by a residual connection, `residual_grad` is the
/// gradient from that path, and is added to the gradient of the input.
///
/// # Errors
/// If the shapes do not fit together.
pub fn backward(
    x: &Array,
    weight: &Array,
    grad: &Array,
    residual_grad: Option<&Array>,
    eps: f64,
) -> Result<Gradients> {
    run(&Backward {
        x: x.clone(),
        weight: weight.clone(),
        grad: grad.clone(),
        residual_grad: residual_grad.cloned(),
        eps,
    })
}

/// CPU kernel of [`forward`].
fn forward_cpu<T: Real>(x: &Array, weight: &Array, bias: &Array, eps: f64) -> Result<Array> {
    let (x, weight, bias) = (contiguous(x)?, contiguous(weight)?, contiguous(bias)?);
    let (_, width) = host::rows_and_width(&x);
    let (xs, ws, bs) =
        (host::slice::<T>(&x)?, host::slice::<T>(&weight)?, host::slice::<T>(&bias)?);
    let (xs, ws, bs): (&[T], &[T], &[T]) = (&xs, &ws, &bs);
    let block = rows_per_piece(width) * width;
    // SAFETY: each piece consists of whole rows, and `forward_rows` writes every element of each
    // row.
    let y = unsafe {
        build_uninit(xs.len(), block, |piece, y| {
            forward_rows(nth_chunk(xs, piece, block), ws, bs, eps, y)
        })
    }?;
    host::array(y, x.dims())
}

#[simd]
fn forward_rows<T: Real>(x: &[T], weight: &[T], bias: &[T], eps: f64, y: &mut [MaybeUninit<T>]) {
    let width = weight.len().max(1);
    for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
        let (mean, scale) = moments(x, eps);
        for ((y, x), (w, b)) in y.iter_mut().zip(x).zip(weight.iter().zip(bias)) {
            *y = MaybeUninit::new((*x - mean) * scale * *w + *b);
        }
    }
}

/// The mean of a row, and the reciprocal of its standard deviation.
#[inline(always)]
fn moments<T: Real>(x: &[T], eps: f64) -> (T, T) {
    let n = T::of(x.len() as f64);
    let mean = sum_by(x, |v| v) / n;
    let variance = sum_by(x, |v| (v - mean) * (v - mean)) / n;
    (mean, T::ONE / (variance + T::of(eps)).sqrt())
}

/// CPU kernel of [`backward`].
fn backward_cpu<T: Real>(
    x: &Array,
    weight: &Array,
    grad: &Array,
    residual_grad: Option<&Array>,
    eps: f64,
) -> Result<Gradients> {
    let (x, weight, grad) = (contiguous(x)?, contiguous(weight)?, contiguous(grad)?);
    let residual_grad = residual_grad.map(contiguous).transpose()?;
    let (_, width) = host::rows_and_width(&x);
    let (xs, ws, gs) =
        (host::slice::<T>(&x)?, host::slice::<T>(&weight)?, host::slice::<T>(&grad)?);
    let (xs, ws, gs): (&[T], &[T], &[T]) = (&xs, &ws, &gs);
    let residual_grad = residual_grad.as_ref().map(host::slice::<T>).transpose()?;
    let residual_grad: Option<&[T]> = residual_grad.as_deref();
    let block = rows_per_piece(width) * width;
    let write = |piece: usize, dx: &mut [MaybeUninit<T>]| {
        let (mut dw, mut db) = (vec![T::ZERO; width], vec![T::ZERO; width]);
        let residual_grad =
            residual_grad.map(|residual_grad| nth_chunk(residual_grad, piece, block));
        backward_rows(
            nth_chunk(xs, piece, block),
            ws,
            (nth_chunk(gs, piece, block), residual_grad),
            eps,
            dx,
            (&mut dw, &mut db),
        );
        (dw, db)
    };
    // SAFETY: each piece consists of whole rows, and `backward_rows` writes every element of each
    // row.
    let (dx, partial_sums) = unsafe { build_uninit_map(xs.len(), block, write) }?;
    let (dw, db) = partial_sums.into_iter().unzip();
    Ok(Gradients {
        x: host::array(dx, x.dims())?,
        weight: host::array(sum_vectors(dw, width), width)?,
        bias: host::array(sum_vectors(db, width), width)?,
    })
}

/// Writes the gradient of some rows to `dx`, and adds their contributions to the gradients of the
/// parameters, `dw` and `db`.
#[simd]
fn backward_rows<T: Real>(
    x: &[T],
    weight: &[T],
    (grad, residual_grad): (&[T], Option<&[T]>),
    eps: f64,
    dx: &mut [MaybeUninit<T>],
    (dw, db): (&mut [T], &mut [T]),
) {
    let width = weight.len().max(1);
    let n = T::of(width as f64);
    let mut hat = vec![T::ZERO; width];
    let mut weighted = vec![T::ZERO; width];
    let rows = x.chunks_exact(width).zip(grad.chunks_exact(width)).zip(dx.chunks_exact_mut(width));
    for (row, ((x, g), dx)) in rows.enumerate() {
        let (mean, scale) = moments(x, eps);
        for ((hat, weighted), (x, (g, w))) in
            hat.iter_mut().zip(&mut weighted).zip(x.iter().zip(g.iter().zip(weight)))
        {
            *hat = (*x - mean) * scale;
            *weighted = *g * *w;
        }
        for ((dw, db), (g, hat)) in dw.iter_mut().zip(db.iter_mut()).zip(g.iter().zip(&hat)) {
            *dw += *g * *hat;
            *db += *g;
        }
        let offset = sum_by(&weighted, |v| v) / n;
        let dot = sum_by2(&weighted, &hat, |a, b| a * b) / n;
        let values = weighted
            .iter()
            .zip(&hat)
            .map(|(weighted, hat)| (*weighted - offset - *hat * dot) * scale);
        write_sum(
            dx,
            values,
            residual_grad.map(|residual_grad| nth_chunk(residual_grad, row, width)),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_matches_reference, f64s, gradcheck, normal, on_device};

    #[test]
    fn equals_the_reference() {
        assert_matches_reference::<Forward>(1e-5);
        assert_matches_reference::<Backward>(1e-4);
    }

    #[test]
    fn parameters_of_another_width_are_errors() {
        let of = |dims: &[usize], seed| on_device(&normal(dims, seed));
        let (x, w, short) = (of(&[2, 7], 1), of(&[7], 2), of(&[6], 3));
        assert!(forward(&x, &short, &w, 1e-5).is_err() && forward(&x, &w, &short, 1e-5).is_err());
        assert!(backward(&x, &short, &x, None, 1e-5).is_err());
        assert!(
            backward(&x, &w, &short, None, 1e-5).is_err()
                && backward(&x, &w, &x, Some(&short), 1e-5).is_err()
        );
    }

    #[test]
    fn gradient_agrees_with_differences() {
        let of = |dims: &[usize], seed| on_device(&f64s(&normal(dims, seed)));
        let (x, w, b, g) = (of(&[2, 7], 1), of(&[7], 2), of(&[7], 3), of(&[2, 7], 4));
        let got = backward(&x, &w, &g, None, 1e-5).unwrap();
        gradcheck(&x, &g, &got.x, |x| forward(&on_device(x), &w, &b, 1e-5).unwrap());
        gradcheck(&w, &g, &got.weight, |w| forward(&x, &on_device(w), &b, 1e-5).unwrap());
    }
}
