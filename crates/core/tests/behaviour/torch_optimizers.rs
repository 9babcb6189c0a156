//! States of PyTorch's optimizers (test/checkpoints/training.py): runs continue as in PyTorch, and
//! files written here can be read again.

use crate::common::{array_values, close, float};
use crate::torch_files::recorded;
use serde_json::{json, Value as Json};
use std::sync::Arc;
use xt_core::checkpoint::{self, File, Settings};
use xt_core::training::{Optimizer, OptimizerKind};
use xt_core::{Array, DType, Leaf, Result};

fn state(bytes: &[u8], key: Option<&str>) -> Result<File> {
    let key = key.map(str::to_string);
    checkpoint::read_with(bytes, Settings { optimizer: true, key, ..Settings::default() })
}

fn groups(file: &File) -> Json {
    serde_json::from_str(&file.metadata["param_groups"]).unwrap()
}

fn numbers(list: &Json) -> Vec<f64> {
    list.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn array(values: &Json, shape: &Json) -> Array {
    let shape: Vec<usize> = numbers(shape).iter().map(|d| *d as usize).collect();
    float(&numbers(values), &shape).to_dtype(DType::F32).unwrap()
}

/// The recorded parameters in the order of the optimizer, and its settings that exist here too.
struct Run {
    order: Vec<usize>,
    leaves: Vec<Arc<Leaf>>,
    optimizer: Optimizer,
    settings: Vec<Json>,
}

fn kind(row: &Json) -> OptimizerKind {
    OptimizerKind::parse(row["class"].as_str().unwrap()).unwrap()
}

fn start(row: &Json) -> Run {
    let places = row["groups"].as_array().unwrap();
    let sizes = places.iter().map(|group| group.as_array().unwrap().len()).collect();
    let order: Vec<usize> = places.iter().flat_map(numbers).map(|place| place as usize).collect();
    let leaf = |i: &usize| Arc::new(Leaf::new(array(&row["start"][*i], &row["shapes"][*i])));
    let leaves: Vec<Arc<Leaf>> = order.iter().map(leaf).collect();
    let optimizer = Optimizer::new(kind(row), leaves.clone(), sizes).unwrap();
    let settings = row["settings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| known_settings(kind(row), group))
        .collect();
    Run { order, leaves, optimizer, settings }
}

fn known_settings(kind: OptimizerKind, group: &Json) -> Json {
    let names: &[&str] = match kind {
        OptimizerKind::Sgd => &["lr", "momentum", "dampening", "weight_decay", "nesterov"],
        OptimizerKind::Muon => &[
            "lr",
            "weight_decay",
            "momentum",
            "nesterov",
            "ns_coefficients",
            "eps",
            "ns_steps",
            "adjust_lr_fn",
        ],
        OptimizerKind::Adafactor => &["lr", "beta2_decay", "eps", "d", "weight_decay"],
        _ => &["lr", "betas", "eps", "weight_decay"],
    };
    // None stands for a default
    let known = names.iter().map(|name| (name.to_string(), group[name].clone()));
    Json::Object(known.filter(|(_, value)| !value.is_null()).collect())
}

/// PyTorch's Muon computes in bf16, which keeps some percent of a step of about 0.1.
fn tolerance(name: &str) -> f64 {
    if name.ends_with("bf16") {
        2e-2
    } else {
        1e-5
    }
}

fn continue_run(run: &mut Run, row: &Json, tolerance: f64) {
    for step in row["steps"].as_array().unwrap() {
        for (leaf, i) in run.leaves.iter().zip(&run.order) {
            let without = row["without"].as_array().unwrap().contains(&json!(i));
            let gradient = (!without).then(|| array(&step["gradients"][*i], &row["shapes"][*i]));
            leaf.set_grad(gradient).unwrap();
        }
        run.optimizer.step(&run.settings, &|| false).unwrap();
        for (leaf, i) in run.leaves.iter().zip(&run.order) {
            let want = numbers(&step["weights"][*i]);
            close(&array_values(&leaf.values().unwrap()), &want, tolerance);
        }
    }
}

fn rows() -> Vec<(String, Json)> {
    let all: Json = serde_json::from_slice(&recorded("training.json")).unwrap();
    all["optimizers"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, row)| (name.clone(), row.clone()))
        .collect()
}

#[test]
fn runs_continue_as_in_pytorch_also_after_a_save_here() {
    for (name, row) in rows() {
        let file = state(&recorded(&format!("optimizer-{name}.pt")), None).unwrap();
        let mut run = start(&row);
        run.optimizer.load_state(&file.tensors, &run.settings).unwrap();
        let settings: Vec<Json> = groups(&file)
            .as_array()
            .unwrap()
            .iter()
            .map(|group| known_settings(kind(&row), group))
            .collect();
        assert_eq!(settings, run.settings, "{name}");
        let written =
            checkpoint::write_optimizer(kind(&row), run.optimizer.state().unwrap(), &groups(&file))
                .unwrap();
        continue_run(&mut run, &row, tolerance(&name));
        let again = state(&written, None).unwrap();
        let mut second = start(&row);
        second.optimizer.load_state(&again.tensors, &second.settings).unwrap();
        assert_eq!(groups(&again)[0]["betas"], groups(&file)[0]["betas"], "{name}");
        assert_eq!(groups(&again)[0]["lr"], groups(&file)[0]["lr"], "{name}");
        continue_run(&mut second, &row, tolerance(&name));
    }
}

#[test]
fn numbers_and_tensors_are_interchangeable() {
    let file = state(&recorded("optimizer-numbers.pt"), None).unwrap();
    let value = |name: &str| {
        let found =
            file.tensors.iter().find(|(own, _)| own == name).unwrap_or_else(|| panic!("{name}"));
        array_values(&found.1.array().unwrap())
    };
    assert_eq!(value("9.step"), [3.0]);
    let group = &groups(&file)[0];
    assert_eq!(group["params"], json!([9, 7, 5, 3]));
    assert_eq!(group["lr"], json!({ "$tensor": "param_groups.0.lr" }));
    assert_eq!(value("param_groups.0.lr"), [0.1]);
    assert_eq!(value(group["betas"][1]["$tensor"].as_str().unwrap()), [0.9]);
}

#[test]
fn the_state_is_found_in_a_checkpoint_or_by_its_key() {
    for (name, key) in [
        ("nanogpt.pt", None),
        ("nanogpt.pt", Some("optimizer")),
        ("optimizer-numbers.pt", Some("optimizer_states")),
        ("optimizer-numbers.pt", Some("optimizer_states.0")),
        ("optimizer-adam.pt", Some("")),
        ("optimizers.pt", Some("b.inner")),
        ("optimizers.pt", Some("c")),
    ] {
        let file = state(&recorded(name), key).unwrap_or_else(|e| panic!("{name} {key:?}: {e}"));
        assert!(file.tensors.iter().any(|(name, _)| name.ends_with(".exp_avg")), "{name}");
    }
    for (name, key, words) in [
        (
            "optimizers.pt",
            None,
            "several states of optimizers: choose one by the option `key`: `a`, `c`",
        ),
        ("optimizers.pt", Some("x"), "no state of an optimizer named `x`"),
        ("model.pt", None, "holds no state of an optimizer"),
    ] {
        let error = state(&recorded(name), key).err().unwrap();
        assert_eq!(error.code(), "invalid_checkpoint", "{name}");
        assert!(error.to_string().contains(words), "{name}: {error}");
    }
    let error = state(&recorded("optimizer-names.pt"), None).err().unwrap();
    assert_eq!(error.code(), "not_available");
    assert!(error.to_string().contains("by name"), "{error}");
}

#[test]
fn a_state_of_another_optimizer_or_an_incomplete_one_is_an_error() {
    let adam = state(&recorded("optimizer-adam.pt"), None).unwrap().tensors;
    let momentum = state(&recorded("optimizer-momentum.pt"), None).unwrap().tensors;
    for (name, tensors, words) in [
        ("momentum", &adam[..], "is no state of this optimizer (SGD of 4 parameters)"),
        ("adam", &momentum[..], "is no state of this optimizer (Adam of 4 parameters)"),
        ("adam", &adam[..2], "the state of parameter 0 is not whole"),
    ] {
        let row = rows().into_iter().find(|(own, _)| own == name).unwrap().1;
        let mut run = start(&row);
        let error = run.optimizer.load_state(tensors, &run.settings).unwrap_err();
        assert_eq!(error.code(), "invalid_checkpoint");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn damaged_states_are_errors_or_read_as_before() {
    let content = |file: File| -> Vec<(String, Vec<f64>)> {
        let values =
            file.tensors.into_iter().map(|(name, t)| (name, array_values(&t.array().unwrap())));
        values.chain([(file.metadata["param_groups"].clone(), vec![])]).collect()
    };
    for name in ["optimizer-momentum.pt", "optimizer-adamw.pt", "optimizer-numbers.pt"] {
        let whole = recorded(name);
        let want = content(state(&whole, None).unwrap());
        for at in 0..whole.len() {
            assert!(state(&whole[..at], None).is_err(), "{name} {at}");
            for change in [0x01, 0x10, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] ^= change;
                match state(&damaged, None) {
                    Ok(file) => assert_eq!(content(file), want, "{name} {at}"),
                    Err(e) => assert!(
                        ["invalid_checkpoint", "not_available"].contains(&e.code()),
                        "{name} {at}: {e}"
                    ),
                }
            }
        }
    }
}
