//! Linear layers on GPUs, by matrix products.

use super::{Forward, ForwardAll, GradInput, GradWeight};
use crate::cuda::{Array as CudaArray, Gpu};
use crate::error::bail;
use crate::host::{rows_and_width, with_width};
use crate::ops::layout::contiguous;
use crate::ops::matmul::Product;
use crate::{Array, Result};
use std::sync::Arc;

/// `x` as a matrix of its rows.
fn matrix(x: &Array) -> Result<Array> {
    contiguous(x)?.reshape(rows_and_width(x))
}

pub(super) fn forward(kernel: &Forward, gpu: &Arc<Gpu>) -> Result<Array> {
    let bias = kernel.bias.as_ref().map(contiguous).transpose()?;
    linear(&kernel.x, &kernel.weight, bias.as_ref(), gpu)
}

pub(super) fn forward_all(kernel: &ForwardAll, gpu: &Arc<Gpu>) -> Result<Vec<Array>> {
    kernel.weights.iter().map(|weight| linear(&kernel.x, weight, None, gpu)).collect()
}

fn linear(x: &Array, weight: &Array, bias: Option<&Array>, gpu: &Arc<Gpu>) -> Result<Array> {
    let y = CudaArray::uninit(gpu, x.dtype(), with_width(x, weight.dims2()?.0))?;
    Product { bias, ..Product::new(&matrix(x)?, &weight.t()?) }.write(&y)?;
    Ok(y.into())
}

pub(super) fn grad_input(GradInput { layers }: &GradInput, gpu: &Arc<Gpu>) -> Result<Array> {
    let [(first, weight), ..] = layers.as_slice() else { bail!("no layer") };
    let dx = CudaArray::uninit(gpu, first.dtype(), with_width(first, weight.dims2()?.1))?;
    for (i, (grad, weight)) in layers.iter().enumerate() {
        Product { accumulate: i > 0, ..Product::new(&matrix(grad)?, weight) }.write(&dx)?;
    }
    Ok(dx.into())
}

pub(super) fn grad_weight(kernel: &GradWeight, gpu: &Arc<Gpu>) -> Result<Vec<Array>> {
    let x = matrix(&kernel.x)?;
    let of = |grad: &Array| {
        let grad = matrix(grad)?;
        let dims = (grad.dims2()?.1, x.dims2()?.1);
        let dweight = CudaArray::uninit(gpu, x.dtype(), dims)?;
        Product::new(&grad.t()?, &x).write(&dweight)?;
        Ok(dweight.into())
    };
    kernel.grads.iter().map(of).collect()
}
