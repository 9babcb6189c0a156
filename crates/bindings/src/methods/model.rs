//! Models.

use super::generation::Generation;
use super::{Heavy, Reply};
use crate::{parse, AbortFlag, Context, Result};
use serde_json::json;
use std::sync::Arc;
use xt_core::models::parse_format;
use xt_core::{checkpoint, with_grad, Args, Array, Ctx, Device, EntryKind, Model, Tensor};

/// JSON of a `ModuleDescription`: class, options and entries. Does not initialise weights.
pub fn describe(model: &Model) -> String {
    model.describe().to_string()
}

/// The parameter or buffer of this name. Initialises it if that was not done yet.
pub fn entry(model: &Model, name: &str) -> Result<Tensor> {
    let entry = model.entry(name)?;
    Ok(match entry.kind {
        EntryKind::Parameter => entry.param.tensor(),
        EntryKind::Buffer => Tensor::constant(entry.param.values()?),
    })
}

/// A new handle of the model that was passed to the constructor as option `name`.
pub fn child(model: &Model, name: &str) -> Result<Arc<Model>> {
    model.child(name)
}

/// Sets training mode (`true`) or evaluation mode, also of the models within.
pub fn train(model: &Model, on: bool) {
    model.train(on);
}

/// Moves weights, gradients and buffers to a device, in place.
pub fn to(model: &Model, device: &Device) -> Result<()> {
    model.move_to(device)
}

/// Quantizes the weights of linear layers to `q8_0`, `q4_0` or `bf16`, for inference, until others
/// are loaded.
pub fn quantize(model: &Model, format: &str) -> Result<()> {
    model.quantize(parse_format(format)?)
}

/// Adds low-rank updates to linear layers. `layers` is JSON `{ modules: string[], r, scale }`, with
/// the names of the layers, the rank and the factor.
pub fn add_lora(model: &Model, layers: &str, context: &Context) -> Result<()> {
    model.add_lora(&parse(layers)?, &context.rng())
}

/// Returns an error if the low-rank updates of these layers, a JSON array of names, cannot be added
/// to their weights. Changes nothing.
pub fn check_merge_lora(model: &Model, modules: &str) -> Result<()> {
    model.check_merge_lora(&parse::<Vec<String>>(modules)?)
}

/// Adds the low-rank updates of these layers, a JSON array of names, to their weights, and removes
/// them.
pub fn merge_lora(model: &Model, modules: &str) -> Result<()> {
    model.merge_lora(&parse::<Vec<String>>(modules)?)
}

/// Removes the low-rank updates of these layers, a JSON array of names.
pub fn remove_lora(model: &Model, modules: &str) -> Result<()> {
    model.remove_lora(&parse::<Vec<String>>(modules)?)
}

/// The format of the quantized weights; null if there are none.
pub fn quantization(model: &Model) -> Option<String> {
    model.quantization().map(|format| format.name().into())
}

/// Copies `tensors` into the entries with these names, a JSON array, one for each tensor. Returns
/// JSON `{ "missing": string[], "unexpected": string[] }`.
pub fn load_state(model: &Model, names: &str, tensors: &[Tensor], strict: bool) -> Result<String> {
    let names: Vec<String> = parse(names)?;
    let arrays =
        tensors.iter().map(Tensor::array).collect::<std::result::Result<Vec<Array>, _>>()?;
    let state: Vec<(String, Array)> = names.into_iter().zip(arrays).collect();
    let report = model.load_state(&state, strict)?;
    Ok(json!({ "missing": report.missing, "unexpected": report.unexpected }).to_string())
}

/// Runs `forward`, `generate` or `score`. `args` is a JSON array: the positional arguments, then
/// one object; `{"$tensor": i}` in it refers to `tensors[i]`.
pub fn call(
    model: &Model,
    method: &str,
    args: &str,
    tensors: &[Tensor],
    context: &Context,
    abort: &AbortFlag,
) -> Heavy<Reply> {
    let rng = context.rng();
    let aborted = || abort.is_set();
    let args = Args::new(format!("{}.{method}", model.class()), parse(args)?, tensors)?;
    let ctx = Ctx::new(&rng, &aborted);
    let value = with_grad(context.grad, || match context.activations {
        true => model.call_recorded(method, &args, &ctx),
        false => model.call(method, &args, &ctx),
    })?;
    let mut tensors = Vec::new();
    let json = value.into_json(&mut tensors);
    Ok(Reply { json: json.to_string(), tensors })
}

/// What layers gave in the calls whose context has asked for it, since the last time. JSON
/// `[name, elements][]`, with the number of elements of each layer; the tensor, f64, `(layers)`,
/// has the mean of their squares.
pub fn take_activations(model: &Model) -> Heavy<Reply> {
    let layers = model.take_activations()?;
    let names: Vec<_> = layers.iter().map(|layer| (&layer.name, layer.elements)).collect();
    let squares: Vec<f64> = layers.iter().map(|layer| layer.mean_square).collect();
    let squares = Array::from_vec(squares, layers.len(), &Device::Cpu)?;
    Ok(Reply { json: json!(names).to_string(), tensors: vec![Tensor::constant(squares)] })
}

/// Starts a generation of which the caller takes the steps; `method` is `generate` or `stream`,
/// `args` and `tensors` are its arguments.
pub fn generation(
    model: &Model,
    method: &str,
    args: &str,
    tensors: &[Tensor],
    context: &Context,
) -> Result<Arc<Generation>> {
    let args = Args::new(format!("{}.{method}", model.class()), parse(args)?, tensors)?;
    let activations = context.activations.then(|| model.activations().clone());
    let generation = model.generation(method, &args)?;
    Ok(Arc::new(Generation::new(generation, context.rng(), activations)))
}

/// The bytes of a checkpoint: safetensors with class, options and version in the metadata.
pub fn save_bytes(model: &Model) -> Heavy<Vec<u8>> {
    checkpoint::save(model)
}

/// Frees the weights with these names, a JSON array, for good, even if an optimizer or a graph
/// refers to them.
pub fn free_weights(model: &Model, names: &str) -> Result<()> {
    model.release(&parse::<Vec<String>>(names)?);
    Ok(())
}
