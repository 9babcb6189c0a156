//! Tensors: values, and their place in the autograd graph. Every use after `dispose()` is an error.

use super::Heavy;
use crate::{Error, Result};
use half::{bf16, f16};
use std::sync::Arc;
use xt_core::{DType, Device, Leaf, ScalarType, Tensor};
use xt_kernels::ops::layout::bytes;

/// The shape.
pub fn shape(tensor: &Tensor) -> Vec<usize> {
    tensor.dims().to_vec()
}

/// The type of the elements.
pub fn dtype(tensor: &Tensor) -> Result<ScalarType> {
    tensor.scalar_type().ok_or_else(|| Error::Internal(format!("the type {:?}", tensor.dtype())))
}

/// The name of the device: `cpu`, or `cuda:0`.
pub fn device(tensor: &Tensor) -> String {
    tensor.device().name()
}

/// Whether a backward pass propagates a gradient to the tensor.
pub fn requires_grad(tensor: &Tensor) -> bool {
    tensor.requires_grad()
}

/// Freezes or thaws a leaf: whether operations from now on propagate a gradient to it.
pub fn set_requires_grad(tensor: &Tensor, on: bool) -> Result<()> {
    leaf(tensor, "can be frozen")?.set_requires_grad(on);
    Ok(())
}

/// Whether the tensor is a leaf.
pub fn is_leaf(tensor: &Tensor) -> bool {
    tensor.as_leaf().is_some()
}

/// The accumulated gradient; null if there is none, or if the tensor is no leaf.
pub fn grad(tensor: &Tensor) -> Result<Option<Tensor>> {
    let grad = tensor.as_leaf().map(|leaf| leaf.grad()).transpose()?;
    Ok(grad.flatten().map(Tensor::constant))
}

/// Sets the gradient of a leaf, which has its shape, or clears it.
pub fn set_grad(tensor: &Tensor, grad: Option<&Tensor>) -> Result<()> {
    let leaf = leaf(tensor, "has a gradient")?;
    let array = grad.map(Tensor::array).transpose()?;
    if let Some(array) = array.as_ref().filter(|a| a.dtype() != leaf.dtype()) {
        return Err(Error::Shape(format!(
            "a gradient of type {:?} for a tensor of type {:?}",
            array.dtype(),
            leaf.dtype()
        )));
    }
    if let Some(array) = array.as_ref().filter(|a| !a.device().same_device(&leaf.device())) {
        let (own, device) = (array.device().name(), leaf.device().name());
        return Err(Error::Shape(format!(
            "a gradient on {own} for a tensor on {device}: move it with `.to('{device}')`"
        )));
    }
    Ok(leaf.set_grad(array)?)
}

/// Copies the values of `source`, of the same shape, into a leaf, which keeps its type and device.
/// Graphs that were recorded with the old values become stale.
pub fn assign(tensor: &Tensor, source: &Tensor) -> Result<()> {
    Ok(leaf(tensor, "takes other values")?.set(source.array()?)?)
}

/// Moves a leaf and its gradient to another device, in place.
pub fn move_to(tensor: &Tensor, device: &Device) -> Result<()> {
    let leaf = leaf(tensor, "moves in place")?;
    Ok(leaf.move_to(device, leaf.dtype())?)
}

/// The same values as a new leaf, which accumulates a gradient.
pub fn as_leaf(tensor: &Tensor) -> Result<Tensor> {
    if !tensor.dtype().is_float() {
        let scalar = tensor.scalar_type().map_or("?", |k| k.name());
        return Err(Error::Shape(format!(
            "only floating-point tensors can require a gradient, not {scalar}"
        )));
    }
    Ok(Tensor::leaf(Arc::new(Leaf::new(tensor.array()?))))
}

/// The same values without a graph.
pub fn detach(tensor: &Tensor) -> Result<Tensor> {
    Ok(tensor.detach()?)
}

/// The values in row-major order, little-endian: f32 for f16 and bf16, one byte for each u8 and
/// bool.
pub fn data(tensor: &Tensor) -> Heavy<Vec<u8>> {
    let array = tensor.array()?.to_device(&Device::Cpu)?;
    Ok(match array.dtype() {
        DType::F64 => bytes(&array, f64::to_le_bytes)?,
        DType::I64 => bytes(&array, i64::to_le_bytes)?,
        DType::U8 => bytes(&array, u8::to_le_bytes)?,
        DType::F16 => bytes(&array, |x: f16| x.to_f32().to_le_bytes())?,
        DType::BF16 => bytes(&array, |x: bf16| x.to_f32().to_le_bytes())?,
        _ => bytes(&array.to_dtype(DType::F32)?, f32::to_le_bytes)?,
    })
}

/// Frees the values and the gradient of a leaf for good, even if an optimizer refers to it. Has no
/// effect on other tensors.
pub fn free_leaf(tensor: &Tensor) -> Result<()> {
    if let Some(leaf) = tensor.as_leaf() {
        leaf.release();
    }
    Ok(())
}

/// The leaf of a tensor, or an error; `what` tells in the message what only leaves can do.
fn leaf<'a>(tensor: &'a Tensor, what: &str) -> Result<&'a Arc<Leaf>> {
    let no_leaf =
        || format!("only a leaf (a parameter, or a tensor made with requires_grad) {what}");
    tensor.as_leaf().ok_or_else(|| Error::Shape(no_leaf()))
}
