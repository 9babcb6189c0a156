//! Launches of the kernels in `dropout.cu`.

use crate::cuda::{kernel_args, Array as CudaArray, Gpu, Name};
use crate::ops::layout::contiguous;
use crate::philox::Stream;
use crate::{Array, Result};
use std::sync::Arc;

/// `Stream` in philox.cuh.
#[derive(Clone, Copy)]
#[repr(C)]
struct StreamArgs {
    seed: u64,
    call: u64,
    draw: u32,
}

impl From<Stream> for StreamArgs {
    fn from(Stream { seed, call, draw }: Stream) -> Self {
        Self { seed, call, draw }
    }
}

kernel_args! {
    DropoutArgs {
        y: u64, x: u64, count: u64, stream: StreamArgs, threshold: u64, scale: f64,
    }
}

/// Drops elements whose random words are below `threshold`, and multiplies the others by `scale`.
pub(super) fn dropout(
    x: &Array,
    stream: Stream,
    (threshold, scale): (u64, f64),
    gpu: &Arc<Gpu>,
) -> Result<Array> {
    let (x, count) = (contiguous(x)?, x.elem_count());
    let y = CudaArray::uninit(gpu, x.dtype(), x.shape())?;
    let args = DropoutArgs {
        y: y.address(),
        x: x.address()?,
        count: count as u64,
        stream: stream.into(),
        threshold,
        scale,
    };
    let name = Name { module: "dropout", kernel: "dropout", dtype: x.dtype() };
    gpu.for_each(name, count.div_ceil(4), &args)?;
    Ok(y.into())
}
