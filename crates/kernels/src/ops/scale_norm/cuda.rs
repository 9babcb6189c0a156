//! Launches of the kernels in `scale_norm.cu`.

use crate::cuda::{kernel_args, Array as CudaArray, Gpu, Name};
use crate::host::{accumulation_dtype, rows_and_width};
use crate::ops::layout::contiguous;
use crate::ops::reduce;
use crate::{Array, Result};
use std::sync::Arc;

/// As in `scale_norm.cu`.
const CHUNK: usize = 64;

const MODULE: &str = "scale_norm";

kernel_args! {
    ForwardArgs {
        y: u64, x: u64, gain: u64, rows: u64, width: u64, scale: f64, eps: f64, added: u32,
    }
    BackwardArgs {
        dx: u64, factors: u64, x: u64, gain: u64, grad: u64, residual_grad: u64,
        rows: u64, width: u64, scale: f64, eps: f64, added: u32,
    }
    GainArgs { sums: u64, factors: u64, x: u64, grad: u64, rows: u64, width: u64, chunks: u64 }
}

pub(super) fn forward(
    x: &Array,
    gain: Option<&Array>,
    (scale, eps, added): (f64, f64, bool),
    gpu: &Arc<Gpu>,
) -> Result<Array> {
    let (x, gain) = (contiguous(x)?, gain.map(contiguous).transpose()?);
    let (rows, width) = rows_and_width(&x);
    let y = CudaArray::uninit(gpu, x.dtype(), x.shape())?;
    let args = ForwardArgs {
        y: y.address(),
        x: x.address()?,
        gain: Array::address_or_null(gain.as_ref())?,
        rows: rows as u64,
        width: width as u64,
        scale,
        eps,
        added: u32::from(added),
    };
    let name = Name { module: MODULE, kernel: "scale_norm", dtype: x.dtype() };
    gpu.rows(name, (rows, width), &args)?;
    Ok(y.into())
}

/// The gradients of the input, and of the gain if there is one.
pub(super) fn backward(
    x: &Array,
    gain: Option<&Array>,
    (grad, residual_grad): (&Array, Option<&Array>),
    (scale, eps, added): (f64, f64, bool),
    gpu: &Arc<Gpu>,
) -> Result<(Array, Option<Array>)> {
    let (x, grad) = (contiguous(x)?, contiguous(grad)?);
    let gain = gain.map(contiguous).transpose()?;
    let residual_grad = residual_grad.map(contiguous).transpose()?;
    let (rows, width) = rows_and_width(&x);
    let wide = accumulation_dtype(x.dtype());
    let dx = CudaArray::uninit(gpu, x.dtype(), x.shape())?;
    let factors = CudaArray::uninit(gpu, wide, rows)?;
    let name = |kernel| Name { module: MODULE, kernel, dtype: x.dtype() };
    let args = BackwardArgs {
        dx: dx.address(),
        factors: factors.address(),
        x: x.address()?,
        gain: Array::address_or_null(gain.as_ref())?,
        grad: grad.address()?,
        residual_grad: Array::address_or_null(residual_grad.as_ref())?,
        rows: rows as u64,
        width: width as u64,
        scale,
        eps,
        added: u32::from(added),
    };
    gpu.rows(name("scale_norm_backward"), (rows, width), &args)?;
    if gain.is_none() {
        return Ok((dx.into(), None));
    }
    let chunks = rows.div_ceil(CHUNK);
    let sums = CudaArray::uninit(gpu, wide, (chunks, width))?;
    let args = GainArgs {
        sums: sums.address(),
        factors: factors.address(),
        x: x.address()?,
        grad: grad.address()?,
        rows: rows as u64,
        width: width as u64,
        chunks: chunks as u64,
    };
    gpu.for_each(name("scale_norm_gain"), chunks * width, &args)?;
    let dgain = reduce::sum(&sums.into(), &[0])?.to_dtype(x.dtype())?.reshape(width)?;
    Ok((dx.into(), Some(dgain)))
}
