//! Gated linear unit: `y = a · act(b)`, a and b the halves of the last axis.
//!
//! Shapes: `x` is (.., 2 dim), `y` (.., dim).
//! Source: GLU Variants Improve Transformer, <https://arxiv.org/abs/2002.05202>.

use crate::host::parallel::{full, part, rows_per_piece, written};
use crate::host::{self, dispatch, Real};
use crate::ops::activation::{self, Activation, Functions};
use crate::ops::layout::{contiguous, narrow};
use crate::{Array, Result};
use multiversion::multiversion;
use std::mem::MaybeUninit;

fn halves(x: &Array) -> Result<(Array, Array)> {
    let last = x.rank() - 1;
    let width = half(x.dims()[last])?;
    Ok((narrow(x, last, 0, width)?, narrow(x, last, width, width)?))
}

fn half(width: usize) -> Result<usize> {
    if !width.is_multiple_of(2) {
        candle_core::bail!("a gated unit of rows of {width}, which have no halves");
    }
    Ok(width / 2)
}

/// The unit on candle's own operations.
pub fn reference(x: &Array, kind: Activation) -> Result<Array> {
    let (a, b) = halves(x)?;
    a * activation::reference(&b, kind)?
}

/// The unit.
pub fn forward(x: &Array, kind: Activation) -> Result<Array> {
    dispatch!(x, T => forward_cpu::<T>(x, kind), else reference(x, kind))
}

/// Gradient of the input.
pub fn backward(x: &Array, grad: &Array, kind: Activation) -> Result<Array> {
    dispatch!(x, T => backward_cpu::<T>(x, grad, kind), else backward_reference(x, grad, kind))
}

fn backward_reference(x: &Array, grad: &Array, kind: Activation) -> Result<Array> {
    let (a, b) = halves(x)?;
    let da = (grad * activation::forward(&b, kind)?)?;
    let db = activation::backward(&b, &(grad * a)?, kind)?;
    Array::cat(&[da, db], x.rank() - 1)
}

fn forward_cpu<T: Real>(x: &Array, kind: Activation) -> Result<Array> {
    let x = contiguous(x)?;
    let (rows, width) = host::rows_and_width(&x);
    let half = half(width)?;
    let mut dims = x.dims().to_vec();
    dims[x.rank() - 1] = half;
    let xs = host::slice::<T>(&x)?;
    let xs: &[T] = &xs;
    let (count, act) = (rows_per_piece(half), kind.functions::<T>().value);
    let write = |piece: usize, y: &mut [MaybeUninit<T>]| {
        let x = part(xs, piece, count * width);
        for (y, x) in y.chunks_exact_mut(half.max(1)).zip(x.chunks_exact(width.max(1))) {
            let (a, b) = x.split_at(half);
            act(b, y);
            // SAFETY: all was written.
            multiply(unsafe { full(y) }, a);
        }
    };
    // SAFETY: rows are whole, and all of each is written.
    let y = unsafe { written(rows * half, count * half, write) }?;
    host::array(y, dims)
}

fn backward_cpu<T: Real>(x: &Array, grad: &Array, kind: Activation) -> Result<Array> {
    let (x, grad) = (contiguous(x)?, contiguous(grad)?);
    let (rows, width) = host::rows_and_width(&x);
    let half = half(width)?;
    if grad.elem_count() != rows * half {
        candle_core::bail!("a gradient {:?} for a gated unit of {:?}", grad.dims(), x.dims());
    }
    let (xs, gs) = (host::slice::<T>(&x)?, host::slice::<T>(&grad)?);
    let (xs, gs): (&[T], &[T]) = (&xs, &gs);
    let count = rows_per_piece(width);
    let functions = kind.functions::<T>();
    let write = |piece: usize, dx: &mut [MaybeUninit<T>]| {
        let (x, g) = (part(xs, piece, count * width), part(gs, piece, count * half));
        let mut row = vec![T::ZERO; half];
        for (r, dx) in dx.chunks_exact_mut(width.max(1)).enumerate() {
            row.copy_from_slice(part(g, r, half));
            backward_row(&functions, part(x, r, width).split_at(half), &mut row, dx.split_at_mut(half));
        }
    };
    // SAFETY: rows are whole, and both halves of each are written.
    let dx = unsafe { written(rows * width, count * width, write) }?;
    host::array(dx, x.dims())
}

/// For halves `a` and `b` of a row, or of a part of one, the gradients of both; in place of the gradient `g`, the unit itself.
pub(crate) fn backward_row<T: Real>(
    functions: &Functions<T>,
    (a, b): (&[T], &[T]),
    g: &mut [T],
    (da, db): (&mut [MaybeUninit<T>], &mut [MaybeUninit<T>]),
) {
    const CHUNK: usize = 128;
    let mut through = [T::ZERO; CHUNK];
    let chunks = g.chunks_mut(CHUNK).zip(da.chunks_mut(CHUNK).zip(db.chunks_mut(CHUNK)));
    for (i, (g, (da, db))) in chunks.enumerate() {
        let (a, b, through) = (part(a, i, CHUNK), part(b, i, CHUNK), &mut through[..g.len()]);
        through.copy_from_slice(g);
        multiply(through, a);
        (functions.both)(b, through, db);
        exchange(through, a, g, da);
    }
}

/// `da = activated · g`, then `g = activated · a`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn exchange<T: Real>(activated: &[T], a: &[T], g: &mut [T], da: &mut [MaybeUninit<T>]) {
    for ((s, a), (g, da)) in activated.iter().zip(a).zip(g.iter_mut().zip(da)) {
        *da = MaybeUninit::new(*s * *g);
        *g = *s * *a;
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn multiply<T: Real>(y: &mut [T], by: &[T]) {
    y.iter_mut().zip(by).for_each(|(y, x)| *y *= *x);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, differences, f64s, normal};

    #[test]
    fn rows_without_halves_are_errors() {
        let (x, g) = (normal(&[2, 5], 1), normal(&[2, 2], 2));
        assert!(forward(&x, Activation::Gelu).is_err() && backward(&x, &g, Activation::Gelu).is_err());
    }

    #[test]
    fn equals_the_reference_and_agrees_with_differences() {
        let (x, g) = (f64s(&normal(&[2, 3, 8], 1)), f64s(&normal(&[2, 3, 4], 2)));
        for kind in [Activation::Gelu, Activation::Silu, Activation::Sigmoid, Activation::ReluSquared] {
            close(&forward(&x, kind).unwrap(), &reference(&x, kind).unwrap(), 1e-6);
            close(&backward(&x, &g, kind).unwrap(), &backward_reference(&x, &g, kind).unwrap(), 1e-6);
            differences(&x, &g, &backward(&x, &g, kind).unwrap(), |x| forward(x, kind).unwrap());
        }
    }

    #[test]
    fn takes_views_many_rows_and_nothing() {
        let x = normal(&[38, 700], 1).t().unwrap();
        let g = normal(&[700, 19], 2);
        close(&forward(&x, Activation::Silu).unwrap(), &reference(&x, Activation::Silu).unwrap(), 1e-6);
        let want = backward_reference(&x.contiguous().unwrap(), &g, Activation::Silu).unwrap();
        close(&backward(&x, &g, Activation::Silu).unwrap(), &want, 1e-6);
        for dims in [[0, 4], [3, 0]] {
            let half = [dims[0], dims[1] / 2];
            assert_eq!(forward(&normal(&dims, 1), Activation::Gelu).unwrap().dims(), half);
            assert_eq!(backward(&normal(&dims, 1), &normal(&half, 2), Activation::Gelu).unwrap().dims(), dims);
        }
    }
}
