//! Launches of the kernels in `in_place.cu`.

use crate::cuda::{kernel_args, Gpu, Name};
use crate::error::bail;
use crate::ops::layout::contiguous;
use crate::{Array, Result};
use std::sync::Arc;

kernel_args! {
    AddArgs { sum: u64, more: u64, count: u64 }
}

pub(super) fn add(sum: &Array, more: &Array, gpu: &Arc<Gpu>) -> Result<()> {
    if !sum.cuda()?.is_whole() {
        bail!("{:?} is a part of a larger array", sum.dims());
    }
    let (more, count) = (contiguous(more)?, sum.elem_count());
    let args = AddArgs { sum: sum.address()?, more: more.address()?, count: count as u64 };
    gpu.for_each(Name { module: "in_place", kernel: "add", dtype: sum.dtype() }, count, &args)
}
