//! Optimizers by handle.

use crate::errors::{now, Thrown};
use crate::handles::reply;
use crate::handles::{tensors, Handle, OPTIMIZERS};
use js_sys::Array;
use wasm_bindgen::prelude::*;
use xt_bindings::{self as bindings, AbortFlag};

/// Performs one step, see [`bindings::optimizer_step`].
#[wasm_bindgen]
pub fn optimizer_step(optimizer: Handle, groups: &str) -> Thrown<()> {
    let optimizer = OPTIMIZERS.get(optimizer)?;
    now(|| bindings::optimizer_step(&mut optimizer.0.borrow_mut(), groups, &AbortFlag::default()))
}

/// Clears the gradients of all parameters.
#[wasm_bindgen]
pub fn optimizer_zero_grad(optimizer: Handle) -> Thrown<()> {
    let optimizer = OPTIMIZERS.get(optimizer)?;
    now(|| optimizer.0.borrow_mut().zero_grad())
}

/// The state, see [`bindings::optimizer_state`]. Returns `[json, handles]`.
#[wasm_bindgen]
pub fn optimizer_state(optimizer: Handle) -> Thrown<Array> {
    let optimizer = OPTIMIZERS.get(optimizer)?;
    now(|| bindings::optimizer_state(&optimizer.0.borrow())).map(reply)
}

/// Replaces the state, see [`bindings::optimizer_load_state`].
#[wasm_bindgen]
pub fn optimizer_load_state(optimizer: Handle, names: &str, inputs: &[Handle]) -> Thrown<()> {
    let (optimizer, inputs) = (OPTIMIZERS.get(optimizer)?, tensors(inputs)?);
    now(|| bindings::optimizer_load_state(&mut optimizer.0.borrow_mut(), names, &inputs))
}

/// Releases the handle of an optimizer.
#[wasm_bindgen]
pub fn optimizer_free(optimizer: Handle) {
    OPTIMIZERS.remove(optimizer);
}
