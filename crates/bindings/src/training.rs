//! Backward, optimizers, clipping.

use crate::{parse, AbortFlag, Error, Reply, Result};
use serde::Deserialize;
use serde_json::{json, Value as Json};
use std::sync::Arc;
use xt_core::checkpoint;
use xt_core::training::{Optimizer, OptimizerKind};
use xt_core::{Leaf, Tensor};

/// Adds the gradients of `loss` to its leaves.
pub fn backward(loss: &Tensor, retain: bool, abort: &AbortFlag) -> Result<()> {
    Ok(loss.backward(retain, &|| abort.is_set())?)
}

fn leaves(parameters: &[Tensor]) -> Result<Vec<Arc<Leaf>>> {
    let leaf = |t: &Tensor| {
        t.as_leaf().cloned().ok_or_else(|| {
            Error::Shape(
                "a parameter must be a leaf: one of `parameters()`, or a tensor made with requires_grad".into(),
            )
        })
    };
    parameters.iter().map(leaf).collect()
}

/// Scales the gradients so that their common norm is at most `max`; gives the norm before.
pub fn clip_grad_norm(parameters: &[Tensor], max: f64, abort: &AbortFlag) -> Result<f64> {
    xt_core::training::clip_grad_norm(&leaves(parameters)?, max, &|| abort.is_set())
}

/// A group of parameters as the façade describes it.
#[derive(Deserialize)]
struct Group {
    count: usize,
    settings: Json,
}

/// An optimizer; `groups` is a JSON array: for each group `{ "count", "settings" }`.
pub fn optimizer(kind: &str, parameters: &[Tensor], groups: &str) -> Result<Optimizer> {
    let (counts, settings): (Vec<_>, Vec<_>) =
        parse::<Vec<Group>>(groups)?.into_iter().map(|group| (group.count, group.settings)).unzip();
    let optimizer = Optimizer::new(OptimizerKind::parse(kind)?, leaves(parameters)?, counts)?;
    optimizer.check_memory(&settings)?;
    Ok(optimizer)
}

/// One step; `groups` is a JSON array with the settings of each group.
pub fn optimizer_step(optimizer: &mut Optimizer, groups: &str, abort: &AbortFlag) -> Result<()> {
    optimizer.step(&parse::<Vec<Json>>(groups)?, &|| abort.is_set())
}

/// The state: JSON from names to tensors.
pub fn optimizer_state(optimizer: &Optimizer) -> Result<Reply> {
    let (names, tensors): (Vec<String>, Vec<Tensor>) = optimizer.state()?.into_iter().unzip();
    let refs: serde_json::Map<_, _> =
        names.into_iter().enumerate().map(|(i, name)| (name, json!({ "$tensor": i }))).collect();
    Ok(Reply { json: Json::Object(refs).to_string(), tensors })
}

/// Puts a state back; `names` is a JSON array.
pub fn optimizer_load_state(optimizer: &mut Optimizer, names: &str, tensors: &[Tensor]) -> Result<()> {
    let names: Vec<String> = parse(names)?;
    optimizer.load_state(&names.into_iter().zip(tensors.iter().cloned()).collect::<Vec<_>>())
}

/// The bytes of a file of PyTorch with the state of an optimizer; `names` is a JSON array, one per
/// tensor, `groups` one of the settings of each group with the places of its parameters (`params`).
pub fn write_optimizer(kind: &str, names: &str, tensors: &[Tensor], groups: &str) -> Result<Vec<u8>> {
    let names: Vec<String> = parse(names)?;
    let kind = OptimizerKind::parse(kind)?;
    checkpoint::write_optimizer(kind, names.into_iter().zip(tensors.iter().cloned()).collect(), &parse(groups)?)
}
