//! Gated linear units: `y = a · act(b)`, where a and b are the halves of the last axis of `x`.
//!
//! Shapes: `x` is (.., 2 dim), `y` is (.., dim).
//!
//! Source: GLU Variants Improve Transformer, <https://arxiv.org/abs/2002.05202>.

#[cfg(feature = "cuda")]
mod cuda;

use crate::array::{HostArray, HostResult};
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::host::parallel::{assume_init_mut, build_uninit, nth_chunk, rows_per_piece};
use crate::host::{self, with_width, Real};
use crate::kernel::{arrays, run, Kernel};
use crate::ops::activation::{self, Activation, Functions};
use crate::ops::layout::{contiguous, narrow_on_host};
#[cfg(test)]
use crate::testing::normal64;
use crate::{Array, Result};
use std::mem::MaybeUninit;
#[cfg(feature = "cuda")]
use std::sync::Arc;
use xt_macros::simd;

/// The halves a and b of `x`, each (.., dim).
fn halves(x: &HostArray) -> HostResult<(HostArray, HostArray)> {
    let last = x.rank() - 1;
    let width = x.dims()[last] / 2;
    Ok((narrow_on_host(x, last, 0, width)?, narrow_on_host(x, last, width, width)?))
}

/// [`forward`] for host arrays.
pub(crate) fn on_host(x: &HostArray, kind: Activation) -> HostResult<HostArray> {
    let (a, b) = halves(x)?;
    a * activation::on_host(&b, kind)?
}

/// [`backward`] for host arrays.
pub(crate) fn backward_on_host(
    x: &HostArray,
    grad: &HostArray,
    kind: Activation,
) -> HostResult<HostArray> {
    let (a, b) = halves(x)?;
    let da = (grad * activation::on_host(&b, kind)?)?;
    let db = ((grad * a)? * activation::slope_on_host(&b, kind)?)?;
    HostArray::cat(&[da, db], x.rank() - 1)
}

/// Kernel of [`forward`].
#[derive(Clone)]
struct Forward {
    x: Array,
    kind: Activation,
}

/// Kernel of [`backward`].
#[derive(Clone)]
struct Backward {
    x: Array,
    grad: Array,
    kind: Activation,
}

arrays! {
    Forward { x }
    Backward { x, grad }
}

/// The size of a half of the last axis.
///
/// # Errors
/// If the size of the axis is odd, or `x` is a scalar.
fn half(x: &Array) -> Result<usize> {
    match x.dims().last() {
        Some(width) if width.is_multiple_of(2) => Ok(width / 2),
        Some(width) => bail!("a gated unit of rows of {width}, which have no halves"),
        None => bail!("a gated unit of a scalar, which has no halves"),
    }
}

#[cfg(test)]
const KINDS: [Activation; 7] = activation::ALL;
#[cfg(test)]
const SIZES: [&[usize]; 5] = [&[2, 3, 8], &[70, 38], &[300, 700], &[0, 4], &[3, 0]];

impl Kernel for Forward {
    const NAME: &'static str = "glu";
    type Out = Array;

    fn check(&self) -> Result<()> {
        half(&self.x).map(|_| ())
    }

    fn reference(&self) -> Result<Array> {
        Ok(on_host(self.x.host()?, self.kind)?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        forward_cpu::<T>(&self.x, self.kind)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        cuda::forward(&self.x, self.kind as u32, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |kind| SIZES.map(|dims| Self { x: normal64(dims, 1), kind });
        KINDS.into_iter().flat_map(of).collect()
    }
}

impl Kernel for Backward {
    const NAME: &'static str = "glu backward";
    type Out = Array;

    fn check(&self) -> Result<()> {
        if with_width(&self.x, half(&self.x)?) != self.grad.dims() {
            bail!("a gradient {:?} for a gated unit of {:?}", self.grad.dims(), self.x.dims());
        }
        Ok(())
    }

    fn reference(&self) -> Result<Array> {
        Ok(backward_on_host(self.x.host()?, self.grad.host()?, self.kind)?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        backward_cpu::<T>(&self.x, &self.grad, self.kind)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        cuda::backward(&self.x, &self.grad, self.kind as u32, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |kind| {
            SIZES.map(|dims| {
                let x = normal64(dims, 1);
                Self { grad: normal64(&with_width(&x, dims[dims.len() - 1] / 2), 2), x, kind }
            })
        };
        KINDS.into_iter().flat_map(of).collect()
    }
}

/// Computes `a · act(b)` for `x`, (.., 2 dim). Returns (.., dim).
///
/// # Errors
/// If the size of the last axis is odd.
pub fn forward(x: &Array, kind: Activation) -> Result<Array> {
    run(&Forward { x: x.clone(), kind })
}

/// Computes the gradient of `x`, (.., 2 dim), from `grad`, the gradient of the output, (.., dim).
///
/// # Errors
/// If the shapes do not fit together.
pub fn backward(x: &Array, grad: &Array, kind: Activation) -> Result<Array> {
    run(&Backward { x: x.clone(), grad: grad.clone(), kind })
}

fn forward_cpu<T: Real>(x: &Array, kind: Activation) -> Result<Array> {
    let x = contiguous(x)?;
    let (rows, width) = host::rows_and_width(&x);
    let half = width / 2;
    let xs = host::slice::<T>(&x)?;
    let xs: &[T] = &xs;
    let (count, act) = (rows_per_piece(half), kind.functions::<T>().value);
    let write = |piece: usize, y: &mut [MaybeUninit<T>]| {
        let x = nth_chunk(xs, piece, count * width);
        for (y, x) in y.chunks_exact_mut(half.max(1)).zip(x.chunks_exact(width.max(1))) {
            let (a, b) = x.split_at(half);
            act(b, y);
            // SAFETY: `act` has written every element of `y`.
            multiply(unsafe { assume_init_mut(y) }, a);
        }
    };
    // SAFETY: each piece consists of whole rows, and `write` writes every element of each row.
    let y = unsafe { build_uninit(rows * half, count * half, write) }?;
    host::array(y, with_width(&x, half))
}

fn backward_cpu<T: Real>(x: &Array, grad: &Array, kind: Activation) -> Result<Array> {
    let (x, grad) = (contiguous(x)?, contiguous(grad)?);
    let (rows, width) = host::rows_and_width(&x);
    let half = width / 2;
    let (xs, gs) = (host::slice::<T>(&x)?, host::slice::<T>(&grad)?);
    let (xs, gs): (&[T], &[T]) = (&xs, &gs);
    let count = rows_per_piece(width);
    let functions = kind.functions::<T>();
    let write = |piece: usize, dx: &mut [MaybeUninit<T>]| {
        let (x, g) = (nth_chunk(xs, piece, count * width), nth_chunk(gs, piece, count * half));
        let mut row = vec![T::ZERO; half];
        for (r, dx) in dx.chunks_exact_mut(width.max(1)).enumerate() {
            row.copy_from_slice(nth_chunk(g, r, half));
            backward_row(
                &functions,
                nth_chunk(x, r, width).split_at(half),
                &mut row,
                dx.split_at_mut(half),
            );
        }
    };
    // SAFETY: each piece consists of whole rows, and `backward_row` writes both halves of each row.
    let dx = unsafe { build_uninit(rows * width, count * width, write) }?;
    host::array(dx, x.dims())
}

/// Computes the gradients `da` and `db` from the halves `a` and `b` of a row, or of a part of a
/// row, and `g`, the gradient of the output. Replaces `g` by the output.
pub(crate) fn backward_row<T: Real>(
    functions: &Functions<T>,
    (a, b): (&[T], &[T]),
    g: &mut [T],
    (da, db): (&mut [MaybeUninit<T>], &mut [MaybeUninit<T>]),
) {
    const CHUNK: usize = 128;
    let mut activated = [T::ZERO; CHUNK];
    let chunks = g.chunks_mut(CHUNK).zip(da.chunks_mut(CHUNK).zip(db.chunks_mut(CHUNK)));
    for (i, (g, (da, db))) in chunks.enumerate() {
        let (a, b, activated) =
            (nth_chunk(a, i, CHUNK), nth_chunk(b, i, CHUNK), &mut activated[..g.len()]);
        activated.copy_from_slice(g);
        multiply(activated, a);
        (functions.both)(b, activated, db);
        multiply_both(activated, a, g, da);
    }
}

/// `da = activated · g`, then `g = activated · a`.
#[simd]
fn multiply_both<T: Real>(activated: &[T], a: &[T], g: &mut [T], da: &mut [MaybeUninit<T>]) {
    for ((s, a), (g, da)) in activated.iter().zip(a).zip(g.iter_mut().zip(da)) {
        *da = MaybeUninit::new(*s * *g);
        *g = *s * *a;
    }
}

#[simd]
fn multiply<T: Real>(y: &mut [T], by: &[T]) {
    y.iter_mut().zip(by).for_each(|(y, x)| *y *= *x);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_matches_reference, gradcheck, normal, on_device};

    #[test]
    fn rows_without_halves_are_errors() {
        let (x, g) = (on_device(&normal(&[2, 5], 1)), on_device(&normal(&[2, 2], 2)));
        assert!(
            forward(&x, Activation::Gelu).is_err() && backward(&x, &g, Activation::Gelu).is_err()
        );
    }

    #[test]
    fn equals_the_reference() {
        assert_matches_reference::<Forward>(1e-6);
        assert_matches_reference::<Backward>(1e-6);
    }

    #[test]
    fn gradient_agrees_with_differences() {
        let (x, g) = (on_device(&normal64(&[2, 3, 8], 1)), on_device(&normal64(&[2, 3, 4], 2)));
        for kind in KINDS {
            let dx = backward(&x, &g, kind).unwrap();
            gradcheck(&x, &g, &dx, |x| forward(&on_device(x), kind).unwrap());
        }
    }
}
