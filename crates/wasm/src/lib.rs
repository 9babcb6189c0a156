//! The WebAssembly module: `ts/native/native.ts` as functions on numeric handles, which `ts/wasm/`
//! wraps in objects. Each function forwards to `xt-bindings`.
//!
//! Handles are numbers, since a call consumes the elements of an array of wasm-bindgen objects.

#![cfg(target_arch = "wasm32")]

mod allocator;
mod errors;
mod handles;
mod memory;
mod model;
mod optimizer;
mod reader;
mod tensor;
#[cfg(feature = "threads")]
mod threads;

use errors::{now, to_js, Thrown};
use handles::{reply, tensors, Handle, MODELS, OPTIMIZERS, TENSORS};
use js_sys::{Array, Uint32Array};
use wasm_bindgen::prelude::*;
use xt_bindings::{self as bindings, AbortFlag, Context, Error, Reply, Result};

/// Installs a panic hook. WebAssembly cannot catch a panic, which ends the module, so the message
/// is stored before.
#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|info| memory::note(info.to_string())));
}

/// Runs a tensor operation, see [`bindings::op`].
#[wasm_bindgen]
pub fn op(name: &str, inputs: &[Handle], args: &str, context: &str) -> Thrown<Handle> {
    let inputs = tensors(inputs)?;
    now(|| bindings::op(name, &inputs, args, &Context::parse(context)?)).map(|y| TENSORS.insert(y))
}

/// Runs the backward pass, see [`bindings::backward`].
#[wasm_bindgen]
pub fn backward(loss: Handle, retain: bool) -> Thrown<()> {
    let loss = TENSORS.get(loss)?;
    now(|| bindings::backward(&loss, retain, &AbortFlag::default()))
}

/// Builds a model, see [`bindings::construct`].
#[wasm_bindgen]
pub fn construct(
    class_name: &str,
    options: &str,
    modules: &[Handle],
    context: &str,
) -> Thrown<Handle> {
    let modules = modules.iter().map(|m| MODELS.get(*m)).collect::<Thrown<Vec<_>>>()?;
    now(|| bindings::construct(class_name, options, &modules, &Context::parse(context)?))
        .map(|m| MODELS.insert(m))
}

/// Creates an optimizer, see [`bindings::optimizer`].
#[wasm_bindgen]
pub fn optimizer(kind: &str, parameters: &[Handle], groups: &str) -> Thrown<Handle> {
    let parameters = tensors(parameters)?;
    now(|| bindings::optimizer(kind, &parameters, groups)).map(|o| OPTIMIZERS.insert(o.into()))
}

/// Clips gradients, see [`bindings::clip_grad_norm`].
#[wasm_bindgen]
pub fn clip_grad_norm(parameters: &[Handle], max: f64) -> Thrown<f64> {
    let parameters = tensors(parameters)?;
    now(|| bindings::clip_grad_norm(&parameters, max, &AbortFlag::default()))
}

/// Serialises tensors to safetensors, see [`bindings::write_tensors`].
#[wasm_bindgen]
pub fn write_tensors(names: &str, inputs: &[Handle], metadata: &str) -> Thrown<Vec<u8>> {
    let inputs = tensors(inputs)?;
    now(|| bindings::write_tensors(names, &inputs, metadata))
}

/// Serialises the state of an optimizer, see [`bindings::write_optimizer`].
#[wasm_bindgen]
pub fn write_optimizer(
    kind: &str,
    names: &str,
    inputs: &[Handle],
    groups: &str,
) -> Thrown<Vec<u8>> {
    let inputs = tensors(inputs)?;
    now(|| bindings::write_optimizer(kind, names, &inputs, groups))
}

/// Checks options and fills in defaults, see [`bindings::resolve_options`].
#[wasm_bindgen]
pub fn resolve_options(name: &str, options: &str) -> Thrown<String> {
    now(|| bindings::resolve_options(name, options))
}

/// The settings of each parameter group, see [`bindings::resolve_groups`].
#[wasm_bindgen]
pub fn resolve_groups(name: &str, common: &str, groups: &str) -> Thrown<String> {
    now(|| bindings::resolve_groups(name, common, groups))
}

/// Build and runtime information as JSON, see [`bindings::info`].
#[wasm_bindgen]
pub fn info() -> String {
    bindings::info()
}
