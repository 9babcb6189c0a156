//! Launches of the kernels in `elementwise.cu`.

use super::binary::BinaryKernel;
use super::unary::{Affine, Unary, UnaryKernel};
use crate::cuda::{kernel_args, Array as CudaArray, Axes, Gpu, Name};
use crate::error::bail;
use crate::{Array, DType, Result};
use std::sync::Arc;

kernel_args! {
    BinaryArgs { y: u64, a: u64, b: u64, count: u64, axes: Axes<2>, op: u32 }
    UnaryArgs { y: u64, x: u64, count: u64, axes: Axes<1>, op: u32 }
    AffineArgs { y: u64, x: u64, count: u64, scale: f64, offset: f64, axes: Axes<1> }
}

fn name(kernel: &'static str, dtype: DType) -> Name {
    Name { module: "elementwise", kernel, dtype }
}

pub(super) fn binary(kernel: &BinaryKernel, gpu: &Arc<Gpu>) -> Result<Array> {
    let dims = kernel.dims()?;
    let (a, b) = (kernel.a.broadcast_as(&dims)?, kernel.b.broadcast_as(&dims)?);
    let y = CudaArray::uninit(gpu, a.dtype(), &dims)?;
    let args = BinaryArgs {
        y: y.address(),
        a: a.address()?,
        b: b.address()?,
        count: dims.elem_count() as u64,
        axes: Axes::new(dims.dims(), [a.stride(), b.stride()])?,
        op: kernel.op as u32,
    };
    gpu.for_each(name("binary", a.dtype()), dims.elem_count(), &args)?;
    Ok(y.into())
}

pub(super) fn unary(kernel: &UnaryKernel, gpu: &Arc<Gpu>) -> Result<Array> {
    let x = &kernel.x;
    let whole = matches!(kernel.op, Unary::Neg | Unary::Abs | Unary::Sign | Unary::Square);
    if !x.dtype().is_float() && !whole {
        bail!("{:?} of {:?}: convert to a floating-point type first", kernel.op, x.dtype());
    }
    let y = CudaArray::uninit(gpu, x.dtype(), x.shape())?;
    let args = UnaryArgs {
        y: y.address(),
        x: x.address()?,
        count: x.elem_count() as u64,
        axes: Axes::new(x.dims(), [x.stride()])?,
        op: kernel.op as u32,
    };
    gpu.for_each(name("unary", x.dtype()), x.elem_count(), &args)?;
    Ok(y.into())
}

pub(super) fn affine(kernel: &Affine, gpu: &Arc<Gpu>) -> Result<Array> {
    let x = &kernel.x;
    let y = CudaArray::uninit(gpu, x.dtype(), x.shape())?;
    let args = AffineArgs {
        y: y.address(),
        x: x.address()?,
        count: x.elem_count() as u64,
        scale: kernel.scale,
        offset: kernel.offset,
        axes: Axes::new(x.dims(), [x.stride()])?,
    };
    gpu.for_each(name("affine", x.dtype()), x.elem_count(), &args)?;
    Ok(y.into())
}
