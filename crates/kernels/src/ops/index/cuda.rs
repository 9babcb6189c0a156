//! Launches of the kernels in `index.cu`.

use super::{By, ScatterAdd, SliceSet, Take};
use crate::cuda::{kernel_args, Array as CudaArray, Gpu, Name};
use crate::ops::layout::{by_size, contiguous, copy_to, narrow};
use crate::{Array, DType, Result};
use std::sync::Arc;

kernel_args! {
    TakeArgs {
        y: u64, x: u64, ids: u64, flag: u64,
        outer: u64, size: u64, inner: u64, count: u64, by_row: u32,
    }
    ScatterArgs {
        y: u64, x: u64, ids: u64, flag: u64, outer: u64, size: u64, inner: u64, count: u64,
    }
}

/// The number of elements before `axis`, along it, and after it.
fn around(dims: &[usize], axis: usize) -> (u64, u64, u64) {
    let product = |dims: &[usize]| dims.iter().product::<usize>() as u64;
    (product(&dims[..axis]), dims[axis] as u64, product(&dims[axis + 1..]))
}

pub(super) fn take(Take { x, ids, axis, by }: &Take, gpu: &Arc<Gpu>) -> Result<Array> {
    let (x, ids) = (contiguous(x)?, contiguous(&ids.to_dtype(DType::I64)?)?);
    let mut dims = x.dims().to_vec();
    match by {
        By::Row => dims[*axis] = ids.elem_count(),
        By::Element => dims = ids.dims().to_vec(),
    }
    let y = CudaArray::uninit(gpu, x.dtype(), dims.as_slice())?;
    let (outer, size, inner) = around(x.dims(), *axis);
    let args = TakeArgs {
        y: y.address(),
        x: x.address()?,
        ids: ids.address()?,
        flag: gpu.flag(),
        outer,
        size,
        inner,
        count: dims[*axis] as u64,
        by_row: u32::from(*by == By::Row),
    };
    let name = Name { module: "index", kernel: "take", dtype: by_size(x.dtype()) };
    gpu.for_each(name, dims.iter().product(), &args)?;
    Ok(y.into())
}

pub(super) fn scatter_add(kernel: &ScatterAdd, gpu: &Arc<Gpu>) -> Result<Array> {
    let (x, ids) = (contiguous(&kernel.x)?, contiguous(&kernel.ids.to_dtype(DType::I64)?)?);
    let y = kernel.into.copy()?;
    let (outer, size, inner) = around(y.dims(), kernel.axis);
    let args = ScatterArgs {
        y: y.address()?,
        x: x.address()?,
        ids: ids.address()?,
        flag: gpu.flag(),
        outer,
        size,
        inner,
        count: x.dims()[kernel.axis] as u64,
    };
    let name = Name { module: "index", kernel: "scatter_add", dtype: y.dtype() };
    gpu.for_each(name, (outer * inner) as usize, &args)?;
    Ok(y)
}

pub(super) fn slice_set(kernel: &SliceSet) -> Result<()> {
    let length = kernel.from.dims()[kernel.axis];
    let to = narrow(&kernel.into, kernel.axis, kernel.at, length)?;
    copy_to(to.cuda()?, &kernel.from)
}
