//! Backward pass, optimizers and gradient clipping.

use crate::{parse, AbortFlag, Error, Reply, Result};
use serde::Deserialize;
use serde_json::{json, Value as Json};
use std::sync::Arc;
use xt_core::checkpoint;
use xt_core::training::{Optimizer, OptimizerKind};
use xt_core::{Leaf, Tensor};

/// Runs the backward pass from `loss`, which adds to the gradients of its leaves. The graph is kept
/// if `retain` is set.
pub fn backward(loss: &Tensor, retain: bool, abort: &AbortFlag) -> Result<()> {
    Ok(loss.backward(retain, &|| abort.is_set())?)
}

/// The leaves of the parameters; an error if one is no leaf.
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

/// Scales the gradients so that their global norm is at most `max`. Returns the norm before.
pub fn clip_grad_norm(parameters: &[Tensor], max: f64, abort: &AbortFlag) -> Result<f64> {
    xt_core::training::clip_grad_norm(&leaves(parameters)?, max, &|| abort.is_set())
}

/// A group of parameters, as the TypeScript layer describes it.
#[derive(Deserialize)]
struct Group {
    count: usize,
    settings: Json,
}

/// Creates an optimizer; `groups` is a JSON array with `{ "count", "settings" }` for each group.
pub fn optimizer(kind: &str, parameters: &[Tensor], groups: &str) -> Result<Optimizer> {
    let (counts, settings): (Vec<_>, Vec<_>) =
        parse::<Vec<Group>>(groups)?.into_iter().map(|group| (group.count, group.settings)).unzip();
    let optimizer = Optimizer::new(OptimizerKind::parse(kind)?, leaves(parameters)?, counts)?;
    optimizer.check_memory(&settings)?;
    Ok(optimizer)
}

/// Performs one step; `groups` is a JSON array with the settings of each group.
pub fn optimizer_step(optimizer: &mut Optimizer, groups: &str, abort: &AbortFlag) -> Result<()> {
    optimizer.step(&parse::<Vec<Json>>(groups)?, &|| abort.is_set())
}

/// The state: a JSON object from names to tensors.
pub fn optimizer_state(optimizer: &Optimizer) -> Result<Reply> {
    let (names, tensors): (Vec<String>, Vec<Tensor>) = optimizer.state()?.into_iter().unzip();
    let refs: serde_json::Map<_, _> =
        names.into_iter().enumerate().map(|(i, name)| (name, json!({ "$tensor": i }))).collect();
    Ok(Reply { json: Json::Object(refs).to_string(), tensors })
}

/// Replaces the state; `names` is a JSON array with the name of each tensor.
pub fn optimizer_load_state(
    optimizer: &mut Optimizer,
    names: &str,
    tensors: &[Tensor],
) -> Result<()> {
    let names: Vec<String> = parse(names)?;
    optimizer.load_state(&names.into_iter().zip(tensors.iter().cloned()).collect::<Vec<_>>())
}

/// Serialises the state of an optimizer to a PyTorch file. `names` is a JSON array with the name of
/// each tensor, `groups` one with the settings of each group, including the indices of its
/// parameters (`params`).
pub fn write_optimizer(
    kind: &str,
    names: &str,
    tensors: &[Tensor],
    groups: &str,
) -> Result<Vec<u8>> {
    let names: Vec<String> = parse(names)?;
    let kind = OptimizerKind::parse(kind)?;
    checkpoint::write_optimizer(
        kind,
        names.into_iter().zip(tensors.iter().cloned()).collect(),
        &parse(groups)?,
    )
}
