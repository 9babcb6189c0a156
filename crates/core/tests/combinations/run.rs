//! Running a case: forward, backward, one step of an optimizer.

use crate::case::Case;
use crate::common::{array_values, call_numbered, normal, values};
use crate::inputs::Inputs;
use serde_json::json;
use std::sync::Arc;
use xt_autograd::ops;
use xt_core::training::{Optimizer, OptimizerKind};
use xt_core::{DType, Entry, EntryKind, Leaf, Tensor, Value};

/// All tensors of a result, in order.
pub fn flat(value: Value) -> Vec<Tensor> {
    match value {
        Value::Null => vec![],
        Value::Tensor(tensor) => vec![tensor],
        Value::List(list) => list.into_iter().flat_map(flat).collect(),
        Value::Fields(fields) => fields.into_iter().flat_map(|(_, value)| flat(value)).collect(),
    }
}

/// Calls `forward` with `positional` tensors and the named ones.
pub fn forward(case: &Case, inputs: &Inputs, positional: usize) -> Vec<Tensor> {
    let mut args: Vec<_> = (0..positional).map(|i| json!({ "$tensor": i })).collect();
    args.push(inputs.named());
    flat(
        call_numbered(&case.model, "forward", json!(args), &inputs.tensors, 1)
            .unwrap_or_else(|e| panic!("{e}")),
    )
}

/// A number that depends on every element that is trained: the loss, or the outputs with fixed
/// weights.
pub fn objective(outputs: &[Tensor], count: usize) -> Tensor {
    let term = |(i, out): (usize, &Tensor)| {
        let weights = ops::cast(&normal(out.dims(), 90 + i as u64), out.dtype(), false).unwrap();
        ops::sum(&ops::mul(out, &weights).unwrap(), None, false).unwrap()
    };
    let terms: Vec<Tensor> = outputs.iter().take(count).enumerate().map(term).collect();
    terms.into_iter().reduce(|sum, term| ops::add(&sum, &term).unwrap()).unwrap()
}

/// How many of the outputs have a graph: memories do not.
pub fn trained(case: &Case) -> usize {
    if case.is_on("return_only_embed") {
        return 1;
    }
    let heads = case.option("num_output_heads").map_or(1, |n| n.as_u64().unwrap() as usize);
    if case.has("return_logits_and_embeddings") {
        heads + 1
    } else if case.has("return_embeddings") {
        1
    } else {
        heads
    }
}

#[track_caller]
pub fn all_finite(what: &str, tensors: &[Tensor]) {
    for tensor in tensors {
        assert!(values(tensor).iter().all(|v| v.is_finite()), "{what} is not finite");
    }
}

/// Parameters, without aliases that share the same storage.
pub fn parameters(case: &Case) -> Vec<Entry> {
    let tied = case.model.tied();
    let own = |e: &&Entry| e.kind == EntryKind::Parameter && !tied.contains_key(e.name.as_str());
    case.model.entries().iter().filter(own).cloned().collect()
}

pub fn clear(case: &Case) {
    parameters(case).iter().for_each(|e| e.param.leaf().set_grad(None).unwrap());
}

/// Every parameter that should have a gradient has a finite one.
pub fn assert_gradients(case: &Case, reached: impl Fn(&str) -> bool) {
    for entry in parameters(case) {
        match entry.param.leaf().grad().unwrap() {
            Some(grad) => {
                assert!(
                    array_values(&grad).iter().all(|v| v.is_finite()),
                    "the gradient of {} is not finite",
                    entry.name
                )
            }
            None => assert!(!reached(&entry.name), "{} has no gradient", entry.name),
        }
    }
}

/// A step changes the weights and leaves them finite.
pub fn step(case: &Case) {
    let leaves: Vec<Arc<Leaf>> = parameters(case).iter().map(|e| e.param.leaf().clone()).collect();
    let count = leaves.len();
    let mut optimizer = Optimizer::new(OptimizerKind::AdamW, leaves, vec![count]).unwrap();
    optimizer.step(&[json!({ "lr": 1e-3 })], &|| false).unwrap();
    for entry in parameters(case) {
        let values = array_values(&entry.param.values().unwrap());
        assert!(values.iter().all(|v| v.is_finite()), "{} is not finite after a step", entry.name);
    }
}

/// A step in training mode, then gradients of all parameters in eval mode. `make` gives the inputs.
pub fn trains(case: &Case, positional: usize, make: &dyn Fn(&Case, DType) -> Inputs) {
    let inputs = make(case, DType::F32);
    let outputs = forward(case, &inputs, positional);
    all_finite("the output", &outputs);
    let total = objective(&outputs, trained(case));
    // layer dropout may have skipped all layers
    if total.requires_grad() {
        total.backward(false, &|| false).unwrap();
        assert_gradients(case, |_| false);
        step(case);
    }
    clear(case);
    case.model.train(false);
    let outputs = forward(case, &inputs, positional);
    all_finite("the output after a step", &outputs);
    let total = objective(&outputs, trained(case));
    if total.requires_grad() {
        total.backward(false, &|| false).unwrap();
    }
    assert_gradients(case, |name| case.reaches(name));
    clear(case);
    case.model.train(true);
}

/// Converts all values of the model to f64.
pub fn to_f64(case: &Case) {
    let leaves = case.model.entries().iter().map(|e| e.param.leaf());
    leaves.for_each(|leaf| leaf.move_to(&crate::device::device(), DType::F64).unwrap());
}
