//! Launches of the kernels in `distances.cu`.

use crate::cuda::{kernel_args, Array as CudaArray, Gpu, Name};
use crate::ops::layout::contiguous;
use crate::{Array, Result};
use std::sync::Arc;

kernel_args! {
    DistanceArgs { to: u64, from: u64, heads: u64, queries: u64, keys: u64 }
}

const MODULE: &str = "distances";

/// The bias as a matrix, (heads, i, j).
pub(super) fn expand(bias: &Array, (i, j): (usize, usize), gpu: &Arc<Gpu>) -> Result<Array> {
    let bias = contiguous(bias)?;
    let heads = bias.dim(0)?;
    let y = CudaArray::uninit(gpu, bias.dtype(), (heads, i, j))?;
    let args = DistanceArgs {
        to: y.address(),
        from: bias.address()?,
        heads: heads as u64,
        queries: i as u64,
        keys: j as u64,
    };
    let name = Name { module: MODULE, kernel: "expand", dtype: bias.dtype() };
    gpu.for_each(name, heads * i * j, &args)?;
    Ok(y.into())
}

/// The sums over the entries of each of `width` distances, (heads, width).
pub(super) fn collect(grad: &Array, width: usize, gpu: &Arc<Gpu>) -> Result<Array> {
    let grad = contiguous(grad)?;
    let (heads, i, j) = grad.dims3()?;
    let y = CudaArray::uninit(gpu, grad.dtype(), (heads, width))?;
    let args = DistanceArgs {
        to: y.address(),
        from: grad.address()?,
        heads: heads as u64,
        queries: i as u64,
        keys: j as u64,
    };
    let name = Name { module: MODULE, kernel: "collect", dtype: grad.dtype() };
    gpu.for_each(name, heads * width, &args)?;
    Ok(y.into())
}
