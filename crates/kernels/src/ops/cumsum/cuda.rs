//! Launches of the kernels in `cumsum.cu`.

use crate::cuda::{kernel_args, Array as CudaArray, Gpu, Name};
use crate::ops::layout::contiguous;
use crate::{Array, DType, Result};
use std::sync::Arc;

kernel_args! {
    ScanArgs {
        y: u64, x: u64, before: u64,
        outer: u64, count: u64, inner: u64, chunk: u64, chunks: u64, reverse: u32,
    }
}

/// The most numbers that a thread adds.
const CHUNK: usize = 128;

/// The dtype of sums.
fn sum_dtype(dtype: DType) -> DType {
    match dtype.is_float() {
        true => DType::F64,
        false => DType::I64,
    }
}

pub(super) fn cumsum(x: &Array, axis: usize, reverse: bool, gpu: &Arc<Gpu>) -> Result<Array> {
    let x = match x.dtype().is_float() {
        true => contiguous(x)?,
        false => contiguous(&x.to_dtype(DType::I64)?)?,
    };
    let dims = x.dims();
    let product = |dims: &[usize]| dims.iter().product::<usize>();
    let sizes = (product(&dims[..axis]), dims[axis], product(&dims[axis + 1..]));
    scan(&x, sizes, reverse, gpu)?.reshape(dims)
}

/// The running sums of a contiguous array of shape (outer, count, inner). Threads sum chunks of a
/// line; then they add what the chunks before sum up to, which the same function computes.
fn scan(
    x: &Array,
    (outer, count, inner): (usize, usize, usize),
    reverse: bool,
    gpu: &Arc<Gpu>,
) -> Result<Array> {
    let chunks = count.div_ceil(CHUNK);
    let threads = outer * chunks * inner;
    let name = |kernel| Name { module: "cumsum", kernel, dtype: x.dtype() };
    let args = |y: &CudaArray, before: u64| -> Result<ScanArgs> {
        Ok(ScanArgs {
            y: y.address(),
            x: x.address()?,
            before,
            outer: outer as u64,
            count: count as u64,
            inner: inner as u64,
            chunk: CHUNK as u64,
            chunks: chunks as u64,
            reverse: u32::from(reverse),
        })
    };
    let before = if chunks > 1 {
        let sums = CudaArray::uninit(gpu, sum_dtype(x.dtype()), threads)?;
        gpu.for_each(name("sum_chunks"), threads, &args(&sums, 0)?)?;
        Some(scan(&sums.into(), (outer, chunks, inner), reverse, gpu)?)
    } else {
        None
    };
    let y = CudaArray::uninit(gpu, x.dtype(), outer * count * inner)?;
    let args = args(&y, Array::address_or_null(before.as_ref())?)?;
    gpu.for_each(name("scan"), threads, &args)?;
    Ok(y.into())
}
