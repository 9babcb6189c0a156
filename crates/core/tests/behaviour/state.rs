//! Loading a state dict: all or nothing, with every problem named.

use crate::common::{array_values, build, float, plain, seeded};
use xt_core::{Array, Model};

fn state(model: &Model) -> Vec<(String, Array)> {
    model.entries().iter().map(|e| (e.name.clone(), e.param.values().unwrap())).collect()
}

fn numbers(model: &Model) -> Vec<f64> {
    state(model).iter().flat_map(|(_, array)| array_values(array)).collect()
}

fn broken() -> Vec<(String, Array)> {
    let other = seeded(&plain(), 2);
    let mut state = state(&other);
    state.retain(|(name, _)| name != "net.norm.bias" && name != "net.to_logits.weight");
    state.push(("net.token_emb.weight".into(), float(&[1.0], &[1])));
    for (name, array) in &mut state {
        if name == "net.norm.weight" || name == "net.pos_emb.emb.weight" {
            *array = float(&[1.0, 2.0], &[2]);
        }
    }
    state
}

#[test]
fn an_error_lists_every_problem_and_leaves_the_model_unchanged() {
    let model = build(&plain());
    let versions =
        || model.entries().iter().map(|entry| entry.param.leaf().version()).collect::<Vec<_>>();
    let (before, old) = (numbers(&model), versions());
    let error = model.load_state(&broken(), true).unwrap_err();
    assert_eq!(error.code(), "invalid_state");
    for words in [
        "`net.norm.weight` has shape [2], the model needs [16]",
        "`net.pos_emb.emb.weight` has shape [2], the model needs [12, 16]",
        "`net.norm.bias` is missing",
        "`net.to_logits.weight` is missing",
        "`net.token_emb.weight` is not in the model",
    ] {
        assert!(error.to_string().contains(words), "`{words}` is not in: {error}");
    }
    assert_eq!(numbers(&model), before);
    assert_eq!(versions(), old);
}

#[test]
fn shape_mismatches_are_errors_even_when_not_strict() {
    let model = build(&plain());
    let before = numbers(&model);
    let message = model.load_state(&broken(), false).unwrap_err().to_string();
    assert!(message.contains("has shape") && !message.contains("missing"), "{message}");
    assert_eq!(numbers(&model), before);
}

#[test]
fn missing_and_unexpected_names_are_reported_when_not_strict() {
    let model = build(&plain());
    let mut part = broken();
    part.retain(|(_, array)| array.dims() != [2]);
    let report = model.load_state(&part, false).unwrap();
    let missing =
        ["net.pos_emb.emb.weight", "net.norm.weight", "net.norm.bias", "net.to_logits.weight"];
    assert_eq!(report.missing, missing);
    assert_eq!(report.unexpected, ["net.token_emb.weight"]);
    let loaded = model.entry("net.token_emb.emb.weight").unwrap();
    let want = part.iter().find(|(name, _)| *name == loaded.name).unwrap();
    assert_eq!(array_values(&loaded.param.values().unwrap()), array_values(&want.1));
}

#[test]
fn a_complete_state_has_an_empty_report_and_makes_earlier_graphs_stale() {
    let (model, other) = (build(&plain()), seeded(&plain(), 2));
    let loss = crate::common::forward(&model, &crate::common::tokens(1, 5, 1));
    assert_eq!(model.load_state(&state(&other), true).unwrap(), xt_core::LoadReport::default());
    assert_eq!(numbers(&model), numbers(&other));
    let error: xt_core::Error = loss.backward(false, &|| false).unwrap_err().into();
    assert_eq!(error.code(), "stale_parameters");
}
