//! Launches of the kernels in `layout.cu`.

use crate::cuda::{kernel_args, Array as CudaArray, Axes, Gpu, Name};
use crate::{Array, DType, Result};
use std::sync::Arc;

kernel_args! {
    CopyArgs { to: u64, from: u64, count: u64, axes: Axes<2> }
}

/// A dtype with elements of the same size, by which kernels that only move elements are named.
pub(crate) fn by_size(dtype: DType) -> DType {
    match dtype.size_in_bytes() {
        1 => DType::U8,
        2 => DType::F16,
        4 => DType::U32,
        _ => DType::I64,
    }
}

/// Copies the values of `from` to the view `to`, of the same shape and dtype.
pub(crate) fn copy_to(to: &CudaArray, from: &Array) -> Result<()> {
    let count = from.elem_count();
    let args = CopyArgs {
        to: to.address(),
        from: from.address()?,
        count: count as u64,
        axes: Axes::new(from.dims(), [to.layout().stride(), from.stride()])?,
    };
    let name = Name { module: "layout", kernel: "copy", dtype: by_size(from.dtype()) };
    to.gpu().for_each(name, count, &args)
}

/// A contiguous copy, of whose integers the same bounds are known.
pub(crate) fn copy(x: &Array, gpu: &Arc<Gpu>) -> Result<Array> {
    let y = CudaArray::uninit(gpu, x.dtype(), x.shape())?;
    copy_to(&y, x)?;
    Ok(y.with_bounds(x.cuda()?.bounds()).into())
}
