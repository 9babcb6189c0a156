//! Launches of the kernels in `gru.cu`.

use crate::cuda::{kernel_args, Array as CudaArray, Gpu, Name};
use crate::host::rows_and_width;
use crate::ops::layout::contiguous;
use crate::{Array, Result};
use std::sync::Arc;

kernel_args! {
    ForwardArgs { y: u64, input: u64, hidden: u64, state: u64, count: u64, dim: u64 }
    BackwardArgs {
        dinput: u64, dhidden: u64, dstate: u64,
        input: u64, hidden: u64, state: u64, grad: u64,
        count: u64, dim: u64,
    }
}

pub(super) fn forward([input, hidden, state]: [&Array; 3], gpu: &Arc<Gpu>) -> Result<Array> {
    let (input, hidden) = (contiguous(input)?, contiguous(hidden)?);
    let state = contiguous(state)?;
    let y = CudaArray::uninit(gpu, state.dtype(), state.shape())?;
    let args = ForwardArgs {
        y: y.address(),
        input: input.address()?,
        hidden: hidden.address()?,
        state: state.address()?,
        count: state.elem_count() as u64,
        dim: rows_and_width(&state).1 as u64,
    };
    let name = Name { module: "gru", kernel: "gru", dtype: state.dtype() };
    gpu.for_each(name, state.elem_count(), &args)?;
    Ok(y.into())
}

pub(super) fn backward(
    [input, hidden, state]: [&Array; 3],
    grad: &Array,
    gpu: &Arc<Gpu>,
) -> Result<[Array; 3]> {
    let (input, hidden) = (contiguous(input)?, contiguous(hidden)?);
    let (state, grad) = (contiguous(state)?, contiguous(grad)?);
    let like = |x: &Array| CudaArray::uninit(gpu, x.dtype(), x.shape());
    let (dinput, dhidden, dstate) = (like(&input)?, like(&hidden)?, like(&state)?);
    let args = BackwardArgs {
        dinput: dinput.address(),
        dhidden: dhidden.address(),
        dstate: dstate.address(),
        input: input.address()?,
        hidden: hidden.address()?,
        state: state.address()?,
        grad: grad.address()?,
        count: state.elem_count() as u64,
        dim: rows_and_width(&state).1 as u64,
    };
    let name = Name { module: "gru", kernel: "gru_backward", dtype: state.dtype() };
    gpu.for_each(name, state.elem_count(), &args)?;
    Ok([dinput.into(), dhidden.into(), dstate.into()])
}
