//! Linear layer: `y = x Wᵀ + bias`.
//!
//! Shapes: `x` is (.., in), `weight` (out, in) as in PyTorch, `bias` (out), `y` (.., out).

use crate::host::gemm::blas::Blas;
use crate::host::gemm::product::{fresh, fresh_all, fresh_sum};
use crate::host::gemm::view::{Term, View};
use crate::host::gemv::layers;
use crate::host::{self, dispatch};
use crate::ops::layout::contiguous;
use crate::ops::{elementwise, reduce};
use crate::{Array, Result};

/// The layer on candle's own operations.
pub fn reference(x: &Array, weight: &Array, bias: Option<&Array>) -> Result<Array> {
    let (rows, _) = host::rows_and_width(x);
    let (out, inner) = weight.dims2()?;
    let y = x.contiguous()?.reshape((rows, inner))?.matmul(&weight.t()?)?;
    let y = match bias {
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    };
    y.reshape(with_width(x, out))
}

pub(crate) fn with_width(x: &Array, width: usize) -> Vec<usize> {
    let mut dims = x.dims().to_vec();
    if let Some(last) = dims.last_mut() {
        *last = width;
    }
    dims
}

/// `x Wᵀ + bias`.
pub fn forward(x: &Array, weight: &Array, bias: Option<&Array>) -> Result<Array> {
    dispatch!(x, T => forward_cpu::<T>(x, weight, bias), else reference(x, weight, bias))
}

fn forward_cpu<T: Blas>(x: &Array, weight: &Array, bias: Option<&Array>) -> Result<Array> {
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
    let y = fresh((rows, out), term, bs.as_deref(), None)?;
    host::array(y, with_width(&x, out))
}

/// `x Wᵀ` for several weights of one width, in one go.
pub fn forward_all(x: &Array, weights: &[Array]) -> Result<Vec<Array>> {
    let (rows, inner) = host::rows_and_width(x);
    let few = rows * inner > 0 && rows <= layers::MOST_ROWS && weights.iter().all(|w| w.elem_count() > 0);
    let one_by_one = || weights.iter().map(|w| forward(x, w, None)).collect();
    dispatch!(x, T => if few { few_rows::<T>(x, weights) } else { many_rows::<T>(x, weights) }, else one_by_one())
}

fn many_rows<T: Blas>(x: &Array, weights: &[Array]) -> Result<Vec<Array>> {
    let x = contiguous(x)?;
    let weights = weights.iter().map(contiguous).collect::<Result<Vec<_>>>()?;
    let xs = host::slice::<T>(&x)?;
    let slices = weights.iter().map(host::slice::<T>).collect::<Result<Vec<_>>>()?;
    let (rows, inner) = host::rows_and_width(&x);
    let products: Vec<_> = slices
        .iter()
        .zip(&weights)
        .map(|(slice, w)| {
            ((rows, w.dims()[0]), Term { k: inner, a: View::row_major(&xs, inner), b: View::transposed(slice, inner) })
        })
        .collect();
    fresh_all(&products)?.into_iter().zip(&weights).map(|(y, w)| host::array(y, with_width(&x, w.dim(0)?))).collect()
}

fn few_rows<T: Blas>(x: &Array, weights: &[Array]) -> Result<Vec<Array>> {
    let x = contiguous(x)?;
    let weights = weights.iter().map(contiguous).collect::<Result<Vec<_>>>()?;
    let xs = host::slice::<T>(&x)?;
    let slices = weights.iter().map(host::slice::<T>).collect::<Result<Vec<_>>>()?;
    let layers: Vec<_> = slices.iter().map(|weight| layers::Layer { weight, bias: None }).collect();
    let products = layers::products(&xs, &layers, host::rows_and_width(&x))?;
    products.into_iter().zip(&weights).map(|(y, w)| host::array(y, with_width(&x, w.dim(0)?))).collect()
}

/// Gradient of the input: `grad W`.
pub fn grad_input(grad: &Array, weight: &Array) -> Result<Array> {
    let (out, inner) = weight.dims2()?;
    let (rows, _) = host::rows_and_width(grad);
    let g = contiguous(grad)?.reshape((rows, out))?;
    crate::ops::matmul::matmul(&g, weight, 1.0)?.reshape(with_width(grad, inner))
}

/// Gradient of the weight, (out, in): `gradᵀ x`.
pub fn grad_weight(grad: &Array, x: &Array) -> Result<Array> {
    let ((rows, out), (_, inner)) = (host::rows_and_width(grad), host::rows_and_width(x));
    let g = contiguous(grad)?.reshape((rows, out))?;
    crate::ops::matmul::matmul(&g.t()?, &contiguous(x)?.reshape((rows, inner))?, 1.0)
}

/// Gradient of the input of several layers: the sum of `grad W` over pairs of a gradient and a weight, of which there must be one.
pub fn grad_input_all(layers: &[(Array, Array)]) -> Result<Array> {
    let Some((grad, weight)) = layers.first() else {
        candle_core::bail!("no layer");
    };
    let (_, inner) = weight.dims2()?;
    let (rows, _) = host::rows_and_width(grad);
    dispatch!(grad, T => {
        let layers = layers.iter().map(|(g, w)| Ok((contiguous(g)?, contiguous(w)?))).collect::<Result<Vec<_>>>()?;
        let slices = layers.iter().map(|(g, w)| Ok((host::slice::<T>(g)?, host::slice::<T>(w)?)));
        let slices = slices.collect::<Result<Vec<_>>>()?;
        let terms: Vec<_> = slices.iter().zip(&layers).map(|((g, w), (_, weight))| {
            let k = weight.dims()[0];
            Term { k, a: View::row_major(g, k), b: View::row_major(w, inner) }
        }).collect();
        host::array(fresh_sum((rows, inner), &terms)?, with_width(grad, inner))
    }, else {
        let mut total = grad_input(grad, weight)?;
        for (grad, weight) in &layers[1..] {
            total = elementwise::add(&total, &grad_input(grad, weight)?)?;
        }
        Ok(total)
    })
}

/// Gradients of the weights of several layers of one input: `gradᵀ x` for each gradient.
pub fn grad_weight_all(grads: &[Array], x: &Array) -> Result<Vec<Array>> {
    let (rows, inner) = host::rows_and_width(x);
    dispatch!(x, T => {
        let x = contiguous(x)?;
        let xs = host::slice::<T>(&x)?;
        let grads = grads.iter().map(contiguous).collect::<Result<Vec<_>>>()?;
        let slices = grads.iter().map(host::slice::<T>).collect::<Result<Vec<_>>>()?;
        let outs: Vec<usize> = grads.iter().map(|grad| host::rows_and_width(grad).1).collect();
        let products: Vec<_> = slices
            .iter()
            .zip(&outs)
            .map(|(g, out)| ((*out, inner), Term { k: rows, a: View::transposed(g, *out), b: View::row_major(&xs, inner) }))
            .collect();
        fresh_all(&products)?.into_iter().zip(&outs).map(|(d, out)| host::array(d, (*out, inner))).collect()
    }, else grads.iter().map(|grad| grad_weight(grad, x)).collect())
}

/// Gradient of the bias, (out): the sum of `grad` over all but its last axis.
pub fn grad_bias(grad: &Array) -> Result<Array> {
    let (rows, width) = host::rows_and_width(grad);
    reduce::sum(&contiguous(grad)?.reshape((rows, width))?, &[0])?.reshape(width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, normal};

    #[test]
    fn equals_the_reference() {
        for (dims, out) in [(vec![2, 3, 5], 7), (vec![1, 1], 1), (vec![130, 140], 131), (vec![4, 9], 3)] {
            let inner = dims[dims.len() - 1];
            let (x, w, b) = (normal(&dims, 1), normal(&[out, inner], 2), normal(&[out], 3));
            close(&forward(&x, &w, Some(&b)).unwrap(), &reference(&x, &w, Some(&b)).unwrap(), 1e-5);
            close(&forward(&x, &w, None).unwrap(), &reference(&x, &w, None).unwrap(), 1e-5);
        }
    }

    #[test]
    fn several_at_once_equal_one_after_the_other() {
        for rows in [0, 1, 3, 40, 600] {
            let x = normal(&[rows, 9], 1);
            let weights = [normal(&[7, 9], 2), normal(&[9, 8], 3).t().unwrap(), normal(&[1300, 9], 4)];
            let all = forward_all(&x, &weights).unwrap();
            for (y, w) in all.iter().zip(&weights) {
                close(y, &reference(&x, w, None).unwrap(), 1e-5);
            }
            let grads: Vec<_> = all.iter().enumerate().map(|(i, y)| normal(y.dims(), i as u64)).collect();
            for (d, g) in grad_weight_all(&grads, &x).unwrap().iter().zip(&grads) {
                close(d, &grad_weight(g, &x).unwrap(), 1e-5);
            }
            let pairs: Vec<_> = grads.into_iter().zip(weights).collect();
            let want = pairs.iter().map(|(g, w)| grad_input(g, w).unwrap()).reduce(|a, b| (a + b).unwrap()).unwrap();
            close(&grad_input_all(&pairs).unwrap(), &want, 1e-5);
        }
    }

    #[test]
    fn gradients_equal_the_plain_products() {
        let (x, w, g) = (normal(&[2, 3, 5], 1), normal(&[7, 5], 2), normal(&[2, 3, 7], 3));
        let (x2, g2) = (x.reshape((6, 5)).unwrap(), g.reshape((6, 7)).unwrap());
        close(&grad_input(&g, &w).unwrap(), &g2.matmul(&w).unwrap().reshape((2, 3, 5)).unwrap(), 1e-5);
        close(&grad_weight(&g, &x).unwrap(), &g2.t().unwrap().matmul(&x2).unwrap(), 1e-5);
        close(&grad_bias(&g).unwrap(), &g2.sum(0).unwrap(), 1e-5);
    }
}
