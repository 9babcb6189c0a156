//! Launches of the kernels in `activation.cu`.

use crate::cuda::{kernel_args, Array as CudaArray, Gpu, Name};
use crate::ops::layout::contiguous;
use crate::{Array, Result};
use std::sync::Arc;

kernel_args! {
    ForwardArgs { y: u64, x: u64, count: u64, kind: u32 }
    BackwardArgs { dx: u64, x: u64, grad: u64, count: u64, kind: u32 }
}

const MODULE: &str = "activation";

/// `kind` is a number of `Activation`.
pub(super) fn forward(x: &Array, kind: u32, gpu: &Arc<Gpu>) -> Result<Array> {
    let (x, count) = (contiguous(x)?, x.elem_count());
    let y = CudaArray::uninit(gpu, x.dtype(), x.shape())?;
    let args = ForwardArgs { y: y.address(), x: x.address()?, count: count as u64, kind };
    gpu.for_each(Name { module: MODULE, kernel: "activation", dtype: x.dtype() }, count, &args)?;
    Ok(y.into())
}

/// `kind` is a number of `Activation`.
pub(super) fn backward(x: &Array, grad: &Array, kind: u32, gpu: &Arc<Gpu>) -> Result<Array> {
    let (x, grad, count) = (contiguous(x)?, contiguous(grad)?, x.elem_count());
    let dx = CudaArray::uninit(gpu, x.dtype(), x.shape())?;
    let args = BackwardArgs {
        dx: dx.address(),
        x: x.address()?,
        grad: grad.address()?,
        count: count as u64,
        kind,
    };
    let name = Name { module: MODULE, kernel: "activation_backward", dtype: x.dtype() };
    gpu.for_each(name, count, &args)?;
    Ok(dx.into())
}
