//! Launches of the kernels in `elementwise.cu`.

use super::{Binary, Unary};
use crate::cuda::{self, Args, Axes, Gpu, AXES};
use crate::kernel::{through_host, Kernel};
use crate::{Array, DType, Result, Shape};

/// The argument of all kernels in `elementwise.cu`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Elementwise {
    y: u64,
    a: u64,
    b: u64,
    count: u64,
    scale: f64,
    offset: f64,
    a_strides: [i64; AXES],
    b_strides: [i64; AXES],
    dims: [u32; AXES],
    op: u32,
}

// SAFETY: the fields are those of the struct in `elementwise.cu`.
unsafe impl Args for Elementwise {}

const MODULE: &str = "elementwise";

/// `op(a, b)`, both broadcast to `dims`.
pub(super) fn binary(gpu: &Gpu, a: &Array, b: &Array, op: Binary, dims: Shape) -> Result<Array> {
    let (a, b) = (a.broadcast_as(&dims)?, b.broadcast_as(&dims)?);
    let axes = Axes::new(dims.dims(), [a.stride(), b.stride()])?;
    let y = cuda::Array::uninit(a.cuda()?.gpu(), a.dtype(), &dims)?;
    let args = Elementwise {
        y: y.address(),
        a: a.cuda()?.address(),
        b: b.cuda()?.address(),
        count: dims.elem_count() as u64,
        scale: 0.0,
        offset: 0.0,
        a_strides: axes.strides[0],
        b_strides: axes.strides[1],
        dims: axes.dims,
        op: op as u32,
    };
    let kernel = format!("binary_{}", a.dtype().as_str());
    gpu.for_each(MODULE, &kernel, dims.elem_count(), &args)?;
    Ok(y.into())
}

/// `op(x)` for floating-point values, others through the host.
pub(super) fn unary<K: Kernel<Out = Array>>(
    gpu: &Gpu,
    kernel: &K,
    x: &Array,
    op: Unary,
) -> Result<Array> {
    of_one(gpu, kernel, x, "unary", |args| args.op = op as u32)
}

/// `x · scale + offset` for floating-point values, others through the host.
pub(super) fn affine<K: Kernel<Out = Array>>(
    gpu: &Gpu,
    kernel: &K,
    x: &Array,
    scale: f64,
    offset: f64,
) -> Result<Array> {
    of_one(gpu, kernel, x, "affine", |args| (args.scale, args.offset) = (scale, offset))
}

fn of_one<K: Kernel<Out = Array>>(
    gpu: &Gpu,
    kernel: &K,
    x: &Array,
    name: &str,
    set: impl FnOnce(&mut Elementwise),
) -> Result<Array> {
    if !matches!(x.dtype(), DType::F32 | DType::F64 | DType::F16 | DType::BF16) {
        return through_host(kernel);
    }
    let axes = Axes::new(x.dims(), [x.stride()])?;
    let y = cuda::Array::uninit(x.cuda()?.gpu(), x.dtype(), x.shape())?;
    let mut args = Elementwise {
        y: y.address(),
        a: x.cuda()?.address(),
        b: 0,
        count: x.elem_count() as u64,
        scale: 0.0,
        offset: 0.0,
        a_strides: axes.strides[0],
        b_strides: [0; AXES],
        dims: axes.dims,
        op: 0,
    };
    set(&mut args);
    gpu.for_each(MODULE, &format!("{name}_{}", x.dtype().as_str()), x.elem_count(), &args)?;
    Ok(y.into())
}
