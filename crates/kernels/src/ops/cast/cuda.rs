//! Launches of the kernels in `cast.cu`.

use crate::cuda::{kernel_args, Array as CudaArray, Axes, Gpu, Name};
use crate::error::bail;
use crate::{Array, DType, Result};
use std::sync::Arc;

kernel_args! {
    CastArgs { y: u64, x: u64, count: u64, axes: Axes<1>, to: u32 }
}

/// `Type` in `cast.cu`.
fn code(dtype: DType) -> Result<u32> {
    let all = [DType::U8, DType::U32, DType::I64, DType::F16, DType::BF16, DType::F32, DType::F64];
    match all.iter().position(|known| *known == dtype) {
        Some(code) => Ok(code as u32),
        None => bail!("there are no arrays of {dtype:?}"),
    }
}

pub(super) fn cast(x: &Array, dtype: DType, gpu: &Arc<Gpu>) -> Result<Array> {
    let (count, to) = (x.elem_count(), code(dtype)?);
    let y = CudaArray::uninit(gpu, dtype, x.shape())?;
    let args = CastArgs {
        y: y.address(),
        x: x.address()?,
        count: count as u64,
        axes: Axes::new(x.dims(), [x.stride()])?,
        to,
    };
    gpu.for_each(Name { module: "cast", kernel: "cast", dtype: x.dtype() }, count, &args)?;
    Ok(y.into())
}
