//! Value residuals, sub-layers that run several times, and dropout of what a branch adds.

use crate::common::{
    autoregressive, build, call_numbered, close, copy_weights, fill, forward, forward_numbered,
    gpt, layers, normal, share_is, taken_gradients, tensor, tokens, values, with,
};
use serde_json::{json, Value as Json};
use std::sync::Arc;
use xt_autograd::ops;
use xt_core::{Model, Tensor};

const ATTENTIONS: [&str; 3] = ["a", "a", "a"];

fn decoder(more: Json) -> Arc<Model> {
    build(&layers("Decoder", more))
}

/// Sets the share of their own values that all attentions but the first take.
fn set_share(model: &Model, bias: f64) {
    for layer in 1..3 {
        let name = format!("layers.{layer}.1.to_value_residual_mix.0");
        fill(model, &format!("{name}.weight"), 0.0);
        fill(model, &format!("{name}.bias"), bias);
    }
}

#[test]
fn add_value_residual_and_learned_value_residual_mix_share_the_values_of_the_first_attention() {
    let options = |more: Json| with(json!({ "custom_layers": ATTENTIONS }), more);
    let mixed = decoder(options(json!({ "add_value_residual": true })));
    let x = normal(&[2, 5, 16], 1);
    // all its own values: as without value residuals
    let plain = decoder(options(json!({})));
    copy_weights(&mixed, &plain);
    set_share(&mixed, 40.0);
    close(&values(&forward(&mixed, &x)), &values(&forward(&plain, &x)), 1e-6);
    // half of them, as where nothing is learned
    let half = decoder(options(
        json!({ "add_value_residual": true, "learned_value_residual_mix": false }),
    ));
    assert!(half.entry("layers.1.1.to_value_residual_mix.0.weight").is_err());
    copy_weights(&mixed, &half);
    set_share(&mixed, 0.0);
    close(&values(&forward(&mixed, &x)), &values(&forward(&half, &x)), 1e-6);
    // none: the projections to values of the others do not count
    set_share(&mixed, -200.0);
    let first_only = values(&forward(&mixed, &x));
    fill(&mixed, "layers.1.1.to_v.weight", 3.0);
    fill(&mixed, "layers.2.1.to_v.weight", 3.0);
    assert_eq!(values(&forward(&mixed, &x)), first_only);
    fill(&mixed, "layers.0.1.to_v.weight", 3.0);
    assert_ne!(values(&forward(&mixed, &x)), first_only);
}

#[test]
fn value_residuals_reach_cross_attention_and_the_gradient() {
    let model = build(&layers(
        "Decoder",
        json!({ "cross_attend": true, "add_value_residual": true, "rotary_pos_emb": true }),
    ));
    let tensors = [normal(&[2, 5, 16], 1), normal(&[2, 3, 16], 2)];
    let y = tensor(
        crate::common::forward_with(&model, &tensors, json!({ "context": { "$tensor": 1 } }))
            .unwrap(),
    );
    ops::sum(&ops::square(&y).unwrap(), None, false).unwrap().backward(false, &|| false).unwrap();
    let gradients = taken_gradients(&model);
    assert!(gradients.iter().any(|(name, _)| name.contains("to_value_residual_mix")));
    assert_eq!(
        gradients.len(),
        model.entries().iter().filter(|e| !e.name.contains("freq")).count()
    );
}

/// The tokens that a model chooses, with and without kept keys and values.
fn generated(model: &Model, kept: bool) -> Vec<f64> {
    let named = json!({ "temperature": 0.0, "cache_kv": kept });
    let args = json!([{ "$tensor": 0 }, 8, named]);
    values(&tensor(call_numbered(model, "generate", args, &[tokens(2, 4, 1)], 1).unwrap()))
}

#[test]
fn generation_keeps_keys_and_mixed_values() {
    for options in [
        json!({ "add_value_residual": true, "depth": 3, "rotary_pos_emb": true }),
        json!({ "add_value_residual": true, "attn_kv_heads": 1, "learned_value_residual_mix": false }),
        json!({ "weight_tie_layers": true, "depth": 3, "shift_tokens": 1 }),
        json!({ "layers_execute_order": [0, 1, 2, 3, 2, 3], "add_value_residual": true }),
        json!({ "parallel_block": true, "rotary_pos_emb": true, "rotary_values": false }),
    ] {
        let model = build(&autoregressive(gpt(options.clone(), json!({})), json!({})));
        assert_eq!(generated(&model, true), generated(&model, false), "{options}");
    }
}

/// A model that runs its sub-layers several times, and one with copies of them.
fn assert_runs(own: Json, copies: Json, sources: &[usize]) {
    let (model, plain) = (decoder(own), decoder(copies));
    for entry in plain.entries() {
        let Some(rest) = entry.name.strip_prefix("layers.") else { continue };
        let (index, rest) = rest.split_once('.').unwrap();
        let source = format!("layers.{}.{rest}", sources[index.parse::<usize>().unwrap()]);
        let values = model.entry(&source).unwrap().param.values().unwrap();
        entry.param.leaf().set(values).unwrap();
    }
    let x = normal(&[2, 5, 16], 1);
    let gradients = |model: &Model| {
        let y = forward(model, &x);
        let loss = ops::sum(&ops::square(&y).unwrap(), None, false).unwrap();
        loss.backward(false, &|| false).unwrap();
        (values(&y), taken_gradients(model))
    };
    let ((got, own), (want, parts)) = (gradients(&model), gradients(&plain));
    close(&got, &want, 1e-5);
    for (name, gradient) in own {
        let Some(rest) = name.strip_prefix("layers.") else { continue };
        let (index, rest) = rest.split_once('.').unwrap();
        let mut sum = vec![0.0; gradient.len()];
        for (run, source) in sources.iter().enumerate() {
            let part = parts.iter().find(|(name, _)| *name == format!("layers.{run}.{rest}"));
            if let (true, Some((_, part))) = (source.to_string() == index, part) {
                sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
            }
        }
        close(&gradient, &sum, 1e-4);
    }
}

#[test]
fn weight_tie_layers_and_layers_execute_order_run_the_same_weights_again() {
    assert_runs(
        json!({ "weight_tie_layers": true, "depth": 3 }),
        json!({ "depth": 3 }),
        &[0, 1, 0, 1, 0, 1],
    );
    assert_runs(
        json!({ "layers_execute_order": [2, 3, 0, 1, 2, 3], "depth": 2, "rotary_pos_emb": true }),
        json!({ "depth": 3, "rotary_pos_emb": true }),
        &[2, 3, 0, 1, 2, 3],
    );
}

#[test]
fn the_last_post_norm_of_layers_that_run_again_is_their_own() {
    let names = |options: Json| {
        let model = build(&gpt(with(json!({ "pre_norm": false }), options), json!({})));
        let all = model.entries().iter().map(|entry| entry.name.clone());
        all.filter(|name| name.contains("norm") || name.contains(".0.2.")).collect::<Vec<_>>()
    };
    let tied = names(json!({ "weight_tie_layers": true, "norm_bias": false }));
    assert_eq!(tied, ["attn_layers.layers.0.0.2.weight", "attn_layers.layers.1.0.2.weight"]);
    let plain = names(json!({ "depth": 1, "norm_bias": false }));
    assert_eq!(plain, ["attn_layers.layers.0.0.2.weight", "norm.weight"]);
}

#[test]
fn attn_sublayer_dropout_and_ff_sublayer_dropout_drop_what_a_branch_adds() {
    for (kind, option) in [("a", "attn_sublayer_dropout"), ("f", "ff_sublayer_dropout")] {
        let mut options = json!({ "custom_layers": [kind] });
        options[option] = json!(0.3);
        let (model, x) = (decoder(options), normal(&[8, 12, 16], 1));
        let branch = |y: &Tensor| values(&ops::sub(y, &x).unwrap());
        let dropped = branch(&forward_numbered(&model, &x, 1));
        model.train(false);
        let whole = branch(&forward(&model, &x));
        for (d, w) in dropped.iter().zip(&whole) {
            assert!(d.abs() < 1e-6 || (d - w / 0.7).abs() < 1e-5, "{d} of {w}");
        }
        let none = dropped.iter().filter(|d| d.abs() < 1e-6).count();
        share_is(none as f64 / dropped.len() as f64, 0.3, dropped.len());
    }
}
