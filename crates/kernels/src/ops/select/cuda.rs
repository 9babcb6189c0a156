//! Launches of the kernels in `select.cu`.

use crate::cuda::{kernel_args, Array as CudaArray, Axes, Gpu, Name};
use crate::ops::layout::by_size;
use crate::{Array, Result};
use std::sync::Arc;

kernel_args! {
    SelectArgs { y: u64, yes: u64, no: u64, condition: u64, count: u64, axes: Axes<3> }
}

pub(super) fn select(yes: &Array, no: &Array, condition: &Array, gpu: &Arc<Gpu>) -> Result<Array> {
    let count = yes.elem_count();
    let y = CudaArray::uninit(gpu, yes.dtype(), yes.shape())?;
    let args = SelectArgs {
        y: y.address(),
        yes: yes.address()?,
        no: no.address()?,
        condition: condition.address()?,
        count: count as u64,
        axes: Axes::new(yes.dims(), [yes.stride(), no.stride(), condition.stride()])?,
    };
    let name = Name { module: "select", kernel: "select", dtype: by_size(yes.dtype()) };
    gpu.for_each(name, count, &args)?;
    Ok(y.into())
}
