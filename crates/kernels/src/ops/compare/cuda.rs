//! Launches of the kernels in `compare.cu`.

use crate::cuda::{kernel_args, Array as CudaArray, Axes, Gpu, Name};
use crate::{Array, DType, Result};
use std::sync::Arc;

kernel_args! {
    CompareArgs { y: u64, a: u64, b: u64, count: u64, axes: Axes<2>, op: u32 }
}

/// `op` is a number of `Comparison`.
pub(super) fn compare(a: &Array, b: &Array, op: u32, gpu: &Arc<Gpu>) -> Result<Array> {
    let dims = a.shape().broadcast_shape_binary_op(b.shape(), "compare")?;
    let (a, b) = (a.broadcast_as(&dims)?, b.broadcast_as(&dims)?);
    let y = CudaArray::uninit(gpu, DType::U8, &dims)?;
    let args = CompareArgs {
        y: y.address(),
        a: a.address()?,
        b: b.address()?,
        count: dims.elem_count() as u64,
        axes: Axes::new(dims.dims(), [a.stride(), b.stride()])?,
        op,
    };
    let name = Name { module: "compare", kernel: "compare", dtype: a.dtype() };
    gpu.for_each(name, dims.elem_count(), &args)?;
    Ok(y.into())
}
