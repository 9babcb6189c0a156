//! Launches of the kernels in `reduce.cu`.

use super::axes::{groups, split};
use crate::cuda::{kernel_args, Array as CudaArray, Gpu, Name};
use crate::ops::layout::contiguous;
use crate::{Array, DType, Result};
use std::sync::Arc;

kernel_args! {
    SumArgs { y: u64, x: u64, outer: u64, count: u64, inner: u64, chunk: u64, chunks: u64 }
}

/// The most numbers that a warp or block sums.
const ROW_CHUNK: usize = 16_384;

/// The most numbers that a thread sums.
const COLUMN_CHUNK: usize = 64;

/// The dtype of sums.
fn sum_dtype(dtype: DType) -> DType {
    match dtype {
        DType::F16 | DType::BF16 => DType::F32,
        dtype if dtype.is_float() => dtype,
        _ => DType::I64,
    }
}

pub(super) fn sum(x: &Array, axes: &[usize], gpu: &Arc<Gpu>) -> Result<Array> {
    let mut dims = x.dims().to_vec();
    let mut y = contiguous(x)?;
    for range in groups(&dims, axes) {
        y = sum_axis(&y, split(&dims, &range), gpu)?;
        dims[range].fill(1);
    }
    let dtype = if x.dtype().is_float() { x.dtype() } else { DType::I64 };
    y.to_dtype(dtype)?.reshape(dims)
}

/// Sums a contiguous array of shape (outer, count, inner) over the middle axis.
fn sum_axis(
    x: &Array,
    (outer, count, inner): (usize, usize, usize),
    gpu: &Arc<Gpu>,
) -> Result<Array> {
    let chunk = if inner == 1 { ROW_CHUNK } else { COLUMN_CHUNK };
    let chunks = count.div_ceil(chunk).max(1);
    let y = CudaArray::uninit(gpu, sum_dtype(x.dtype()), outer * chunks * inner)?;
    let args = SumArgs {
        y: y.address(),
        x: x.address()?,
        outer: outer as u64,
        count: count as u64,
        inner: inner as u64,
        chunk: chunk as u64,
        chunks: chunks as u64,
    };
    let name = |kernel| Name { module: "reduce", kernel, dtype: x.dtype() };
    match inner {
        1 => gpu.rows(name("sum_rows"), (outer * chunks, count.min(chunk)), &args)?,
        _ => gpu.for_each(name("sum"), outer * chunks * inner, &args)?,
    }
    match chunks {
        1 => Ok(y.into()),
        _ => sum_axis(&y.into(), (outer, chunks, inner), gpu),
    }
}
