//! Adafactor: its settings, and its state.

use crate::common::{all_values, array_values, close, leaf_values, random, reread};
use crate::common::{clipped_and_scaled, gradient_of, leaves_of, step_through};
use serde_json::{json, Value as Json};
use std::ops::Range;
use std::sync::Arc;
use xt_core::training::{Optimizer, OptimizerKind};
use xt_core::{Array, Leaf, Tensor};
use xt_kernels::ops::optimizer::{adafactor, Adafactor, Second};

const SHAPES: [&[usize]; 3] = [&[6, 4], &[2, 3, 2], &[5]];

fn leaves() -> Vec<Arc<Leaf>> {
    leaves_of(&SHAPES)
}

fn gradient(index: usize, step: u64) -> Array {
    gradient_of(SHAPES[index], index, step)
}

fn optimizer(leaves: &[Arc<Leaf>]) -> Optimizer {
    Optimizer::new(OptimizerKind::Adafactor, leaves.to_vec(), vec![leaves.len()]).unwrap()
}

fn run(optimizer: &mut Optimizer, leaves: &[Arc<Leaf>], steps: Range<u64>, settings: &Json) {
    step_through(optimizer, leaves, steps, std::slice::from_ref(settings));
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
            assert_eq!(leaf_values(&leaves[i]), array_values(&weight), "{json}");
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
    let state = reread(state);
    let mut fresh = optimizer(&first);
    fresh.load_state(&state, std::slice::from_ref(&settings)).unwrap();
    run(&mut fresh, &first, 3..6, &settings);
    assert_eq!(all_values(&first), all_values(&whole));
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
    let [clipped, scaled] = clipped_and_scaled(&SHAPES);
    for all in [&clipped, &scaled] {
        optimizer(all).step(&[json!({})], &|| false).unwrap();
    }
    for (clipped, scaled) in all_values(&clipped).iter().zip(all_values(&scaled)) {
        close(clipped, &scaled, 1e-12);
    }
}
