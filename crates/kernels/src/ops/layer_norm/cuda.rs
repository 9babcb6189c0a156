//! Launches of the kernels in `layer_norm.cu`.

use crate::cuda::{kernel_args, Array as CudaArray, Gpu, Name};
use crate::host::{accumulation_dtype, rows_and_width};
use crate::ops::layout::{contiguous, narrow};
use crate::ops::reduce;
use crate::{Array, Result};
use std::sync::Arc;

/// As in `layer_norm.cu`.
const CHUNK: usize = 64;

const MODULE: &str = "layer_norm";

kernel_args! {
    ForwardArgs { y: u64, x: u64, weight: u64, bias: u64, rows: u64, width: u64, eps: f64 }
    BackwardArgs {
        dx: u64, moments: u64, x: u64, weight: u64, grad: u64, residual_grad: u64,
        rows: u64, width: u64, eps: f64,
    }
    ParamsArgs {
        sums: u64, moments: u64, x: u64, grad: u64, rows: u64, width: u64, chunks: u64,
    }
}

pub(super) fn forward(
    x: &Array,
    weight: &Array,
    bias: &Array,
    eps: f64,
    gpu: &Arc<Gpu>,
) -> Result<Array> {
    let (x, weight, bias) = (contiguous(x)?, contiguous(weight)?, contiguous(bias)?);
    let (rows, width) = rows_and_width(&x);
    let y = CudaArray::uninit(gpu, x.dtype(), x.shape())?;
    let args = ForwardArgs {
        y: y.address(),
        x: x.address()?,
        weight: weight.address()?,
        bias: bias.address()?,
        rows: rows as u64,
        width: width as u64,
        eps,
    };
    let name = Name { module: MODULE, kernel: "layer_norm", dtype: x.dtype() };
    gpu.rows(name, (rows, width), &args)?;
    Ok(y.into())
}

/// The gradients of input, weight and bias.
pub(super) fn backward(
    x: &Array,
    weight: &Array,
    (grad, residual_grad): (&Array, Option<&Array>),
    eps: f64,
    gpu: &Arc<Gpu>,
) -> Result<[Array; 3]> {
    let (x, weight, grad) = (contiguous(x)?, contiguous(weight)?, contiguous(grad)?);
    let residual_grad = residual_grad.map(contiguous).transpose()?;
    let (rows, width) = rows_and_width(&x);
    let wide = accumulation_dtype(x.dtype());
    let dx = CudaArray::uninit(gpu, x.dtype(), x.shape())?;
    let moments = CudaArray::uninit(gpu, wide, (rows, 2))?;
    let name = |kernel| Name { module: MODULE, kernel, dtype: x.dtype() };
    let args = BackwardArgs {
        dx: dx.address(),
        moments: moments.address(),
        x: x.address()?,
        weight: weight.address()?,
        grad: grad.address()?,
        residual_grad: Array::address_or_null(residual_grad.as_ref())?,
        rows: rows as u64,
        width: width as u64,
        eps,
    };
    gpu.rows(name("layer_norm_backward"), (rows, width), &args)?;
    let chunks = rows.div_ceil(CHUNK);
    let sums = CudaArray::uninit(gpu, wide, (2, chunks, width))?;
    let args = ParamsArgs {
        sums: sums.address(),
        moments: moments.address(),
        x: x.address()?,
        grad: grad.address()?,
        rows: rows as u64,
        width: width as u64,
        chunks: chunks as u64,
    };
    gpu.for_each(name("layer_norm_params"), chunks * width, &args)?;
    let sums = reduce::sum(&sums.into(), &[1])?.to_dtype(x.dtype())?;
    let of = |index| narrow(&sums, 0, index, 1)?.reshape(width);
    Ok([dx.into(), of(0)?, of(1)?])
}
