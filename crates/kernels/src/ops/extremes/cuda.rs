//! Launches of the kernels in `extremes.cu`.

use crate::cuda::{kernel_args, Array as CudaArray, Gpu, Name};
use crate::ops::layout::contiguous;
use crate::ops::reduce::{groups, split};
use crate::{Array, DType, Result};
use std::sync::Arc;

kernel_args! {
    ExtremeArgs { y: u64, x: u64, outer: u64, count: u64, inner: u64, min: u32 }
    PositionArgs { y: u64, x: u64, rows: u64, width: u64, min: u32 }
}

/// The minimum if `min`, else the maximum.
pub(super) fn extreme(x: &Array, axes: &[usize], min: bool, gpu: &Arc<Gpu>) -> Result<Array> {
    let mut dims = x.dims().to_vec();
    let mut y = contiguous(x)?;
    for range in groups(&dims, axes) {
        let (outer, count, inner) = split(&dims, &range);
        let reduced = CudaArray::uninit(gpu, x.dtype(), outer * inner)?;
        let args = ExtremeArgs {
            y: reduced.address(),
            x: y.address()?,
            outer: outer as u64,
            count: count as u64,
            inner: inner as u64,
            min: u32::from(min),
        };
        let name = |kernel| Name { module: "extremes", kernel, dtype: x.dtype() };
        match inner {
            1 => gpu.rows(name("extreme_rows"), (outer, count), &args)?,
            _ => gpu.for_each(name("extreme"), outer * inner, &args)?,
        }
        y = reduced.into();
        dims[range].fill(1);
    }
    y.reshape(dims)
}

/// The position of the minimum if `min`, else of the maximum.
pub(super) fn position(x: &Array, axis: usize, min: bool, gpu: &Arc<Gpu>) -> Result<Array> {
    let last = x.rank() - 1;
    let lines = contiguous(&x.transpose(axis, last)?)?;
    let mut dims = lines.dims().to_vec();
    let width = std::mem::replace(&mut dims[last], 1);
    let y = CudaArray::uninit(gpu, DType::I64, dims.as_slice())?;
    let rows = dims.iter().product::<usize>();
    let args = PositionArgs {
        y: y.address(),
        x: lines.address()?,
        rows: rows as u64,
        width: width as u64,
        min: u32::from(min),
    };
    let name = Name { module: "extremes", kernel: "position", dtype: x.dtype() };
    gpu.rows(name, (rows, width), &args)?;
    Array::from(y).transpose(axis, last)
}
