//! Launches of the kernels in `embedding.cu`.

use crate::cuda::{kernel_args, Array as CudaArray, Gpu, Name};
use crate::error::bail;
use crate::host::rows_and_width;
use crate::ops::layout::{by_size, contiguous, indices};
use crate::{Array, Device, Result};
use std::sync::Arc;

/// Threads of a block in the backward pass, as in `embedding.cu`.
const TILE: usize = 128;

/// The most blocks along the axis of positions.
const BLOCKS: usize = 1 << 16;

const MODULE: &str = "embedding";

kernel_args! {
    ForwardArgs { y: u64, table: u64, ids: u64, flag: u64, count: u64, width: u64, size: u64 }
    BackwardArgs { dtable: u64, grad: u64, ids: u64, flag: u64, count: u64, width: u64, size: u64 }
}

/// `dims` is the shape of the result.
pub(super) fn forward(
    table: &Array,
    ids: &Array,
    dims: Vec<usize>,
    gpu: &Arc<Gpu>,
) -> Result<Array> {
    let (table, ids) = (contiguous(table)?, indices(ids)?);
    let (size, width) = table.dims2()?;
    if size == 0 && ids.elem_count() > 0 {
        // the kernel uses row 0 in place of a bad index
        bail!("{} indices into an embedding without rows", ids.elem_count());
    }
    let y = CudaArray::uninit(gpu, table.dtype(), dims)?;
    let args = ForwardArgs {
        y: y.address(),
        table: table.address()?,
        ids: ids.address()?,
        flag: gpu.flag(),
        count: ids.elem_count() as u64,
        width: width as u64,
        size: size as u64,
    };
    let name = Name { module: MODULE, kernel: "embedding", dtype: by_size(table.dtype()) };
    gpu.for_each(name, ids.elem_count() * width, &args)?;
    Ok(y.into())
}

/// The gradient of a table of `size` rows.
pub(super) fn backward(grad: &Array, ids: &Array, size: usize, gpu: &Arc<Gpu>) -> Result<Array> {
    let (grad, ids) = (contiguous(grad)?, indices(ids)?);
    let (count, (_, width)) = (ids.elem_count(), rows_and_width(&grad));
    let dtable = Array::zeros((size, width), grad.dtype(), &Device::Cuda(gpu.clone()))?;
    let args = BackwardArgs {
        dtable: dtable.address()?,
        grad: grad.address()?,
        ids: ids.address()?,
        flag: gpu.flag(),
        count: count as u64,
        width: width as u64,
        size: size as u64,
    };
    let name = Name { module: MODULE, kernel: "embedding_backward", dtype: grad.dtype() };
    let blocks = [count.min(BLOCKS) as u32, width.div_ceil(TILE) as u32];
    gpu.launch(name, blocks, [TILE as u32, 1], &args)?;
    Ok(dtable)
}
