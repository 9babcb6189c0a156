//! Gradient checkpointing: the same loss and gradients as without it, random numbers included.

use crate::common::{
    autoregressive, build, call_numbered, close, forward_with, gpt, ids, layers, normal, spec,
    taken_gradients, tensor, tokens, values, with,
};
use serde_json::{json, Value as Json};
use std::cell::Cell;
use xt_autograd::{ops, Error};
use xt_core::{Model, Tensor};

/// The sum of squares of what `forward` gives.
fn loss_of(model: &Model, tensors: &[Tensor], named: &Json) -> Tensor {
    let y = tensor(forward_with(model, tensors, named.clone()).unwrap());
    ops::sum(&ops::mul(&y, &y).unwrap(), None, false).unwrap()
}

/// The loss, and all gradients of it.
fn run(spec: &Json, tensors: &[Tensor], named: &Json) -> (f64, Vec<(String, Vec<f64>)>) {
    let model = build(spec);
    model.train(true);
    let loss = loss_of(&model, tensors, named);
    loss.backward(false, &|| false).unwrap();
    (values(&loss)[0], taken_gradients(&model))
}

/// The number of nodes that a backward pass goes through, those of checkpointed parts included: it
/// asks before each whether it is aborted.
fn nodes(loss: &Tensor) -> usize {
    let asked = Cell::new(0);
    let count = || {
        asked.set(asked.get() + 1);
        false
    };
    loss.backward(false, &count).unwrap();
    asked.get()
}

/// Compares a model with its twin; `of` makes both from the options that differ.
fn assert_same(of: impl Fn(Json) -> Json, tensors: &[Tensor], named: &Json) {
    let (plain, want) = run(&of(json!({})), tensors, named);
    let (loss, got) = run(&of(json!({ "gradient_checkpointing": true })), tensors, named);
    assert_eq!(loss, plain);
    assert!(!want.is_empty());
    for ((name, got), (other, want)) in got.iter().zip(&want) {
        assert_eq!(name, other);
        close(got, want, 1e-5);
    }
    assert_eq!(got.len(), want.len());
}

#[test]
fn gradient_checkpointing_keeps_the_gradients() {
    let all = [
        json!({}),
        json!({ "attn_dropout": 0.2, "ff_dropout": 0.2, "layer_dropout": 0.3 }),
        json!({ "rotary_pos_emb": true, "shift_tokens": 1, "macaron": true }),
        json!({ "alibi_pos_bias": true, "alibi_learned": true, "attn_num_mem_kv": 2 }),
        json!({ "add_value_residual": true, "depth": 3, "attn_sublayer_dropout": 0.2 }),
        json!({ "weight_tie_layers": true, "parallel_block": true, "ff_sublayer_dropout": 0.2 }),
        json!({ "rel_pos_bias": true, "attn_talking_heads": true, "gate_residual": true }),
        json!({ "dynamic_pos_bias": true, "attn_qk_norm": true, "ff_glu": true }),
        // scores are handed on
        json!({ "residual_attn": true }),
    ];
    for more in all {
        let of = |own: Json| gpt(with(more.clone(), own), json!({}));
        assert_same(of, &[tokens(2, 9, 1)], &json!({}));
    }
    let of = |own: Json| autoregressive(gpt(own, json!({})), json!({ "mask_prob": 0.2 }));
    assert_same(of, &[tokens(2, 9, 1)], &json!({}));
}

#[test]
fn gradient_checkpointing_goes_with_documents_masks_contexts_and_memories() {
    let x = tokens(2, 6, 1);
    let documents = ids(&[1, 1, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2], &[2, 6]);
    let rotary = |own: Json| gpt(with(json!({ "rotary_pos_emb": true }), own), json!({}));
    let named = json!({ "segment_ids": { "$tensor": 1 } });
    assert_same(rotary, &[x.clone(), documents], &named);
    let there = crate::common::mask(&[1, 1, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0], &[2, 6]);
    assert_same(rotary, &[x.clone(), there], &json!({ "mask": { "$tensor": 1 } }));
    let mems = [x.clone(), normal(&[2, 3, 16], 4), normal(&[2, 3, 16], 5)];
    let named = json!({ "mems": [{ "$tensor": 1 }, { "$tensor": 2 }] });
    assert_same(rotary, &mems, &named);
    let cross = |own: Json| gpt(with(json!({ "cross_attend": true }), own), json!({}));
    let named = json!({ "context": { "$tensor": 1 } });
    assert_same(cross, &[x, normal(&[2, 4, 16], 4)], &named);
}

#[test]
fn gradient_checkpointing_reaches_the_encoder_through_the_context() {
    let of = |own: Json| {
        let half = |prefix: &str| {
            let mut options = json!({
                "num_tokens": 17, "depth": 2, "heads": 2, "max_seq_len": 12, "attn_dim_head": 8,
            });
            options.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
            let named = options.as_object().unwrap().iter();
            named
                .map(|(name, value)| (format!("{prefix}{name}"), value.clone()))
                .collect::<Vec<_>>()
        };
        let options =
            half("enc_").into_iter().chain(half("dec_")).collect::<serde_json::Map<_, _>>();
        spec("XTransformer", with(json!({ "dim": 16 }), Json::Object(options)))
    };
    let run = |own: Json| {
        let model = build(&of(own));
        let args = json!([{ "$tensor": 0 }, { "$tensor": 1 }]);
        let tensors = [tokens(2, 7, 1), tokens(2, 5, 2)];
        let loss = tensor(call_numbered(&model, "forward", args, &tensors, 1).unwrap());
        loss.backward(false, &|| false).unwrap();
        (values(&loss), taken_gradients(&model))
    };
    let (plain, want) = run(json!({}));
    let (loss, got) = run(json!({ "gradient_checkpointing": true }));
    assert_eq!((loss, got.len()), (plain, want.len()));
    for ((name, got), (_, want)) in got.iter().zip(&want) {
        assert!(name.starts_with("encoder") || name.starts_with("decoder"));
        close(got, want, 1e-5);
    }
}

#[test]
fn gradient_checkpointing_notices_changed_weights_and_keeps_retained_graphs() {
    let options = json!({ "gradient_checkpointing": true });
    let model = build(&layers("Decoder", options));
    let x = [normal(&[1, 4, 16], 3)];
    let loss = || loss_of(&model, &x, &json!({}));
    let twice = loss();
    twice.backward(true, &|| false).unwrap();
    let once = taken_gradients(&model);
    twice.backward(false, &|| false).unwrap();
    assert_eq!(taken_gradients(&model), once);
    let stale = loss();
    crate::common::fill(&model, "layers.0.1.to_q.weight", 0.1);
    let error = stale.backward(false, &|| false).unwrap_err().to_string();
    assert!(error.contains("has changed since the forward"), "{error}");
}

#[test]
fn gradient_checkpointing_replaces_each_sub_layer_by_one_node_until_the_backward_pass() {
    let count = |more: Json| {
        let model = build(&layers("Decoder", more));
        nodes(&loss_of(&model, &[normal(&[1, 4, 16], 3)], &json!({})))
    };
    let on = json!({ "gradient_checkpointing": true });
    // two blocks of two sub-layers: their own nodes come on top of the nodes that they are made of
    assert_eq!(count(on.clone()), count(json!({})) + 4);
    // attention hands on its scores, and is not checkpointed
    let scores = json!({ "residual_attn": true });
    assert_eq!(count(with(scores.clone(), on)), count(scores) + 2);
}

#[test]
fn gradient_checkpointing_notices_changed_frozen_weights() {
    for checkpointing in [false, true] {
        let options = json!({ "gradient_checkpointing": checkpointing, "rel_pos_bias": true });
        let names = ["layers.1.1.ff.0.0.weight", "rel_pos.relative_attention_bias.weight"];
        for name in names {
            let model = build(&layers("Decoder", options.clone()));
            let x = [normal(&[1, 4, 16], 3)];
            let leaf = model.entry(name).unwrap().param.leaf().clone();
            leaf.set_requires_grad(false);
            let (plain, changed) =
                (loss_of(&model, &x, &json!({})), loss_of(&model, &x, &json!({})));
            plain.backward(false, &|| false).unwrap();
            assert!(leaf.grad().unwrap().is_none());
            let want = taken_gradients(&model);
            crate::common::fill(&model, name, 0.0);
            match changed.backward(false, &|| false) {
                // without checkpointing, the values of the forward pass are still there
                Ok(()) => assert!(!checkpointing && taken_gradients(&model) == want),
                Err(error) => {
                    assert!(checkpointing, "{error}");
                    assert!(matches!(error, Error::StaleParameter { .. }), "{error}");
                    assert!(taken_gradients(&model).is_empty());
                }
            }
        }
    }
}

#[test]
fn gradient_checkpointing_is_aborted_within_a_part() {
    let options = json!({ "gradient_checkpointing": true });
    let model = build(&layers("Decoder", options));
    let loss = || loss_of(&model, &[normal(&[1, 4, 16], 3)], &json!({}));
    let all = nodes(&loss());
    taken_gradients(&model);
    for at in 1..=all {
        let asked = Cell::new(0);
        let aborted = || {
            asked.set(asked.get() + 1);
            asked.get() == at
        };
        let error = loss().backward(false, &aborted).unwrap_err();
        assert!(matches!(error, Error::Aborted) && asked.get() == at, "{error} at {at}");
        assert!(taken_gradients(&model).is_empty());
    }
}
