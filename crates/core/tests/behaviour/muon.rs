//! Muon: matrices by Newton–Schulz, all else by AdamW; and its state.

use crate::common::{all_values, array_values, close, leaf_values, random, reread};
use crate::common::{clipped_and_scaled, gradient_of, leaves_of, step_through};
use serde_json::{json, Value as Json};
use std::cell::Cell;
use std::sync::Arc;
use xt_core::training::{Optimizer, OptimizerKind};
use xt_core::{Array, Leaf, Tensor};
use xt_kernels::ops::optimizer::{muon, AdjustLr, Muon};

/// A matrix for Muon, and what AdamW steps.
const SHAPES: [&[usize]; 3] = [&[6, 4], &[3, 2], &[5]];

fn leaves() -> Vec<Arc<Leaf>> {
    leaves_of(&SHAPES)
}

fn gradient(index: usize, step: u64) -> Array {
    gradient_of(SHAPES[index], index, step)
}

fn groups() -> [Json; 2] {
    [json!({ "lr": 0.05 }), json!({ "lr": 0.01, "use_muon": false, "betas": [0.8, 0.9] })]
}

fn optimizer(leaves: &[Arc<Leaf>]) -> Optimizer {
    Optimizer::new(OptimizerKind::Muon, leaves.to_vec(), vec![1, 2]).unwrap()
}

#[test]
fn muon_follows_ns_coefficients_ns_steps_and_adjust_lr_fn() {
    let settings = Muon {
        lr: 1e-3,
        weight_decay: 0.1,
        momentum: 0.95,
        nesterov: true,
        coefficients: [3.4445, -4.775, 2.0315],
        eps: 1e-7,
        steps: 5,
        adjust: AdjustLr::Original,
    };
    let given = json!({
        "lr": 0.1, "weight_decay": 0.5, "momentum": 0.5, "nesterov": false, "eps": 1.0,
        "ns_coefficients": [2, -1.5, 0.5], "ns_steps": 3, "adjust_lr_fn": "match_rms_adamw",
    });
    let (lr, weight_decay, momentum, eps, steps) = (0.1, 0.5, 0.5, 1.0, 3);
    let (nesterov, coefficients) = (false, [2.0, -1.5, 0.5]);
    let adjust = AdjustLr::MatchRmsAdamW;
    let other = Muon { lr, weight_decay, momentum, nesterov, coefficients, eps, steps, adjust };
    let unclamped = Muon { adjust: AdjustLr::SpectralUnclamped, ..settings };
    let by_name = json!({ "adjust_lr_fn": "spectral_unclamped" });
    for (json, settings) in [(json!({}), settings), (given, other), (by_name, unclamped)] {
        let leaf = Arc::new(Leaf::new(random(SHAPES[0], 0)));
        let (mut weight, mut buffer) =
            (leaf.values().unwrap(), gradient(0, 0).zeros_like().unwrap());
        let mut optimizer =
            Optimizer::new(OptimizerKind::Muon, vec![leaf.clone()], vec![1]).unwrap();
        for step in 0..3 {
            leaf.set_grad(Some(gradient(0, step))).unwrap();
            optimizer.step(std::slice::from_ref(&json), &|| false).unwrap();
            (weight, buffer) =
                muon([&weight, &gradient(0, step), &buffer], 1.0, &settings).unwrap();
            assert_eq!(leaf_values(&leaf), array_values(&weight), "{json}");
        }
    }
}

#[test]
fn use_muon_false_is_adamw() {
    let (own, others) = (leaves(), leaves());
    step_through(&mut optimizer(&own), &own, 0..4, &groups());
    let settings = json!({ "lr": 0.01, "betas": [0.8, 0.9], "eps": 1e-7, "weight_decay": 0.1 });
    let mut adamw = Optimizer::new(OptimizerKind::AdamW, others.clone(), vec![3]).unwrap();
    step_through(&mut adamw, &others, 0..4, &[settings]);
    for i in [1, 2] {
        assert_eq!(leaf_values(&own[i]), leaf_values(&others[i]));
    }
    assert_ne!(leaf_values(&own[0]), leaf_values(&others[0]));
}

#[test]
fn a_saved_state_of_both_kinds_of_groups_continues_exactly() {
    let (whole, first) = (leaves(), leaves());
    step_through(&mut optimizer(&whole), &whole, 0..6, &groups());
    let mut before = optimizer(&first);
    step_through(&mut before, &first, 0..3, &groups());
    let state = before.state().unwrap();
    let names: Vec<_> = state.iter().map(|(name, _)| name.as_str()).collect();
    let of_adamw = |i| ["step", "exp_avg", "exp_avg_sq"].map(|field| format!("{i}.{field}"));
    let want = [
        vec!["0.step".to_string(), "0.momentum_buffer".into()],
        of_adamw(1).into(),
        of_adamw(2).into(),
    ];
    assert_eq!(names, want.concat());
    let state = reread(state);
    let mut fresh = optimizer(&first);
    fresh.load_state(&state, &groups()).unwrap();
    step_through(&mut fresh, &first, 3..6, &groups());
    assert_eq!(all_values(&first), all_values(&whole));
    // half of the averages of AdamW is no state
    for missing in ["1.exp_avg", "1.exp_avg_sq"] {
        let half: Vec<_> = state.iter().filter(|(name, _)| name != missing).cloned().collect();
        let error = optimizer(&first).load_state(&half, &groups()).unwrap_err();
        assert_eq!(error.code(), "invalid_checkpoint");
        assert!(error.to_string().contains("parameter 1 is not whole"), "{error}");
    }
}

#[test]
fn a_state_of_the_other_kind_of_group_is_refused() {
    let all = leaves();
    let mut optimizer = optimizer(&all);
    step_through(&mut optimizer, &all, 0..2, &groups());
    let names = |optimizer: &Optimizer| -> Vec<String> {
        optimizer.state().unwrap().into_iter().map(|(name, _)| name).collect()
    };
    let before = names(&optimizer);
    let of = |name: &str, index: usize| (name.to_string(), Tensor::constant(gradient(index, 0)));
    let adamw = [of("0.exp_avg", 0), of("0.exp_avg_sq", 0)];
    let muon = [of("1.momentum_buffer", 1)];
    let both = [of("1.exp_avg", 1), of("1.exp_avg_sq", 1), of("1.momentum_buffer", 1)];
    for (state, steps) in [(&adamw[..], "Muon"), (&muon, "AdamW"), (&both, "AdamW")] {
        let error = optimizer.load_state(state, &groups()).unwrap_err();
        assert_eq!(error.code(), "invalid_checkpoint");
        assert!(error.to_string().contains(&format!("which {steps} steps")), "{error}");
        assert_eq!(names(&optimizer), before);
    }
    optimizer.load_state(&both[..2], &groups()).unwrap();
}

#[test]
fn an_abort_at_any_time_leaves_weights_and_state_as_they_were() {
    let all = leaves();
    let mut optimizer = optimizer(&all);
    step_through(&mut optimizer, &all, 0..1, &groups());
    let both = |optimizer: &Optimizer| {
        let state = optimizer.state().unwrap();
        let state: Vec<_> =
            state.into_iter().map(|(name, t)| (name, array_values(&t.array().unwrap()))).collect();
        (state, all_values(&all))
    };
    let before = both(&optimizer);
    (0..SHAPES.len()).for_each(|i| all[i].set_grad(Some(gradient(i, 1))).unwrap());
    // three updates are prepared, and that of Muon is computed before any is applied
    for at in 1..=4 {
        let asked = Cell::new(0);
        let aborted = || {
            asked.set(asked.get() + 1);
            asked.get() == at
        };
        assert_eq!(optimizer.step(&groups(), &aborted).unwrap_err().code(), "aborted");
        assert_eq!(both(&optimizer), before);
    }
    optimizer.step(&groups(), &|| false).unwrap();
    assert_ne!(both(&optimizer), before);
}

#[test]
fn what_is_no_matrix_is_refused_with_what_to_do() {
    let all = leaves();
    let mut optimizer = Optimizer::new(OptimizerKind::Muon, all.clone(), vec![3]).unwrap();
    for (i, leaf) in all.iter().enumerate() {
        leaf.set_grad(Some(gradient(i, 0))).unwrap();
    }
    let before = all_values(&all);
    let error = optimizer.step(&[json!({})], &|| false).unwrap_err();
    assert_eq!(error.code(), "invalid_options");
    assert!(error.to_string().contains("[5]"), "{error}");
    assert!(error.to_string().contains("model.muonParameters()"), "{error}");
    assert_eq!(optimizer.check_memory(&[json!({})]).unwrap_err().code(), "invalid_options");
    for (leaf, before) in all.iter().zip(&before) {
        close(&leaf_values(leaf), before, 0.0);
    }
}

#[test]
fn a_gradient_that_was_clipped_counts_with_its_factor() {
    let [clipped, scaled] = clipped_and_scaled(&SHAPES);
    for all in [&clipped, &scaled] {
        optimizer(all).step(&groups(), &|| false).unwrap();
    }
    for (clipped, scaled) in all_values(&clipped).iter().zip(all_values(&scaled)) {
        close(clipped, &scaled, 1e-12);
    }
}
