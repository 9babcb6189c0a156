//! Launches of the kernels in `sparse_topk.cu`.

use crate::cuda::{kernel_args, Array as CudaArray, Gpu, Name};
use crate::host::rows_and_width;
use crate::ops::layout::contiguous;
use crate::ops::softmax::{Mask, MaskArgs};
use crate::{Array, DType, Result};
use std::sync::Arc;

kernel_args! {
    LargestArgs { chosen: u64, scores: u64, rows: u64, width: u64, k: u64, mask: MaskArgs }
}

pub(super) fn largest(scores: &Array, mask: &Mask, k: usize, gpu: &Arc<Gpu>) -> Result<Array> {
    let scores = contiguous(scores)?;
    let (rows, width) = rows_and_width(&scores);
    let chosen = CudaArray::uninit(gpu, DType::U8, scores.shape())?;
    let args = LargestArgs {
        chosen: chosen.address(),
        scores: scores.address()?,
        rows: rows as u64,
        width: width as u64,
        k: k as u64,
        mask: MaskArgs::new(mask, &scores)?,
    };
    let name = Name { module: "sparse_topk", kernel: "largest", dtype: scores.dtype() };
    gpu.rows(name, (rows, width), &args)?;
    Ok(chosen.into())
}
