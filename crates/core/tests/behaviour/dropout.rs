//! The four kinds of dropout: how much they drop, where, and what the choice depends on.

use crate::common::{
    build, diagonal, fill, float, forward, forward_numbered, forward_with, gpt, layers, normal,
    set, share_is, spec, tokens, values,
};
use serde_json::{json, Value as Json};
use xt_core::{Model, Tensor, Value};

const P: f64 = 0.3;

fn field(value: Value, name: &str) -> Vec<Value> {
    let Value::List(mut pair) = value else { panic!("no pair") };
    let Some(Value::Fields(fields)) = pair.pop() else { panic!("no intermediates") };
    match fields.into_iter().find(|(key, _)| *key == name) {
        Some((_, Value::List(list))) => list,
        _ => panic!("no {name}"),
    }
}

#[test]
fn embeddings_are_dropped_per_element_and_scaled_up() {
    let model = build(&gpt(json!({}), json!({ "emb_dropout": P })));
    let x = tokens(64, 12, 1);
    let hiddens = |model: &Model| {
        let value =
            forward_with(model, std::slice::from_ref(&x), json!({ "return_intermediates": true }))
                .unwrap();
        match field(value, "hiddens").swap_remove(0) {
            Value::Tensor(first) => values(&first),
            _ => panic!("hiddens are no tensors"),
        }
    };
    let dropped = hiddens(&model);
    model.train(false);
    let whole = hiddens(&model);
    for (d, w) in dropped.iter().zip(&whole) {
        assert!(*d == 0.0 || (d - w / (1.0 - P)).abs() < 1e-5);
    }
    share_is(
        dropped.iter().filter(|d| **d == 0.0).count() as f64 / dropped.len() as f64,
        P,
        dropped.len(),
    );
}

/// One feed-forward of width 16 whose hidden layer is gelu(1) everywhere and is also its output.
fn feedforward(more: Json) -> std::sync::Arc<Model> {
    let mut options = json!({ "custom_layers": ["f"], "ff_mult": 1 });
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let model = build(&layers("Encoder", options));
    fill(&model, "layers.0.1.ff.0.0.weight", 0.0);
    fill(&model, "layers.0.1.ff.0.0.bias", 1.0);
    set(&model, "layers.0.1.ff.3.weight", &diagonal(16, 1.0));
    fill(&model, "layers.0.1.ff.3.bias", 0.0);
    model
}

#[test]
fn hidden_features_are_dropped_per_element_and_scaled_up() {
    let model = feedforward(json!({ "ff_dropout": P }));
    let zero = Tensor::constant(float(&vec![0.0; 64 * 32 * 16], &[64, 32, 16]));
    let y = values(&forward(&model, &zero));
    let kept = 0.841_344_746 / (1.0 - P); // gelu(1) = Φ(1)
    assert!(y.iter().all(|v| *v == 0.0 || (v - kept).abs() < 1e-5));
    share_is(y.iter().filter(|v| **v == 0.0).count() as f64 / y.len() as f64, P, y.len());
}

#[test]
fn attention_weights_are_dropped_per_pair_and_scaled_up() {
    const N: usize = 64;
    let options = json!({ "dim": N, "depth": 1, "heads": 1, "attn_dim_head": N, "custom_layers": ["a"], "attn_dropout": P });
    let model = build(&spec("Encoder", options));
    fill(&model, "layers.0.1.to_q.weight", 0.0); // all weights are 1 / N
    set(&model, "layers.0.1.to_v.weight", &diagonal(N, 1.0));
    set(&model, "layers.0.1.to_out.weight", &diagonal(N, 1.0));
    // key j is the unit vector j; the norm subtracts its mean 1 / N and scales it by s
    let x = Tensor::constant(float(&diagonal(N, 1.0).repeat(16), &[16, N, N]));
    let branch: Vec<f64> =
        values(&forward(&model, &x)).iter().zip(values(&x)).map(|(y, x)| y - x).collect();
    let n = N as f64;
    let s = 1.0 / (1.0 / n - 1.0 / (n * n) + 1e-5).sqrt();
    let step = s / n / (1.0 - P); // between a kept and a dropped weight
    let mut dropped = 0;
    for row in branch.chunks_exact(N) {
        let low = row.iter().copied().fold(f64::INFINITY, f64::min);
        assert!(row.iter().all(|v| (v - low).abs() < 1e-4 || (v - low - step).abs() < 1e-4));
        dropped += row.iter().filter(|v| (**v - low).abs() < 1e-4).count();
    }
    share_is(dropped as f64 / branch.len() as f64, P, branch.len());
}

/// Layers that each add 1: the output is the number of layers that ran.
fn counting(depth: usize, drop: Json) -> std::sync::Arc<Model> {
    let model = build(&layers(
        "Encoder",
        json!({ "custom_layers": vec!["f"; depth], "ff_mult": 1, "layer_dropout": drop }),
    ));
    for i in 0..depth {
        fill(&model, &format!("layers.{i}.1.ff.3.weight"), 0.0);
        fill(&model, &format!("layers.{i}.1.ff.3.bias"), 1.0);
    }
    model
}

#[test]
fn whole_layers_are_skipped_without_scaling() {
    let (depth, calls) = (20, 200);
    let model = counting(depth, json!(P));
    let zero = Tensor::constant(float(&[0.0; 32], &[1, 2, 16]));
    let mut ran = 0.0;
    for number in 0..calls {
        let y = values(&forward_numbered(&model, &zero, number));
        assert!(y.iter().all(|v| *v == y[0]), "all rows skip the same layers");
        ran += y[0];
    }
    let total = depth * calls as usize;
    share_is(1.0 - ran / total as f64, P, total);
}

#[test]
fn each_layer_has_its_own_probability_and_skipped_ones_leave_no_intermediates() {
    let zero = Tensor::constant(float(&[0.0; 32], &[1, 2, 16]));
    assert_eq!(values(&forward(&counting(3, json!([1.0, 0.0, 1.0])), &zero))[0], 1.0);
    let model = build(&layers("Encoder", json!({ "layer_dropout": [1.0, 0.0, 0.0, 1.0] })));
    let named = || json!({ "return_hiddens": true });
    assert_eq!(
        field(forward_with(&model, std::slice::from_ref(&zero), named()).unwrap(), "hiddens").len(),
        1
    );
    assert_eq!(
        field(
            forward_with(&model, std::slice::from_ref(&zero), named()).unwrap(),
            "attn_intermediates"
        )
        .len(),
        1
    );
    model.train(false);
    assert_eq!(field(forward_with(&model, &[zero], named()).unwrap(), "hiddens").len(), 2);
}

#[test]
fn the_number_of_the_call_alone_decides_what_is_dropped() {
    let all = json!({ "attn_dropout": P, "ff_dropout": P, "layer_dropout": P });
    let (model, twin) = (
        build(&gpt(all.clone(), json!({ "emb_dropout": P }))),
        build(&gpt(all, json!({ "emb_dropout": P }))),
    );
    let x = tokens(2, 12, 1);
    let first = values(&forward_numbered(&model, &x, 1));
    assert_ne!(first, values(&forward_numbered(&model, &x, 2)));
    assert_eq!(first, values(&forward_numbered(&model, &x, 1)));
    assert_eq!(first, values(&forward_numbered(&twin, &x, 1)));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (model, x) = (model.clone(), x.clone());
            std::thread::spawn(move || values(&forward_numbered(&model, &x, 1)))
        })
        .collect();
    assert!(threads.into_iter().all(|t| t.join().unwrap() == first));
}

#[test]
fn a_probability_of_one_drops_everything_and_stays_finite() {
    let x = normal(&[2, 4, 16], 1);
    let model = build(&layers("Encoder", json!({ "attn_dropout": 1.0, "ff_dropout": 1.0 })));
    let y = values(&forward(&model, &x));
    assert!(
        y.iter().all(|v| v.is_finite()) && y != values(&x),
        "the last bias of each feed-forward is left"
    );
}
