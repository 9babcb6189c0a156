//! Launches of the kernels in `elementwise.cu`.

use crate::cuda::{kernel_args, Array as CudaArray, Axes, Gpu, Name};
use crate::{Array, DType, Result, Shape};
use std::sync::Arc;

kernel_args! {
    BinaryArgs { y: u64, a: u64, b: u64, count: u64, axes: Axes<2>, op: u32 }
    UnaryArgs { y: u64, x: u64, count: u64, axes: Axes<1>, op: u32 }
    LerpArgs { y: u64, a: u64, b: u64, count: u64, t: f64, axes: Axes<2> }
    AffineArgs { y: u64, x: u64, count: u64, scale: f64, offset: f64, axes: Axes<1> }
}

fn name(kernel: &'static str, dtype: DType) -> Name {
    Name { module: "elementwise", kernel, dtype }
}

/// `op` is a number of `Binary`, `dims` the shape of the result.
pub(super) fn binary(a: &Array, b: &Array, op: u32, dims: Shape, gpu: &Arc<Gpu>) -> Result<Array> {
    let (a, b) = (a.broadcast_as(&dims)?, b.broadcast_as(&dims)?);
    let y = CudaArray::uninit(gpu, a.dtype(), &dims)?;
    let args = BinaryArgs {
        y: y.address(),
        a: a.address()?,
        b: b.address()?,
        count: dims.elem_count() as u64,
        axes: Axes::new(dims.dims(), [a.stride(), b.stride()])?,
        op,
    };
    gpu.for_each(name("binary", a.dtype()), dims.elem_count(), &args)?;
    Ok(y.into())
}

/// `op` is a number of `Unary`.
pub(super) fn unary(x: &Array, op: u32, gpu: &Arc<Gpu>) -> Result<Array> {
    let y = CudaArray::uninit(gpu, x.dtype(), x.shape())?;
    let args = UnaryArgs {
        y: y.address(),
        x: x.address()?,
        count: x.elem_count() as u64,
        axes: Axes::new(x.dims(), [x.stride()])?,
        op,
    };
    gpu.for_each(name("unary", x.dtype()), x.elem_count(), &args)?;
    Ok(y.into())
}

pub(super) fn affine(x: &Array, scale: f64, offset: f64, gpu: &Arc<Gpu>) -> Result<Array> {
    let y = CudaArray::uninit(gpu, x.dtype(), x.shape())?;
    let args = AffineArgs {
        y: y.address(),
        x: x.address()?,
        count: x.elem_count() as u64,
        scale,
        offset,
        axes: Axes::new(x.dims(), [x.stride()])?,
    };
    gpu.for_each(name("affine", x.dtype()), x.elem_count(), &args)?;
    Ok(y.into())
}

pub(super) fn lerp(a: &Array, b: &Array, t: f64, gpu: &Arc<Gpu>) -> Result<Array> {
    let y = CudaArray::uninit(gpu, a.dtype(), a.shape())?;
    let args = LerpArgs {
        y: y.address(),
        a: a.address()?,
        b: b.address()?,
        count: a.elem_count() as u64,
        t,
        axes: Axes::new(a.dims(), [a.stride(), b.stride()])?,
    };
    gpu.for_each(name("lerp", a.dtype()), a.elem_count(), &args)?;
    Ok(y.into())
}
