//! Depth is unlimited: forward, backward and freeing do not recurse.

use crate::common::{build, forward, layers, normal, parameter, values};
use serde_json::json;
use std::sync::Arc;
use xt_autograd::ops;
use xt_core::training::{Optimizer, OptimizerKind};
use xt_core::Leaf;

/// Peak memory of this process in KiB, where the system reports it.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn deepnorm_with_1000_layers_trains_a_step_and_is_freed() {
    let train = || {
        let options = json!({
            "dim": 8, "depth": 1000, "heads": 1, "attn_dim_head": 4, "ff_mult": 1, "deepnorm": true,
        });
        let model = build(&layers("Decoder", options));
        let x = normal(&[1, 4, 8], 1);
        let y = forward(&model, &x);
        let unused = forward(&model, &x);
        let loss = ops::mean(&ops::mul(&y, &y).unwrap(), None, false).unwrap();
        let before = parameter(&model, "layers.0.1.to_v.weight");
        loss.backward(false, &|| false).unwrap();
        let leaves: Vec<Arc<Leaf>> =
            model.entries().iter().map(|e| e.param.leaf().clone()).collect();
        assert!(leaves.iter().all(|leaf| leaf.grad().unwrap().is_some()));
        let count = leaves.len();
        let mut optimizer = Optimizer::new(OptimizerKind::AdamW, leaves, vec![count]).unwrap();
        optimizer.step(&[json!({ "lr": 1e-3 })], &|| false).unwrap();
        assert_ne!(parameter(&model, "layers.0.1.to_v.weight"), before);
        assert!(values(&forward(&model, &x)).iter().chain(&values(&loss)).all(|v| v.is_finite()));
        // a graph without a backward is freed too
        drop(unused);
    };
    let before = peak_memory();
    // the test thread has the default stack of 2 MiB
    std::thread::spawn(train).join().unwrap();
    if let (Some(before), Some(after)) = (before, peak_memory()) {
        assert!(after - before < 1 << 20, "{} MiB", (after - before) >> 10);
    }
}

#[test]
fn deepnorm_leaves_the_norms_of_dynamic_pos_bias_norm_at_1() {
    let options =
        json!({ "deepnorm": true, "dynamic_pos_bias": true, "dynamic_pos_bias_norm": true });
    let model = build(&layers("Decoder", options));
    for layer in 0..2 {
        assert_eq!(parameter(&model, &format!("rel_pos.mlp.{layer}.1.weight")), [1.0; 4]);
        assert_eq!(parameter(&model, &format!("rel_pos.mlp.{layer}.0.bias")), [0.0; 4]);
    }
    assert_eq!(parameter(&model, "rel_pos.mlp.2.bias"), [0.0; 2]);
}
