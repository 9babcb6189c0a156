//! Optimizers against scalar reference loops, their state, and gradient clipping.

use crate::common::{array_values, close, float};
use crate::device::device;
use serde_json::{json, Value as Json};
use std::sync::Arc;
use xt_core::training::{clip_grad_norm, clip_grad_value, grad_norms, Optimizer, OptimizerKind};
use xt_core::{checkpoint, Array, Error, Leaf, Rng, Tensor};

const SIZES: [usize; 2] = [5, 3];

fn random(count: usize, seed: u64) -> Vec<f64> {
    Rng::new(seed, 0).stream().normal(count)
}

fn f64s(values: &[f64]) -> Array {
    Array::from_vec(values.to_vec(), values.len(), &device()).unwrap()
}

fn leaves() -> Vec<Arc<Leaf>> {
    SIZES
        .iter()
        .enumerate()
        .map(|(i, n)| Arc::new(Leaf::new(f64s(&random(*n, i as u64)))))
        .collect()
}

/// The gradient of parameter `index` at `step`: arbitrary numbers, the same for loops and
/// optimizer.
fn gradient(index: usize, step: usize) -> Vec<f64> {
    random(SIZES[index], 100 + (10 * step + index) as u64)
}

fn run(
    optimizer: &mut Optimizer,
    leaves: &[Arc<Leaf>],
    steps: std::ops::Range<usize>,
    settings: &Json,
) {
    for step in steps {
        for (i, leaf) in leaves.iter().enumerate() {
            leaf.set_grad(Some(f64s(&gradient(i, step)))).unwrap();
        }
        optimizer.step(std::slice::from_ref(settings), &|| false).unwrap();
        optimizer.zero_grad().unwrap();
    }
}

fn weights(leaves: &[Arc<Leaf>]) -> Vec<Vec<f64>> {
    leaves.iter().map(|l| array_values(&l.values().unwrap())).collect()
}

/// The update rules of PyTorch's documentation, one element at a time.
fn reference_loop(kind: OptimizerKind, settings: &Json, steps: usize) -> Vec<Vec<f64>> {
    let number = |key: &str, default: f64| settings[key].as_f64().unwrap_or(default);
    let lr = number("lr", if kind == OptimizerKind::Lion { 1e-4 } else { 1e-3 });
    let beta = |i: usize, default: f64| settings["betas"][i].as_f64().unwrap_or(default);
    let lion = kind == OptimizerKind::Lion;
    let (b1, b2) = (beta(0, 0.9), beta(1, if lion { 0.99 } else { 0.999 }));
    let eps = number("eps", 1e-8);
    let decay = number("weight_decay", if kind == OptimizerKind::AdamW { 0.01 } else { 0.0 });
    let (momentum, dampening) = (number("momentum", 0.0), number("dampening", 0.0));
    let nesterov = settings["nesterov"].as_bool().unwrap_or(false);
    let mut all = weights(&leaves());
    for (i, ws) in all.iter_mut().enumerate() {
        for (k, w) in ws.iter_mut().enumerate() {
            let (mut m, mut v, mut buffer) = (0.0, 0.0, 0.0);
            for step in 0..steps {
                let mut g = gradient(i, step)[k];
                if matches!(kind, OptimizerKind::AdamW | OptimizerKind::Lion) {
                    *w -= lr * decay * *w;
                } else {
                    g += decay * *w;
                }
                if kind == OptimizerKind::Sgd {
                    buffer = if step == 0 { g } else { momentum * buffer + (1.0 - dampening) * g };
                    let direction = if momentum == 0.0 { g } else { buffer };
                    *w -= lr * if nesterov { g + momentum * buffer } else { direction };
                    continue;
                }
                if lion {
                    let direction: f64 = b1 * m + (1.0 - b1) * g;
                    *w -= lr * if direction == 0.0 { 0.0 } else { direction.signum() };
                    m = b2 * m + (1.0 - b2) * g;
                    continue;
                }
                m = b1 * m + (1.0 - b1) * g;
                v = b2 * v + (1.0 - b2) * g * g;
                let t = step as i32 + 1;
                *w -= lr * (m / (1.0 - b1.powi(t))) / ((v / (1.0 - b2.powi(t))).sqrt() + eps);
            }
        }
    }
    all
}

fn every_setting() -> Vec<(OptimizerKind, Json)> {
    use OptimizerKind::{Adam, AdamW, Lion, Sgd};
    vec![
        (Sgd, json!({})),
        (Sgd, json!({ "lr": 0.1, "weight_decay": 0.2 })),
        (Sgd, json!({ "lr": 0.1, "momentum": 0.9 })),
        (Sgd, json!({ "lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1 })),
        (Sgd, json!({ "lr": 0.1, "momentum": 0.9, "nesterov": true, "weight_decay": 0.1 })),
        (Adam, json!({})),
        (Adam, json!({ "lr": 0.1, "betas": [0.5, 0.8], "eps": 1e-3, "weight_decay": 0.3 })),
        (AdamW, json!({})),
        (AdamW, json!({ "lr": 0.1, "betas": [0.0, 0.9], "weight_decay": 0.5 })),
        (Lion, json!({})),
        (Lion, json!({ "lr": 0.1, "betas": [0.5, 0.8], "weight_decay": 0.3 })),
    ]
}

#[test]
fn steps_equal_the_reference_loops() {
    for (kind, settings) in every_setting() {
        let leaves = leaves();
        let mut optimizer = Optimizer::new(kind, leaves.clone(), vec![2]).unwrap();
        run(&mut optimizer, &leaves, 0..5, &settings);
        for (got, want) in weights(&leaves).iter().zip(reference_loop(kind, &settings, 5)) {
            close(got, &want, 1e-9);
        }
    }
}

#[test]
fn a_saved_and_loaded_state_continues_exactly() {
    for (kind, settings) in every_setting() {
        let (whole, first) = (leaves(), leaves());
        run(&mut Optimizer::new(kind, whole.clone(), vec![2]).unwrap(), &whole, 0..6, &settings);
        let mut optimizer = Optimizer::new(kind, first.clone(), vec![2]).unwrap();
        run(&mut optimizer, &first, 0..3, &settings);
        // through a file, as users do it
        let bytes =
            checkpoint::write_tensors(optimizer.state().unwrap(), Default::default()).unwrap();
        let read = checkpoint::read(&bytes).unwrap().0;
        let state: Vec<_> =
            read.into_iter().map(|(name, array)| (name, Tensor::constant(array))).collect();
        let mut fresh = Optimizer::new(kind, first.clone(), vec![2]).unwrap();
        fresh.load_state(&state, std::slice::from_ref(&settings)).unwrap();
        run(&mut fresh, &first, 3..6, &settings);
        assert_eq!(weights(&first), weights(&whole), "{kind:?} {settings}");
    }
}

#[test]
fn an_invalid_state_is_an_error_and_changes_nothing() {
    let leaves = leaves();
    let mut optimizer = Optimizer::new(OptimizerKind::AdamW, leaves.clone(), vec![2]).unwrap();
    run(&mut optimizer, &leaves, 0..2, &json!({}));
    let names = |o: &Optimizer| -> Vec<String> {
        o.state().unwrap().into_iter().map(|(name, _)| name).collect()
    };
    let before = names(&optimizer);
    assert_eq!(
        before,
        ["0.step", "0.exp_avg", "0.exp_avg_sq", "1.step", "1.exp_avg", "1.exp_avg_sq"]
    );
    for (name, count) in
        [("0.exp_avg", 4), ("2.exp_avg", 5), ("0.nothing", 5), ("x.exp_avg", 5), ("exp_avg", 5)]
    {
        let state = [(name.to_string(), Tensor::constant(float(&vec![0.0; count], &[count])))];
        assert_eq!(
            optimizer.load_state(&state, &[json!({})]).unwrap_err().code(),
            "invalid_checkpoint",
            "{name}"
        );
        assert_eq!(names(&optimizer), before);
    }
}

#[test]
fn groups_have_their_own_settings_and_parameters_without_gradient_do_not_change() {
    let leaves = leaves();
    let start = weights(&leaves);
    let mut optimizer = Optimizer::new(OptimizerKind::Sgd, leaves.clone(), vec![1, 1]).unwrap();
    leaves.iter().enumerate().for_each(|(i, l)| l.set_grad(Some(f64s(&gradient(i, 0)))).unwrap());
    optimizer.step(&[json!({ "lr": 0.1 }), json!({ "lr": 0.0 })], &|| false).unwrap();
    let want: Vec<f64> = start[0].iter().zip(gradient(0, 0)).map(|(w, g)| w - 0.1 * g).collect();
    close(&weights(&leaves)[0], &want, 1e-12);
    assert_eq!(weights(&leaves)[1], start[1]);
    optimizer.zero_grad().unwrap();
    let before = weights(&leaves);
    optimizer
        .step(&[json!({ "lr": 9.0, "weight_decay": 1.0 }), json!({ "lr": 9.0 })], &|| false)
        .unwrap();
    assert_eq!(weights(&leaves), before);
}

#[test]
fn later_steps_do_not_change_a_saved_state() {
    let leaves = leaves();
    let mut optimizer = Optimizer::new(OptimizerKind::AdamW, leaves.clone(), vec![2]).unwrap();
    run(&mut optimizer, &leaves, 0..2, &json!({}));
    let given = optimizer.state().unwrap();
    let values = |state: &[(String, Tensor)]| -> Vec<_> {
        state
            .iter()
            .filter(|(_, t)| t.rank() > 0)
            .map(|(_, t)| array_values(&t.array().unwrap()))
            .collect()
    };
    let before = values(&given);
    run(&mut optimizer, &leaves, 2..3, &json!({}));
    assert_eq!(values(&given), before);
    assert_ne!(values(&optimizer.state().unwrap()), before);
    optimizer.load_state(&given, &[json!({})]).unwrap();
    run(&mut optimizer, &leaves, 3..4, &json!({}));
    assert_eq!(values(&given), before);
}

#[test]
fn errors_and_aborts_change_no_weight() {
    let leaves = leaves();
    let before = weights(&leaves);
    let mut optimizer = Optimizer::new(OptimizerKind::Adam, leaves.clone(), vec![2]).unwrap();
    leaves.iter().enumerate().for_each(|(i, l)| l.set_grad(Some(f64s(&gradient(i, 0)))).unwrap());
    let polls = std::cell::Cell::new(0);
    let late = || polls.replace(polls.get() + 1) > 0;
    assert_eq!(optimizer.step(&[json!({})], &late).unwrap_err().code(), "aborted");
    for wrong in [
        json!({ "lr": -1.0 }),
        json!({ "betas": [1.0, 0.5] }),
        json!({ "momentum": 0.5 }),
        json!([]),
    ] {
        assert_eq!(optimizer.step(&[wrong], &|| false).unwrap_err().code(), "invalid_options");
    }
    leaves[1].set_grad(Some(float(&[1.0; 3], &[3]))).unwrap(); // of another type than the weight
    assert!(optimizer.step(&[json!({})], &|| false).is_err());
    assert_eq!(weights(&leaves), before);
    assert!(optimizer.state().unwrap().is_empty());
    let twice = vec![leaves[0].clone(), leaves[0].clone()];
    assert!(matches!(
        Optimizer::new(OptimizerKind::Sgd, twice, vec![2]),
        Err(Error::Options { .. })
    ));
}

#[test]
fn clipping_scales_all_gradients_by_their_common_norm() {
    let leaves = leaves();
    let set = || {
        leaves
            .iter()
            .enumerate()
            .for_each(|(i, l)| l.set_grad(Some(f64s(&gradient(i, 0)))).unwrap())
    };
    let all: Vec<f64> = (0..2).flat_map(|i| gradient(i, 0)).collect();
    let norm = all.iter().map(|g| g * g).sum::<f64>().sqrt();
    let got = || {
        leaves.iter().flat_map(|l| array_values(&l.grad().unwrap().unwrap())).collect::<Vec<_>>()
    };
    set();
    assert!((clip_grad_norm(&leaves, 0.5, &|| false).unwrap() - norm).abs() < 1e-9);
    close(&got(), &all.iter().map(|g| g * 0.5 / (norm + 1e-6)).collect::<Vec<_>>(), 1e-9);
    for max in [norm + 1.0, f64::INFINITY] {
        set();
        clip_grad_norm(&leaves, max, &|| false).unwrap();
        assert_eq!(got(), all);
    }
    assert_eq!(clip_grad_norm(&leaves, 0.1, &|| true).unwrap_err().code(), "aborted");
    assert_eq!(got(), all);
    leaves.iter().for_each(|l| l.set_grad(None).unwrap());
    assert_eq!(clip_grad_norm(&leaves, 0.1, &|| false).unwrap(), 0.0);
}

#[test]
fn norms_are_those_of_each_group() {
    let leaves = leaves();
    for (i, leaf) in leaves.iter().enumerate() {
        leaf.set_grad(Some(f64s(&gradient(i, 0)))).unwrap();
    }
    let norm = |i: usize| gradient(i, 0).iter().map(|g| g * g).sum::<f64>().sqrt();
    let norms = |counts: &[usize]| grad_norms(&leaves, counts, &|| false);
    close(&norms(&[1, 0, 1]).unwrap(), &[norm(0), 0.0, norm(1)], 1e-9);
    close(&norms(&[2]).unwrap(), &[norm(0).hypot(norm(1))], 1e-9);
    assert_eq!(norms(&[]).unwrap(), Vec::<f64>::new());
    assert_eq!(norms(&[1, 2]).unwrap_err().code(), "invalid_tensor");
    leaves[0].set_grad(None).unwrap();
    close(&norms(&[1, 1]).unwrap(), &[0.0, norm(1)], 1e-9);
    assert_eq!(grad_norms(&leaves, &[2], &|| true).unwrap_err().code(), "aborted");
}

#[test]
fn gradients_are_clipped_by_value() {
    let leaves = leaves();
    let set = |factor: f64| {
        leaves[0].set_grad(Some(f64s(&[3.0, -0.5, -3.0, 0.0, 0.75]))).unwrap();
        leaves[0].scale_grad(factor);
    };
    let got = || array_values(&leaves[0].grad().unwrap().unwrap());
    set(1.0);
    clip_grad_value(&leaves, 1.0, &|| false).unwrap();
    assert_eq!(got(), [1.0, -0.5, -1.0, 0.0, 0.75]);
    // what was scaled is limited after that
    set(0.5);
    let before = leaves[0].grad().unwrap().unwrap();
    clip_grad_value(&leaves, 0.3, &|| false).unwrap();
    assert_eq!(got(), [0.3, -0.25, -0.3, 0.0, 0.3]);
    // and an array that was handed out stays
    assert_eq!(array_values(&before), [1.5, -0.25, -1.5, 0.0, 0.375]);
    clip_grad_value(&leaves, f64::INFINITY, &|| false).unwrap();
    assert_eq!(got(), [0.3, -0.25, -0.3, 0.0, 0.3]);
    assert!(leaves[1].grad().unwrap().is_none());
    assert_eq!(clip_grad_value(&leaves, 0.1, &|| true).unwrap_err().code(), "aborted");
}
