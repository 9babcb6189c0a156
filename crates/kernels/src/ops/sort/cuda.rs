//! Launches of the kernel in `sort.cu`.

use crate::cuda::{kernel_args, Array as CudaArray, Gpu, Name};
use crate::host::{rows_and_width, with_width};
use crate::ops::layout::{contiguous, narrow};
use crate::{Array, DType, Result};
use std::sync::Arc;

kernel_args! {
    MergeArgs { to: u64, from: u64, x: u64, rows: u64, width: u64, run: u64, descending: u32 }
}

/// Merge sort: each launch merges pairs of sorted runs of each row into runs of twice the length.
pub(super) fn argsort(x: &Array, k: usize, descending: bool, gpu: &Arc<Gpu>) -> Result<Array> {
    let x = contiguous(x)?;
    let (rows, width) = rows_and_width(&x);
    if x.elem_count() == 0 || k == 0 {
        return Array::zeros(with_width(&x, k), DType::I64, &x.device());
    }
    let mut order: Option<CudaArray> = None;
    let mut run = 1;
    while order.is_none() || run < width {
        let merged = CudaArray::uninit(gpu, DType::I64, x.shape())?;
        let args = MergeArgs {
            to: merged.address(),
            from: order.as_ref().map_or(0, CudaArray::address),
            x: x.address()?,
            rows: rows as u64,
            width: width as u64,
            run: run as u64,
            descending: u32::from(descending),
        };
        let name = Name { module: "sort", kernel: "merge", dtype: x.dtype() };
        gpu.for_each(name, rows * width, &args)?;
        order = Some(merged);
        run *= 2;
    }
    match order {
        Some(order) => contiguous(&narrow(&order.into(), x.rank() - 1, 0, k)?),
        None => Array::zeros(with_width(&x, k), DType::I64, &x.device()),
    }
}
