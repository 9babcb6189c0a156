//! Optimizers.

use super::{Heavy, Reply};
use crate::{parse, AbortFlag, Result};
use serde_json::{json, Value as Json};
use std::sync::{Mutex, MutexGuard, PoisonError};
use xt_core::Tensor;

/// An optimizer. One call at a time uses it.
pub struct Optimizer(Mutex<xt_core::training::Optimizer>);

impl Optimizer {
    /// A handle of `optimizer`.
    pub(super) fn new(optimizer: xt_core::training::Optimizer) -> Self {
        Self(Mutex::new(optimizer))
    }

    /// Locks the optimizer, ignoring poison: a step that fails leaves the optimizer unchanged, so
    /// its data is consistent.
    fn lock(&self) -> MutexGuard<'_, xt_core::training::Optimizer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Performs one step. `groups` is a JSON array with the settings of each parameter group, in the
/// order of the constructor: `{ "lr", "weight_decay", ... }`.
pub fn step(optimizer: &Optimizer, groups: &str, abort: &AbortFlag) -> Heavy<()> {
    optimizer.lock().step(&parse::<Vec<Json>>(groups)?, &|| abort.is_set())
}

/// Clears the gradients of all parameters.
pub fn zero_grad(optimizer: &Optimizer) -> Result<()> {
    optimizer.lock().zero_grad()
}

/// The state: a JSON object with the tensors `INDEX.exp_avg`, `INDEX.exp_avg_sq`, `INDEX.step`,
/// `INDEX.momentum_buffer`, `INDEX.row_var`, `INDEX.col_var`, `INDEX.variance`.
pub fn state(optimizer: &Optimizer) -> Result<Reply> {
    let state = optimizer.lock().state()?;
    let (names, tensors): (Vec<String>, Vec<Tensor>) = state.into_iter().unzip();
    let refs: serde_json::Map<_, _> =
        names.into_iter().enumerate().map(|(i, name)| (name, json!({ "$tensor": i }))).collect();
    Ok(Reply { json: Json::Object(refs).to_string(), tensors })
}

/// Replaces the state; `names` is a JSON array with the name of each tensor, and `groups` one with
/// the settings of each parameter group, as in `step`.
pub fn load_state(
    optimizer: &Optimizer,
    names: &str,
    tensors: &[Tensor],
    groups: &str,
) -> Result<()> {
    let names: Vec<String> = parse(names)?;
    let state: Vec<_> = names.into_iter().zip(tensors.iter().cloned()).collect();
    optimizer.lock().load_state(&state, &parse::<Vec<Json>>(groups)?)
}
