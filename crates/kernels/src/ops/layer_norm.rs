//! Layer normalisation: `y = (x - mean) / sqrt(variance + eps) · weight + bias` over the last axis.
//!
//! Shapes: `x`, `y` are (.., dim), `weight` and `bias` (dim).
//! Source: Layer Normalization, <https://arxiv.org/abs/1607.06450>.

use crate::host::parallel::{part, rows_per_piece, written, written_with};
use crate::host::simd::{sum_by, sum_by2, write_sum};
use crate::host::{self, dispatch, Real};
use crate::ops::layout::contiguous;
use crate::ops::reduce::sum_vectors;
use crate::{Array, Result};
use multiversion::multiversion;
use std::mem::MaybeUninit;

/// The norm on candle's own operations.
pub fn reference(x: &Array, weight: &Array, bias: &Array, eps: f64) -> Result<Array> {
    normalised(x, eps)?.0.broadcast_mul(weight)?.broadcast_add(bias)
}

/// `(x - mean) / deviation`, and `1 / deviation`.
fn normalised(x: &Array, eps: f64) -> Result<(Array, Array)> {
    let last = x.rank() - 1;
    let centred = x.broadcast_sub(&x.mean_keepdim(last)?)?;
    let scale = ((centred.sqr()?.mean_keepdim(last)? + eps)?.sqrt()?).recip()?;
    Ok((centred.broadcast_mul(&scale)?, scale))
}

/// The norm of each row.
pub fn forward(x: &Array, weight: &Array, bias: &Array, eps: f64) -> Result<Array> {
    dispatch!(x, T => forward_cpu::<T>(x, weight, bias, eps), else reference(x, weight, bias, eps))
}

/// Parameters have a number for each of a row.
fn check(params: &[&Array], width: usize) -> Result<()> {
    match params.iter().find(|param| param.elem_count() != width) {
        Some(param) => candle_core::bail!("layer norm: parameters {:?} for rows of {width}", param.dims()),
        None => Ok(()),
    }
}

fn forward_cpu<T: Real>(x: &Array, weight: &Array, bias: &Array, eps: f64) -> Result<Array> {
    let (x, weight, bias) = (contiguous(x)?, contiguous(weight)?, contiguous(bias)?);
    let (_, width) = host::rows_and_width(&x);
    check(&[&weight, &bias], width)?;
    let (xs, ws, bs) = (host::slice::<T>(&x)?, host::slice::<T>(&weight)?, host::slice::<T>(&bias)?);
    let (xs, ws, bs): (&[T], &[T], &[T]) = (&xs, &ws, &bs);
    let block = rows_per_piece(width) * width;
    // SAFETY: rows are whole, and all of each is written.
    let y = unsafe { written(xs.len(), block, |piece, y| forward_rows(part(xs, piece, block), ws, bs, eps, y)) }?;
    host::array(y, x.dims())
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn forward_rows<T: Real>(x: &[T], weight: &[T], bias: &[T], eps: f64, y: &mut [MaybeUninit<T>]) {
    let width = weight.len().max(1);
    for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
        let (mean, scale) = moments(x, eps);
        for ((y, x), (w, b)) in y.iter_mut().zip(x).zip(weight.iter().zip(bias)) {
            *y = MaybeUninit::new((*x - mean) * scale * *w + *b);
        }
    }
}

/// The mean of a row, and one over its standard deviation.
#[inline(always)]
fn moments<T: Real>(x: &[T], eps: f64) -> (T, T) {
    let n = T::of(x.len() as f64);
    let mean = sum_by(x, |v| v) / n;
    let variance = sum_by(x, |v| (v - mean) * (v - mean)) / n;
    (mean, T::ONE / (variance + T::of(eps)).sqrt())
}

/// Gradients of input, weight and bias.
pub struct Gradients {
    pub x: Array,
    pub weight: Array,
    pub bias: Array,
}

/// The gradients, from the input and the output's gradient. Where the input goes another way too, past the norm, `past` is the gradient from there, which
/// is added to the input's.
pub fn backward(x: &Array, weight: &Array, grad: &Array, past: Option<&Array>, eps: f64) -> Result<Gradients> {
    dispatch!(x, T => backward_cpu::<T>(x, weight, grad, past, eps), else backward_reference(x, weight, grad, past, eps))
}

fn backward_reference(x: &Array, weight: &Array, grad: &Array, past: Option<&Array>, eps: f64) -> Result<Gradients> {
    let last = x.rank() - 1;
    let (hat, scale) = normalised(x, eps)?;
    let weighted = grad.broadcast_mul(weight)?;
    let along = (&weighted * &hat)?.mean_keepdim(last)?;
    let inner = weighted.broadcast_sub(&weighted.mean_keepdim(last)?)?.broadcast_sub(&hat.broadcast_mul(&along)?)?;
    let columns = |a: &Array| {
        let (rows, width) = host::rows_and_width(a);
        a.contiguous()?.reshape((rows, width))?.sum(0)
    };
    let dx = inner.broadcast_mul(&scale)?;
    let dx = past.map_or_else(|| Ok(dx.clone()), |past| &dx + past)?;
    Ok(Gradients { x: dx, weight: columns(&(grad * &hat)?)?, bias: columns(grad)? })
}

fn backward_cpu<T: Real>(x: &Array, weight: &Array, grad: &Array, past: Option<&Array>, eps: f64) -> Result<Gradients> {
    let (x, weight, grad) = (contiguous(x)?, contiguous(weight)?, contiguous(grad)?);
    let past = past.map(contiguous).transpose()?;
    host::check_like(&x, [Some(&grad), past.as_ref()])?;
    let (_, width) = host::rows_and_width(&x);
    check(&[&weight], width)?;
    let (xs, ws, gs) = (host::slice::<T>(&x)?, host::slice::<T>(&weight)?, host::slice::<T>(&grad)?);
    let (xs, ws, gs): (&[T], &[T], &[T]) = (&xs, &ws, &gs);
    let past = past.as_ref().map(host::slice::<T>).transpose()?;
    let past: Option<&[T]> = past.as_deref();
    let block = rows_per_piece(width) * width;
    let write = |piece: usize, dx: &mut [MaybeUninit<T>]| {
        let (mut dw, mut db) = (vec![T::ZERO; width], vec![T::ZERO; width]);
        let past = past.map(|past| part(past, piece, block));
        backward_rows(part(xs, piece, block), ws, (part(gs, piece, block), past), eps, dx, (&mut dw, &mut db));
        (dw, db)
    };
    // SAFETY: rows are whole, and all of each is written.
    let (dx, partial) = unsafe { written_with(xs.len(), block, write) }?;
    let (dw, db) = partial.into_iter().unzip();
    Ok(Gradients {
        x: host::array(dx, x.dims())?,
        weight: host::array(sum_vectors(dw, width), width)?,
        bias: host::array(sum_vectors(db, width), width)?,
    })
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn backward_rows<T: Real>(
    x: &[T],
    weight: &[T],
    (grad, past): (&[T], Option<&[T]>),
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
        for ((hat, weighted), (x, (g, w))) in hat.iter_mut().zip(&mut weighted).zip(x.iter().zip(g.iter().zip(weight)))
        {
            *hat = (*x - mean) * scale;
            *weighted = *g * *w;
        }
        for ((dw, db), (g, hat)) in dw.iter_mut().zip(db.iter_mut()).zip(g.iter().zip(&hat)) {
            *dw += *g * *hat;
            *db += *g;
        }
        let offset = sum_by(&weighted, |v| v) / n;
        let along = sum_by2(&weighted, &hat, |a, b| a * b) / n;
        let values = weighted.iter().zip(&hat).map(|(weighted, hat)| (*weighted - offset - *hat * along) * scale);
        write_sum(dx, values, past.map(|past| part(past, row, width)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, differences, f64s, normal};

    #[test]
    fn equals_the_reference_values_and_gradients() {
        for dims in [vec![2, 3, 24], vec![1, 1], vec![5, 33], vec![300, 160]] {
            let width = dims[dims.len() - 1];
            let (x, w, b, g) = (normal(&dims, 1), normal(&[width], 2), normal(&[width], 3), normal(&dims, 4));
            close(&forward(&x, &w, &b, 1e-5).unwrap(), &reference(&x, &w, &b, 1e-5).unwrap(), 1e-5);
            let past = normal(&dims, 5);
            for past in [None, Some(&past)] {
                let got = backward(&x, &w, &g, past, 1e-5).unwrap();
                let want = backward_reference(&x, &w, &g, past, 1e-5).unwrap();
                close(&got.x, &want.x, 1e-4);
                close(&got.weight, &want.weight, 1e-5);
                close(&got.bias, &want.bias, 1e-5);
            }
        }
    }

    #[test]
    fn parameters_of_another_width_are_errors() {
        let (x, w, short) = (normal(&[2, 7], 1), normal(&[7], 2), normal(&[6], 3));
        assert!(forward(&x, &short, &w, 1e-5).is_err() && forward(&x, &w, &short, 1e-5).is_err());
        assert!(backward(&x, &short, &x, None, 1e-5).is_err());
        assert!(backward(&x, &w, &short, None, 1e-5).is_err() && backward(&x, &w, &x, Some(&short), 1e-5).is_err());
    }

    #[test]
    fn gradient_agrees_with_differences() {
        let (x, w, b, g) =
            (f64s(&normal(&[2, 7], 1)), f64s(&normal(&[7], 2)), f64s(&normal(&[7], 3)), f64s(&normal(&[2, 7], 4)));
        let got = backward(&x, &w, &g, None, 1e-5).unwrap();
        differences(&x, &g, &got.x, |x| forward(x, &w, &b, 1e-5).unwrap());
        differences(&w, &g, &got.weight, |w| forward(&x, w, &b, 1e-5).unwrap());
    }
}
