//! Linear layers on GPUs, by matrix products.

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

pub(super) fn forward(
    x: &Array,
    weight: &Array,
    bias: Option<&Array>,
    gpu: &Arc<Gpu>,
) -> Result<Array> {
    let bias = bias.map(contiguous).transpose()?;
    let y = CudaArray::uninit(gpu, x.dtype(), with_width(x, weight.dims2()?.0))?;
    Product { bias: bias.as_ref(), ..Product::new(&matrix(x)?, &weight.t()?) }.write(&y)?;
    Ok(y.into())
}

pub(super) fn grad_input(layers: &[(Array, Array)], gpu: &Arc<Gpu>) -> Result<Array> {
    let [(first, weight), ..] = layers else { bail!("no layer") };
    let dx = CudaArray::uninit(gpu, first.dtype(), with_width(first, weight.dims2()?.1))?;
    for (i, (grad, weight)) in layers.iter().enumerate() {
        Product { accumulate: i > 0, ..Product::new(&matrix(grad)?, weight) }.write(&dx)?;
    }
    Ok(dx.into())
}

pub(super) fn grad_weight(grad: &Array, x: &Array, gpu: &Arc<Gpu>) -> Result<Array> {
    let (grad, x) = (matrix(grad)?, matrix(x)?);
    let dweight = CudaArray::uninit(gpu, x.dtype(), (grad.dims2()?.1, x.dims2()?.1))?;
    Product::new(&grad.t()?, &x).write(&dweight)?;
    Ok(dweight.into())
}
