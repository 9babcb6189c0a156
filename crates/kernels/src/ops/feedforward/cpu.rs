//! The CPU implementation.

use super::inner::Inner;
use super::second_output::{as_uninit, SecondOutput};
use crate::host::gemm::blas::Blas;
use crate::host::gemm::product::new_product;
use crate::host::gemm::view::{Epilogue, Term, View};
use crate::host::{self, with_width, Real};
use crate::ops::activation::Activation;
use crate::ops::glu;
use crate::ops::layout::contiguous;
use crate::{Array, Result};

/// Computes a linear layer with the epilogue `epilogue`.
pub(super) fn linear_with_epilogue<T: Blas>(
    x: &Array,
    weight: &Array,
    bias: Option<&Array>,
    epilogue: Epilogue<T>,
) -> Result<Array> {
    let (x, weight) = (contiguous(x)?, contiguous(weight)?);
    let ((rows, inner), (out, _)) = (host::rows_and_width(&x), weight.dims2()?);
    let (xs, ws) = (host::slice::<T>(&x)?, host::slice::<T>(&weight)?);
    let bias = bias.map(contiguous).transpose()?;
    let bs = bias.as_ref().map(host::slice::<T>).transpose()?;
    let term = Term { k: inner, a: View::row_major(&xs, inner), b: View::transposed(&ws, inner) };
    host::array(new_product((rows, out), term, bs.as_deref(), Some(epilogue))?, with_width(&x, out))
}

/// An epilogue that applies an activation in place.
pub(super) fn activation_epilogue<T: Real>(
    kind: Activation,
) -> impl Fn(usize, usize, &mut [T]) + Sync {
    let act = kind.functions::<T>().value;
    move |_, _, y| {
        for y in y.chunks_mut(CHUNK) {
            let mut x = [T::ZERO; CHUNK];
            x[..y.len()].copy_from_slice(y);
            act(&x[..y.len()], as_uninit(y));
        }
    }
}

/// Number of elements that are copied at a time: a few SIMD vectors.
const CHUNK: usize = 128;

/// Computes `up`, and `hidden` in the epilogue of the product.
pub(super) fn fused_up_and_hidden<T: Blas>(
    x: &Array,
    weight: &Array,
    bias: Option<&Array>,
    kind: Activation,
) -> Result<(Array, Array)> {
    let ((rows, _), (out, _)) = (host::rows_and_width(x), weight.dims2()?);
    let act = kind.functions::<T>().value;
    let mut hidden = SecondOutput::<T>::new(rows, out)?;
    let into = hidden.rows();
    let up = linear_with_epilogue::<T>(x, weight, bias, &|row, column, y| {
        // SAFETY: the product calls the epilogue once for each element, and has the size of
        // `hidden`, so the slices are inside of it and do not overlap.
        act(y, unsafe { into.at(row, column, y.len()) })
    })?;
    // SAFETY: the epilogue was called for, and has written, every element.
    Ok((up, host::array(unsafe { hidden.written() }, with_width(x, out))?))
}

pub(super) fn backward_cpu<T: Blas>(
    grad: &Array,
    weight: &Array,
    up: &Array,
    inner: Inner,
) -> Result<(Array, Array)> {
    let (grad, weight, up) = (contiguous(grad)?, contiguous(weight)?, contiguous(up)?);
    let ((rows, out), (_, width)) = (host::rows_and_width(&grad), weight.dims2()?);
    let (gs, ws, ups) =
        (host::slice::<T>(&grad)?, host::slice::<T>(&weight)?, host::slice::<T>(&up)?);
    let wide = inner.expansion() * width;
    let ups: &[T] = &ups;
    let mut d = SecondOutput::<T>::new(rows, wide)?;
    let into = d.rows();
    let from = |row: usize, column: usize, count: usize| &ups[row * wide + column..][..count];
    let activation = |kind: Activation| {
        let both = kind.functions::<T>().both;
        move |row: usize, column: usize, g: &mut [T]| {
            // SAFETY: the product calls the epilogue once for each element, and has the size of
            // `d`, so the slices are inside of it and do not overlap.
            let d = unsafe { into.at(row, column, g.len()) };
            both(from(row, column, g.len()), g, d);
        }
    };
    let gated = |kind: Activation| {
        let functions = kind.functions::<T>();
        move |row: usize, column: usize, g: &mut [T]| {
            let n = g.len();
            let halves = (from(row, column, n), from(row, width + column, n));
            // SAFETY: as above; `d` has twice the width of the product, and its two halves do not
            // overlap.
            let d = unsafe { (into.at(row, column, n), into.at(row, width + column, n)) };
            glu::backward_row(&functions, halves, g, d);
        }
    };
    let term = Term { k: out, a: View::row_major(&gs, out), b: View::row_major(&ws, width) };
    let hidden = match inner {
        Inner::Activation(kind) => new_product((rows, width), term, None, Some(&activation(kind)))?,
        Inner::Glu(kind) => new_product((rows, width), term, None, Some(&gated(kind)))?,
    };
    // SAFETY: the epilogue was called for, and has written, every element.
    Ok((
        host::array(unsafe { d.written() }, up.dims())?,
        host::array(hidden, with_width(&grad, width))?,
    ))
}
