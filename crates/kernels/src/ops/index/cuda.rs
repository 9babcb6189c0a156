//! Launches of the kernels in `index.cu`.

use crate::cuda::{kernel_args, Array as CudaArray, Gpu, Name};
use crate::error::bail;
use crate::ops::layout::{by_size, contiguous, copy_to, indices, narrow};
use crate::{Array, Result};
use std::sync::Arc;

kernel_args! {
    TakeArgs {
        y: u64, x: u64, ids: u64, flag: u64,
        outer: u64, size: u64, inner: u64, count: u64, by_row: u32,
    }
    ScatterArgs {
        y: u64, x: u64, ids: u64, flag: u64, outer: u64, size: u64, inner: u64, count: u64,
        parts: u64,
    }
}

/// The fewest threads that `scatter_add` uses, if there are as many elements: enough for all
/// multiprocessors.
const SCATTER_THREADS: usize = 1 << 14;

/// An axis of size 0 has no index: kernels, which use index 0 instead of a bad one, would read
/// what is not there.
fn check_not_empty(size: u64, indices: usize) -> Result<()> {
    if size == 0 && indices > 0 {
        bail!("{indices} indices into an axis of size 0");
    }
    Ok(())
}

/// The number of elements before `axis`, along it, and after it.
fn around(dims: &[usize], axis: usize) -> (u64, u64, u64) {
    let product = |dims: &[usize]| dims.iter().product::<usize>() as u64;
    (product(&dims[..axis]), dims[axis] as u64, product(&dims[axis + 1..]))
}

/// The ids select rows if `by_row`, else single elements.
pub(super) fn take(
    x: &Array,
    ids: &Array,
    axis: usize,
    by_row: bool,
    gpu: &Arc<Gpu>,
) -> Result<Array> {
    let (x, ids) = (contiguous(x)?, indices(ids)?);
    let mut dims = x.dims().to_vec();
    match by_row {
        true => dims[axis] = ids.elem_count(),
        false => dims = ids.dims().to_vec(),
    }
    let y = CudaArray::uninit(gpu, x.dtype(), dims.as_slice())?;
    let (outer, size, inner) = around(x.dims(), axis);
    check_not_empty(size, dims.iter().product())?;
    let args = TakeArgs {
        y: y.address(),
        x: x.address()?,
        ids: ids.address()?,
        flag: gpu.flag(),
        outer,
        size,
        inner,
        count: dims[axis] as u64,
        by_row: u32::from(by_row),
    };
    let name = Name { module: "index", kernel: "take", dtype: by_size(x.dtype()) };
    gpu.for_each(name, dims.iter().product(), &args)?;
    Ok(y.into())
}

pub(super) fn scatter_add(
    into: &Array,
    ids: &Array,
    x: &Array,
    axis: usize,
    gpu: &Arc<Gpu>,
) -> Result<Array> {
    let (x, ids) = (contiguous(x)?, indices(ids)?);
    let y = into.copy()?;
    let (outer, size, inner) = around(y.dims(), axis);
    check_not_empty(size, x.elem_count())?;
    // several threads for each line where there are few, each with some of its elements
    let lines = (outer * inner) as usize;
    let parts = SCATTER_THREADS.div_ceil(lines.max(1)).min(size.max(1) as usize);
    let args = ScatterArgs {
        y: y.address()?,
        x: x.address()?,
        ids: ids.address()?,
        flag: gpu.flag(),
        outer,
        size,
        inner,
        count: x.dims()[axis] as u64,
        parts: parts as u64,
    };
    let name = Name { module: "index", kernel: "scatter_add", dtype: y.dtype() };
    gpu.for_each(name, lines * parts, &args)?;
    Ok(y)
}

pub(super) fn slice_set(into: &Array, from: &Array, axis: usize, at: usize) -> Result<()> {
    let to = narrow(into, axis, at, from.dims()[axis])?;
    copy_to(to.cuda()?, from)
}
