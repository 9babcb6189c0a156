//! Launches of the kernels in `glu.cu`.

use crate::cuda::{kernel_args, Array as CudaArray, Gpu, Name};
use crate::host::{rows_and_width, with_width};
use crate::ops::layout::contiguous;
use crate::{Array, Result};
use std::sync::Arc;

kernel_args! {
    ForwardArgs { y: u64, x: u64, count: u64, half: u64, kind: u32 }
    BackwardArgs { dx: u64, x: u64, grad: u64, count: u64, half: u64, kind: u32 }
}

/// `kind` is a number of `Activation`.
pub(super) fn forward(x: &Array, kind: u32, gpu: &Arc<Gpu>) -> Result<Array> {
    let (x, half) = (contiguous(x)?, rows_and_width(x).1 / 2);
    let count = x.elem_count() / 2;
    let y = CudaArray::uninit(gpu, x.dtype(), with_width(&x, half))?;
    let args = ForwardArgs {
        y: y.address(),
        x: x.address()?,
        count: count as u64,
        half: half as u64,
        kind,
    };
    gpu.for_each(Name { module: "glu", kernel: "glu", dtype: x.dtype() }, count, &args)?;
    Ok(y.into())
}

/// `kind` is a number of `Activation`.
pub(super) fn backward(x: &Array, grad: &Array, kind: u32, gpu: &Arc<Gpu>) -> Result<Array> {
    let (x, grad, half) = (contiguous(x)?, contiguous(grad)?, rows_and_width(x).1 / 2);
    let count = grad.elem_count();
    let dx = CudaArray::uninit(gpu, x.dtype(), x.shape())?;
    let args = BackwardArgs {
        dx: dx.address(),
        x: x.address()?,
        grad: grad.address()?,
        count: count as u64,
        half: half as u64,
        kind,
    };
    gpu.for_each(Name { module: "glu", kernel: "glu_backward", dtype: x.dtype() }, count, &args)?;
    Ok(dx.into())
}
