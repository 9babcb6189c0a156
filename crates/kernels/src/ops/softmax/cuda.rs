//! Launches of the kernels in `softmax.cu`.

use super::mask::Mask;
use crate::cuda::{kernel_args, Array as CudaArray, Gpu, Name};
use crate::host::rows_and_width;
use crate::ops::layout::contiguous;
use crate::{Array, Result};
use std::sync::Arc;

/// `Mask` in mask.cuh.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct MaskArgs {
    allowed: u64,
    strides: [i64; 4],
    ranges: u64,
    range_strides: [i64; 3],
    heads: u64,
    queries: u64,
    keys: u64,
    window: i64,
    causal: u32,
}

impl MaskArgs {
    /// The mask of scores, which are (batch, heads, queries, keys) unless the mask is empty.
    pub fn new(mask: &Mask, scores: &Array) -> Result<Self> {
        let [heads, queries, keys] = match mask.is_empty() {
            true => [1, 1, rows_and_width(scores).1],
            false => {
                let (_, heads, queries, keys) = scores.dims4()?;
                [heads, queries, keys]
            }
        };
        let mut strides = [0; 4];
        let mut address = 0;
        if let Some(allowed) = &mask.allowed {
            address = allowed.address()?;
            for (axis, stride) in strides.iter_mut().enumerate() {
                if allowed.dims()[axis] != 1 {
                    *stride = allowed.stride()[axis] as i64;
                }
            }
        }
        let (mut ranges, mut range_strides) = (0, [0; 3]);
        if let Some(array) = &mask.ranges {
            ranges = array.address()?;
            for (axis, stride) in range_strides.iter_mut().enumerate() {
                *stride = array.stride()[axis] as i64;
            }
        }
        Ok(Self {
            allowed: address,
            strides,
            ranges,
            range_strides,
            heads: heads as u64,
            queries: queries as u64,
            keys: keys as u64,
            window: mask.window.map_or(-1, |window| window.min(i64::MAX as usize) as i64),
            causal: u32::from(mask.causal),
        })
    }
}

kernel_args! {
    ForwardArgs { y: u64, scores: u64, rows: u64, width: u64, mask: MaskArgs }
    BackwardArgs { dscores: u64, y: u64, grad: u64, rows: u64, width: u64, mask: MaskArgs }
}

pub(super) fn forward(scores: &Array, mask: &Mask, gpu: &Arc<Gpu>) -> Result<Array> {
    let scores = contiguous(scores)?;
    let (rows, width) = rows_and_width(&scores);
    let y = CudaArray::uninit(gpu, scores.dtype(), scores.shape())?;
    let args = ForwardArgs {
        y: y.address(),
        scores: scores.address()?,
        rows: rows as u64,
        width: width as u64,
        mask: MaskArgs::new(mask, &scores)?,
    };
    let name = Name { module: "softmax", kernel: "softmax", dtype: scores.dtype() };
    gpu.rows(name, (rows, width), &args)?;
    Ok(y.into())
}

pub(super) fn backward(y: &Array, grad: &Array, mask: &Mask, gpu: &Arc<Gpu>) -> Result<Array> {
    let (y, grad) = (contiguous(y)?, contiguous(grad)?);
    let (rows, width) = rows_and_width(&y);
    let dscores = CudaArray::uninit(gpu, y.dtype(), y.shape())?;
    let args = BackwardArgs {
        dscores: dscores.address(),
        y: y.address()?,
        grad: grad.address()?,
        rows: rows as u64,
        width: width as u64,
        mask: MaskArgs::new(mask, &y)?,
    };
    let name = Name { module: "softmax", kernel: "softmax_backward", dtype: y.dtype() };
    gpu.rows(name, (rows, width), &args)?;
    Ok(dscores.into())
}
