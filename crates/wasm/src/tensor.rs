//! Tensors by handle.

use crate::errors::{now, Thrown};
use crate::handles::{Handle, TENSORS};
use wasm_bindgen::prelude::*;
use xt_bindings::{self as bindings, Tensor};

/// Creates a tensor, see [`bindings::from_bytes`].
#[wasm_bindgen]
pub fn tensor(
    bytes: &[u8],
    source: &str,
    dtype: &str,
    shape: &[f64],
    device: &str,
) -> Thrown<Handle> {
    let shape: Vec<usize> = shape.iter().map(|d| *d as usize).collect();
    now(|| bindings::from_bytes(bytes, source, dtype, &shape, device)).map(|x| TENSORS.insert(x))
}

/// The shape.
#[wasm_bindgen]
pub fn tensor_shape(tensor: Handle) -> Thrown<Vec<f64>> {
    Ok(TENSORS.get(tensor)?.dims().iter().map(|d| *d as f64).collect())
}

/// The name of the element type.
#[wasm_bindgen]
pub fn tensor_dtype(tensor: Handle) -> Thrown<String> {
    Ok(TENSORS.get(tensor)?.kind().map_or("unknown", |kind| kind.name()).into())
}

/// The name of the device.
#[wasm_bindgen]
pub fn tensor_device(tensor: Handle) -> Thrown<String> {
    Ok(bindings::device_name(&TENSORS.get(tensor)?))
}

/// Whether a backward pass propagates a gradient to the tensor.
#[wasm_bindgen]
pub fn tensor_requires_grad(tensor: Handle) -> Thrown<bool> {
    Ok(TENSORS.get(tensor)?.requires_grad())
}

/// Turns gradients of a leaf on or off.
#[wasm_bindgen]
pub fn tensor_set_requires_grad(tensor: Handle, on: bool) -> Thrown<()> {
    let tensor = TENSORS.get(tensor)?;
    now(|| bindings::set_requires_grad(&tensor, on))
}

/// Whether the tensor is a leaf.
#[wasm_bindgen]
pub fn tensor_is_leaf(tensor: Handle) -> Thrown<bool> {
    Ok(TENSORS.get(tensor)?.as_leaf().is_some())
}

/// The gradient of a leaf, if there is one.
#[wasm_bindgen]
pub fn tensor_grad(tensor: Handle) -> Thrown<Option<Handle>> {
    let tensor = TENSORS.get(tensor)?;
    let grad = now(|| bindings::grad(&tensor))?;
    Ok(grad.map(|grad| TENSORS.insert(grad)))
}

/// Sets the gradient of a leaf, or clears it.
#[wasm_bindgen]
pub fn tensor_set_grad(tensor: Handle, grad: Option<Handle>) -> Thrown<()> {
    let (tensor, grad) = (TENSORS.get(tensor)?, grad.map(|g| TENSORS.get(g)).transpose()?);
    now(|| bindings::set_grad(&tensor, grad.as_ref()))
}

/// Copies the values of `source` into a leaf.
#[wasm_bindgen]
pub fn tensor_assign(tensor: Handle, source: Handle) -> Thrown<()> {
    let (tensor, source) = (TENSORS.get(tensor)?, TENSORS.get(source)?);
    now(|| bindings::assign(&tensor, &source))
}

/// Moves a leaf and its gradient to another device, in place.
#[wasm_bindgen]
pub fn tensor_move_to(tensor: Handle, device: &str) -> Thrown<()> {
    let tensor = TENSORS.get(tensor)?;
    now(|| bindings::move_to(&tensor, device))
}

/// A new leaf with the same values.
#[wasm_bindgen]
pub fn tensor_as_leaf(tensor: Handle) -> Thrown<Handle> {
    let tensor = TENSORS.get(tensor)?;
    now(|| bindings::to_leaf(&tensor)).map(|leaf| TENSORS.insert(leaf))
}

/// The same values without a graph.
#[wasm_bindgen]
pub fn tensor_detach(tensor: Handle) -> Thrown<Handle> {
    let tensor = TENSORS.get(tensor)?;
    now(|| Ok(tensor.detach()?)).map(|x| TENSORS.insert(x))
}

/// The values in row-major order, little-endian, see [`bindings::bytes_of`].
#[wasm_bindgen]
pub fn tensor_data(tensor: Handle) -> Thrown<Vec<u8>> {
    let tensor = TENSORS.get(tensor)?;
    now(|| bindings::bytes_of(&tensor))
}

/// Frees the values and the gradient of a leaf for good.
#[wasm_bindgen]
pub fn tensor_release(tensor: Handle) -> Thrown<()> {
    let tensor = TENSORS.get(tensor)?;
    now(|| bindings::release_leaf(&tensor))
}

/// Releases the handle of a tensor.
#[wasm_bindgen]
pub fn tensor_free(tensor: Handle) {
    TENSORS.remove(tensor);
}
