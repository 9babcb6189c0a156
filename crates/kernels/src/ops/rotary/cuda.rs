//! Launches of the kernels in `rotary.cu`.

use crate::cuda::{kernel_args, Array as CudaArray, Gpu, Name};
use crate::ops::layout::contiguous;
use crate::{Array, Result};
use std::sync::Arc;

kernel_args! {
    RotateArgs {
        y: u64, x: u64, cos: u64, sin: u64,
        count: u64, n: u64, heads: u64, dim: u64, half: u64,
        neighbours: u64, sign: f64,
    }
}

/// `sign` is -1 for the transposed rotation, otherwise 1; `neighbours` tells whether features that
/// follow each other form the pairs.
pub(super) fn rotate(
    x: &Array,
    [cos, sin]: [&Array; 2],
    (neighbours, sign): (bool, f64),
    gpu: &Arc<Gpu>,
) -> Result<Array> {
    let x = contiguous(x)?;
    let (cos, sin) = (contiguous(cos)?, contiguous(sin)?);
    let ((_, n, heads, dim), (_, half)) = (x.dims4()?, cos.dims2()?);
    let y = CudaArray::uninit(gpu, x.dtype(), x.shape())?;
    let args = RotateArgs {
        y: y.address(),
        x: x.address()?,
        cos: cos.address()?,
        sin: sin.address()?,
        count: x.elem_count() as u64,
        n: n as u64,
        heads: heads as u64,
        dim: dim as u64,
        half: half as u64,
        neighbours: neighbours.into(),
        sign,
    };
    let name = Name { module: "rotary", kernel: "rotary", dtype: x.dtype() };
    gpu.for_each(name, x.elem_count(), &args)?;
    Ok(y.into())
}
