//! Conversion of tensors from and to bytes, and operations on leaves.

use crate::{parse, Error, Result};
use half::{bf16, f16};
use std::collections::HashMap;
use std::sync::Arc;
use xt_core::{checkpoint, Array, DType, Device, Kind, Leaf, Tensor};
use xt_kernels::memory::alloc;
use xt_kernels::ops::layout::bytes;

/// Parses a device name: `cpu`, `cuda` or `cuda:N`.
pub fn parse_device(name: &str) -> Result<Device> {
    if name == "cpu" {
        return Ok(Device::Cpu);
    }
    let index = match name.strip_prefix("cuda") {
        Some("") => Some(0),
        Some(rest) => rest.strip_prefix(':').and_then(|n| n.parse().ok()),
        None => None,
    };
    let Some(index) = index else {
        return Err(Error::Shape(format!("`{name}` is no device; allowed: cpu, cuda, cuda:N")));
    };
    if !cfg!(feature = "cuda") {
        let build = if cfg!(target_family = "wasm") {
            "WebAssembly runs"
        } else {
            "this build of the addon runs"
        };
        return Err(Error::NotAvailable(format!("cuda: {build} on the CPU only, so the device")));
    }
    Device::cuda(index).map_err(|e| Error::Shape(format!("{name} cannot be used: {e}")))
}

/// The name of a tensor's device, such as `cpu` or `cuda:0`.
pub fn device_name(tensor: &Tensor) -> String {
    tensor.device().name()
}

/// Creates a tensor from values in row-major order, little-endian. `source` is the type of the
/// bytes (f32 for f16 and bf16), `kind` the type of the tensor.
pub fn from_bytes(
    bytes: &[u8],
    source: &str,
    kind: &str,
    shape: &[usize],
    device: &str,
) -> Result<Tensor> {
    let (source, kind, device) = (Kind::parse(source)?, Kind::parse(kind)?, parse_device(device)?);
    alloc::check(shape, kind.dtype())?;
    let count: usize = shape.iter().product();
    if bytes.len() != count * source.dtype().size_in_bytes() {
        return Err(Error::Shape(format!(
            "{} bytes for {count} values of type {} in shape {shape:?}",
            bytes.len(),
            source.name()
        )));
    }
    alloc::check(shape, source.dtype())?;
    let array = Array::from_raw_buffer(bytes, source.dtype(), shape, &Device::Cpu)?;
    let plain = if source == Kind::Bool { Tensor::boolean(array) } else { Tensor::constant(array) };
    let cast = xt_autograd::ops::cast(&plain, kind.dtype(), kind == Kind::Bool)?;
    Ok(xt_autograd::ops::to_device(&cast, &device)?)
}

/// The values in row-major order, little-endian; f16 and bf16 are converted to f32.
pub fn bytes_of(tensor: &Tensor) -> Result<Vec<u8>> {
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

/// A new leaf with the same values, which accumulates a gradient.
pub fn to_leaf(tensor: &Tensor) -> Result<Tensor> {
    if !tensor.dtype().is_float() {
        let kind = tensor.kind().map_or("?", |k| k.name());
        return Err(Error::Shape(format!(
            "only floating-point tensors can require a gradient, not {kind}"
        )));
    }
    Ok(Tensor::leaf(Arc::new(Leaf::new(tensor.array()?))))
}

/// The leaf of a tensor, or an error; `what` tells in the message what only leaves can do.
fn leaf<'a>(tensor: &'a Tensor, what: &str) -> Result<&'a Arc<Leaf>> {
    let no_leaf =
        || format!("only a leaf (a parameter, or a tensor made with requires_grad) {what}");
    tensor.as_leaf().ok_or_else(|| Error::Shape(no_leaf()))
}

/// Turns gradients of a leaf on or off.
pub fn set_requires_grad(tensor: &Tensor, on: bool) -> Result<()> {
    leaf(tensor, "can be frozen")?.set_requires_grad(on);
    Ok(())
}

/// Copies the values of `source` into a leaf of the same shape, which keeps its type and device.
pub fn assign(tensor: &Tensor, source: &Tensor) -> Result<()> {
    Ok(leaf(tensor, "takes other values")?.set(source.array()?)?)
}

/// Frees the values and the gradient of a leaf for good; has no effect on other tensors.
pub fn release_leaf(tensor: &Tensor) -> Result<()> {
    if let Some(leaf) = tensor.as_leaf() {
        leaf.release();
    }
    Ok(())
}

/// Moves a leaf and its gradient to another device, in place.
pub fn move_to(tensor: &Tensor, device: &str) -> Result<()> {
    let leaf = leaf(tensor, "moves in place")?;
    Ok(leaf.move_to(&parse_device(device)?, leaf.dtype())?)
}

/// The gradient of a leaf; `None` if there is none, or if the tensor is no leaf.
pub fn grad(tensor: &Tensor) -> Result<Option<Tensor>> {
    let grad = tensor.as_leaf().map(|leaf| leaf.grad()).transpose()?;
    Ok(grad.flatten().map(Tensor::constant))
}

/// Sets the gradient of a leaf, or clears it.
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
    Ok(leaf.set_grad(array)?)
}

/// Serialises tensors to safetensors; `names` is a JSON array, `metadata` a JSON object of strings.
pub fn write_tensors(names: &str, tensors: &[Tensor], metadata: &str) -> Result<Vec<u8>> {
    let (names, metadata): (Vec<String>, HashMap<String, String>) =
        (parse(names)?, parse(metadata)?);
    checkpoint::write_tensors(names.into_iter().zip(tensors.iter().cloned()).collect(), metadata)
}
