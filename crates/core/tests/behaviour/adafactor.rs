//! Adafactor: its settings, and its state.

use crate::common::{array_values, close};
use crate::device::device;
use serde_json::{json, Value as Json};
use std::sync::Arc;
use xt_core::training::{Optimizer, OptimizerKind};
use xt_core::{checkpoint, Array, Leaf, Rng, Tensor};
use xt_kernels::ops::optimizer::{adafactor, Adafactor, Second};

const SHAPES: [&[usize]; 3] = [&[6, 4], &[2, 3, 2], &[5]];

fn random(shape: &[usize], seed: u64) -> Array {
    let values = Rng::new(seed, 0).stream().normal(shape.iter().product());
    Array::from_vec(values, shape, &device()).unwrap()
}

fn leaves() -> Vec<Arc<Leaf>> {
    (0..).zip(SHAPES).map(|(i, shape)| Arc::new(Leaf::new(random(shape, i)))).collect()
}

fn gradient(index: usize, step: u64) -> Array {
    random(SHAPES[index], 100 + 10 * step + index as u64)
}

fn optimizer(leaves: &[Arc<Leaf>]) -> Optimizer {
    Optimizer::new(OptimizerKind::Adafactor, leaves.to_vec(), vec![leaves.len()]).unwrap()
}

fn run(optimizer: &mut Optimizer, leaves: &[Arc<Leaf>], steps: std::ops::Range<u64>, s: &Json) {
    for step in steps {
        for (i, leaf) in leaves.iter().enumerate() {
            leaf.set_grad(Some(gradient(i, step))).unwrap();
        }
        optimizer.step(std::slice::from_ref(s), &|| false).unwrap();
        optimizer.zero_grad().unwrap();
    }
}

fn values(leaves: &[Arc<Leaf>]) -> Vec<Vec<f64>> {
    leaves.iter().map(|leaf| array_values(&leaf.values().unwrap())).collect()
}

#[test]
fn steps_follow_beta2_decay_and_d() {
    let plain = Adafactor {
        lr: 1e-2,
        beta2_decay: -0.8,
        eps1: None,
        eps2: 1e-3,
        d: 1.0,
        weight_decay: 0.0,
        step: 0,
    };
    let given = json!({
        "lr": 0.5, "beta2_decay": -0.5, "eps": [0.1, 2], "d": 0.5, "weight_decay": 0.3,
    });
    let (lr, beta2_decay, eps2, d, weight_decay) = (0.5, -0.5, 2.0, 0.5, 0.3);
    let other = Adafactor { lr, beta2_decay, eps1: Some(0.1), eps2, d, weight_decay, step: 0 };
    for (json, settings) in [(json!({}), plain), (given, other)] {
        let leaves = leaves();
        let start: Vec<_> = leaves.iter().map(|leaf| leaf.values().unwrap()).collect();
        run(&mut optimizer(&leaves), &leaves, 0..3, &json);
        for (i, mut weight) in start.into_iter().enumerate() {
            let mut second = Second::zeros(&weight).unwrap();
            for step in 0..3 {
                let s = Adafactor { step: step + 1, ..settings };
                (weight, second) =
                    adafactor([&weight, &gradient(i, step)], 1.0, &second, &s).unwrap();
            }
            assert_eq!(values(&leaves)[i], array_values(&weight), "{json}");
        }
    }
}

#[test]
fn a_saved_and_loaded_state_of_rows_and_columns_continues_exactly() {
    let (whole, first) = (leaves(), leaves());
    let settings = json!({ "lr": 0.1 });
    run(&mut optimizer(&whole), &whole, 0..6, &settings);
    let mut before = optimizer(&first);
    run(&mut before, &first, 0..3, &settings);
    let state = before.state().unwrap();
    let names: Vec<_> = state.iter().map(|(name, _)| name.as_str()).collect();
    let matrix = |i| ["step", "row_var", "col_var"].map(|field| format!("{i}.{field}")).to_vec();
    let want = [matrix(0), matrix(1), vec!["2.step".into(), "2.variance".into()]].concat();
    assert_eq!(names, want);
    let bytes = checkpoint::write_tensors(state, Default::default()).unwrap();
    let read = checkpoint::read(&bytes).unwrap().0;
    let state: Vec<_> =
        read.into_iter().map(|(name, array)| (name, Tensor::constant(array))).collect();
    let mut fresh = optimizer(&first);
    fresh.load_state(&state, std::slice::from_ref(&settings)).unwrap();
    run(&mut fresh, &first, 3..6, &settings);
    assert_eq!(values(&first), values(&whole));
    for missing in ["0.col_var", "1.step", "2.variance"] {
        let part: Vec<_> = state.iter().filter(|(name, _)| name != missing).cloned().collect();
        let error = optimizer(&first).load_state(&part, &[json!({})]).unwrap_err();
        assert_eq!(error.code(), "invalid_checkpoint", "{missing}");
    }
    let wrong = [("0.row_var".to_string(), Tensor::constant(random(&[6, 4], 1)))];
    let error = optimizer(&first).load_state(&wrong, &[json!({})]).unwrap_err();
    assert!(error.to_string().contains("[6, 1]"), "{error}");
}

#[test]
fn clipped_gradients_count_with_their_factor() {
    let (clipped, scaled) = (leaves(), leaves());
    for i in 0..SHAPES.len() {
        for all in [&clipped, &scaled] {
            all[i].set_grad(Some(gradient(i, 0))).unwrap();
            all[i].scale_grad(0.25);
        }
        scaled[i].grad().unwrap(); // the factor is applied
    }
    for all in [&clipped, &scaled] {
        optimizer(all).step(&[json!({})], &|| false).unwrap();
    }
    for (clipped, scaled) in values(&clipped).iter().zip(values(&scaled)) {
        close(clipped, &scaled, 1e-12);
    }
}
