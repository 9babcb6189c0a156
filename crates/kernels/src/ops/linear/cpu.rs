//! The CPU implementation.

use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::host::gemm::product::{new_product, new_products, new_sum_of_products};
use crate::host::gemm::view::{Term, View};
use crate::host::gemv::layers;
use crate::host::{self, with_width};
use crate::ops::layout::contiguous;
use crate::{Array, Result};

pub(super) fn forward_cpu<T: Blas>(
    x: &Array,
    weight: &Array,
    bias: Option<&Array>,
) -> Result<Array> {
    let (x, weight) = (contiguous(x)?, contiguous(weight)?);
    let ((rows, inner), (out, _)) = (host::rows_and_width(&x), weight.dims2()?);
    let (xs, ws) = (host::slice::<T>(&x)?, host::slice::<T>(&weight)?);
    let bias = bias.map(contiguous).transpose()?;
    let bs = bias.as_ref().map(host::slice::<T>).transpose()?;
    if rows <= layers::MOST_ROWS && rows * out * inner > 0 {
        let layer = layers::Layer { weight: &ws, bias: bs.as_deref() };
        let y = layers::products(&xs, &[layer], (rows, inner))?.swap_remove(0);
        return host::array(y, with_width(&x, out));
    }
    let term = Term { k: inner, a: View::row_major(&xs, inner), b: View::transposed(&ws, inner) };
    let y = new_product((rows, out), term, bs.as_deref(), None)?;
    host::array(y, with_width(&x, out))
}

/// [`forward_all`](super::forward_all) by matrix products.
pub(super) fn many_rows<T: Blas>(x: &Array, weights: &[Array]) -> Result<Vec<Array>> {
    let x = contiguous(x)?;
    let weights = weights.iter().map(contiguous).collect::<Result<Vec<_>>>()?;
    let xs = host::slice::<T>(&x)?;
    let slices = weights.iter().map(host::slice::<T>).collect::<Result<Vec<_>>>()?;
    let (rows, inner) = host::rows_and_width(&x);
    let products: Vec<_> = slices
        .iter()
        .zip(&weights)
        .map(|(slice, w)| {
            (
                (rows, w.dims()[0]),
                Term {
                    k: inner,
                    a: View::row_major(&xs, inner),
                    b: View::transposed(slice, inner),
                },
            )
        })
        .collect();
    new_products(&products)?
        .into_iter()
        .zip(&weights)
        .map(|(y, w)| host::array(y, with_width(&x, w.dim(0)?)))
        .collect()
}

/// [`forward_all`](super::forward_all) for a few rows of `x`, by the matrix-vector kernels.
pub(super) fn few_rows<T: Blas>(x: &Array, weights: &[Array]) -> Result<Vec<Array>> {
    let x = contiguous(x)?;
    let weights = weights.iter().map(contiguous).collect::<Result<Vec<_>>>()?;
    let xs = host::slice::<T>(&x)?;
    let slices = weights.iter().map(host::slice::<T>).collect::<Result<Vec<_>>>()?;
    let layers: Vec<_> = slices.iter().map(|weight| layers::Layer { weight, bias: None }).collect();
    let products = layers::products(&xs, &layers, host::rows_and_width(&x))?;
    products
        .into_iter()
        .zip(&weights)
        .map(|(y, w)| host::array(y, with_width(&x, w.dim(0)?)))
        .collect()
}

pub(super) fn grad_input_cpu<T: Blas>(layers: &[(Array, Array)]) -> Result<Array> {
    let layers = layers
        .iter()
        .map(|(g, w)| Ok((contiguous(g)?, contiguous(w)?)))
        .collect::<Result<Vec<_>>>()?;
    let Some((first, weight)) = layers.first() else { bail!("no layer") };
    let ((rows, _), (_, inner)) = (host::rows_and_width(first), weight.dims2()?);
    let slices = layers.iter().map(|(g, w)| Ok((host::slice::<T>(g)?, host::slice::<T>(w)?)));
    let slices = slices.collect::<Result<Vec<_>>>()?;
    let terms: Vec<_> = slices
        .iter()
        .zip(&layers)
        .map(|((g, w), (_, weight))| {
            let k = weight.dims()[0];
            Term { k, a: View::row_major(g, k), b: View::row_major(w, inner) }
        })
        .collect();
    host::array(new_sum_of_products((rows, inner), &terms)?, with_width(first, inner))
}

pub(super) fn grad_weight_cpu<T: Blas>(grads: &[Array], x: &Array) -> Result<Vec<Array>> {
    let (rows, inner) = host::rows_and_width(x);
    let x = contiguous(x)?;
    let xs = host::slice::<T>(&x)?;
    let grads = grads.iter().map(contiguous).collect::<Result<Vec<_>>>()?;
    let slices = grads.iter().map(host::slice::<T>).collect::<Result<Vec<_>>>()?;
    let outs: Vec<usize> = grads.iter().map(|grad| host::rows_and_width(grad).1).collect();
    let products: Vec<_> = slices
        .iter()
        .zip(&outs)
        .map(|(g, out)| {
            (
                (*out, inner),
                Term { k: rows, a: View::transposed(g, *out), b: View::row_major(&xs, inner) },
            )
        })
        .collect();
    new_products(&products)?
        .into_iter()
        .zip(&outs)
        .map(|(d, out)| host::array(d, (*out, inner)))
        .collect()
}
