//! Models and generations by handle.

use crate::errors::{now, Thrown};
use crate::handles::reply;
use crate::handles::{tensors, Handle, GENERATIONS, MODELS, TENSORS};
use js_sys::Array;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use xt_bindings::{self as bindings, AbortFlag, Context};

/// Class, options and entries of a model as JSON.
#[wasm_bindgen]
pub fn model_describe(model: Handle) -> Thrown<String> {
    Ok(bindings::describe(&*MODELS.get(model)?))
}

/// The parameter or buffer with this name.
#[wasm_bindgen]
pub fn model_entry(model: Handle, name: &str) -> Thrown<Handle> {
    let model = MODELS.get(model)?;
    now(|| bindings::entry(&model, name)).map(|entry| TENSORS.insert(entry))
}

/// The model that was passed to the constructor as option `name`.
#[wasm_bindgen]
pub fn model_child(model: Handle, name: &str) -> Thrown<Handle> {
    let model = MODELS.get(model)?;
    now(|| bindings::child(&model, name)).map(|child| MODELS.insert(child))
}

/// Sets training mode.
#[wasm_bindgen]
pub fn model_train(model: Handle, on: bool) -> Thrown<()> {
    bindings::train(&*MODELS.get(model)?, on);
    Ok(())
}

/// Moves all weights to a device.
#[wasm_bindgen]
pub fn model_to(model: Handle, device: &str) -> Thrown<()> {
    let model = MODELS.get(model)?;
    now(|| model.move_to(&bindings::parse_device(device)?))
}

/// Quantizes the weights of linear layers to `format`, for inference.
#[wasm_bindgen]
pub fn model_quantize(model: Handle, format: &str) -> Thrown<()> {
    let model = MODELS.get(model)?;
    now(|| bindings::quantize(&model, format))
}

/// The format of the quantized weights, if any.
#[wasm_bindgen]
pub fn model_quantization(model: Handle) -> Thrown<Option<String>> {
    Ok(bindings::quantization(&*MODELS.get(model)?))
}

/// Copies tensors into entries, see [`bindings::load_state`].
#[wasm_bindgen]
pub fn model_load_state(
    model: Handle,
    names: &str,
    inputs: &[Handle],
    strict: bool,
) -> Thrown<String> {
    let (model, inputs) = (MODELS.get(model)?, tensors(inputs)?);
    now(|| bindings::load_state(&model, names, &inputs, strict))
}

/// Calls a method, see [`bindings::call`]. Returns `[json, handles]`.
#[wasm_bindgen]
pub fn model_call(
    model: Handle,
    method: &str,
    args: &str,
    inputs: &[Handle],
    context: &str,
) -> Thrown<Array> {
    let (model, inputs) = (MODELS.get(model)?, tensors(inputs)?);
    let run = || {
        bindings::call(
            &model,
            method,
            args,
            &inputs,
            &Context::parse(context)?,
            &AbortFlag::default(),
        )
    };
    now(run).map(reply)
}

/// Starts a generation, see [`bindings::generation`].
#[wasm_bindgen]
pub fn model_generation(
    model: Handle,
    method: &str,
    args: &str,
    inputs: &[Handle],
    context: &str,
) -> Thrown<Handle> {
    let (model, inputs) = (MODELS.get(model)?, tensors(inputs)?);
    let start = || bindings::generation(&model, method, args, &inputs, &Context::parse(context)?);
    now(start).map(|generation| GENERATIONS.insert(Rc::new(generation)))
}

/// Serialises a model to the bytes of a checkpoint.
#[wasm_bindgen]
pub fn model_save(model: Handle) -> Thrown<Vec<u8>> {
    let model = MODELS.get(model)?;
    now(|| bindings::save(&model))
}

/// Frees the weights with these names, a JSON array, for good.
#[wasm_bindgen]
pub fn model_release(model: Handle, names: &str) -> Thrown<()> {
    let model = MODELS.get(model)?;
    now(|| bindings::release(&model, names))
}

/// Releases the handle of a model.
#[wasm_bindgen]
pub fn model_free(model: Handle) {
    MODELS.remove(model);
}

/// The logits of the next token, (rows, num_tokens).
#[wasm_bindgen]
pub fn generation_logits(generation: Handle) -> Thrown<Handle> {
    let generation = GENERATIONS.get(generation)?;
    now(|| generation.logits(&AbortFlag::default())).map(|logits| TENSORS.insert(logits))
}

/// Draws the next token of every row, as integers; `None` if the generation is over.
#[wasm_bindgen]
pub fn generation_accept(
    generation: Handle,
    logits: Handle,
    filtered: bool,
) -> Thrown<Option<Vec<f64>>> {
    let (generation, logits) = (GENERATIONS.get(generation)?, TENSORS.get(logits)?);
    let tokens = now(|| generation.accept(&logits, filtered))?;
    Ok(tokens.map(|tokens| tokens.into_iter().map(|token| token as f64).collect()))
}

/// Whether a generation is over.
#[wasm_bindgen]
pub fn generation_done(generation: Handle) -> Thrown<bool> {
    let generation = GENERATIONS.get(generation)?;
    now(|| generation.done())
}

/// All new tokens so far.
#[wasm_bindgen]
pub fn generation_tokens(generation: Handle) -> Thrown<Handle> {
    let generation = GENERATIONS.get(generation)?;
    now(|| generation.tokens()).map(|tokens| TENSORS.insert(tokens))
}

/// Releases the handle of a generation.
#[wasm_bindgen]
pub fn generation_free(generation: Handle) {
    GENERATIONS.remove(generation);
}
