//! Launches of the kernels in `convert.cu`.

use crate::cuda::{kernel_args, Array as CudaArray, Gpu, Name};
use crate::ops::layout::contiguous;
use crate::{Array, DType, Result};
use std::sync::Arc;

kernel_args! {
    ConvertArgs { y: u64, x: u64, flag: u64, count: u64 }
}

pub(super) fn to_i64(x: &Array, gpu: &Arc<Gpu>) -> Result<Array> {
    let (x, count) = (contiguous(x)?, x.elem_count());
    let y = CudaArray::uninit(gpu, DType::I64, x.shape())?;
    let args =
        ConvertArgs { y: y.address(), x: x.address()?, flag: gpu.flag(), count: count as u64 };
    gpu.for_each(Name { module: "convert", kernel: "convert", dtype: x.dtype() }, count, &args)?;
    Ok(y.into())
}
