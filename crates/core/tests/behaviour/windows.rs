//! Generation past `max_seq_len`, and models without one.

use crate::common::{
    autoregressive, build, call_numbered, forward, forward_with, gpt, ids, tensor, tokens, values,
};
use serde_json::{json, Value as Json};
use std::sync::Arc;
use xt_core::{Model, Result, Tensor};

const NEW: usize = 9;

fn model(layers: Json, more: Json) -> Arc<Model> {
    build(&autoregressive(gpt(layers, more), json!({})))
}

fn generate(model: &Model, named: Json) -> Result<Tensor> {
    let args = json!([{ "$tensor": 0 }, NEW, named]);
    call_numbered(model, "generate", args, &[ids(&[3, 1, 4], &[1, 3])], 1).map(tensor)
}

/// The tokens of greedy generation, each from a call with all tokens before it.
fn by_hand(model: &Model) -> Vec<f64> {
    let net = model.child("net").unwrap();
    let mut row = vec![3, 1, 4];
    for _ in 0..NEW {
        let logits = values(&forward(&net, &ids(&row, &[1, row.len()])));
        let last = &logits[logits.len() - 17..];
        row.push((0..17).max_by(|a, b| last[*a].total_cmp(&last[*b])).unwrap() as i64);
    }
    row[3..].iter().map(|token| *token as f64).collect()
}

#[test]
fn restrict_to_max_seq_len_off_shows_the_model_all_tokens() {
    for layers in [
        json!({ "rotary_pos_emb": true }),
        json!({ "alibi_pos_bias": true }),
        json!({ "shift_tokens": 1 }),
    ] {
        let short = json!({ "max_seq_len": 5, "use_abs_pos_emb": false });
        let model = model(layers, short);
        model.train(false);
        let want = by_hand(&model);
        for cache_kv in [true, false] {
            let named = json!({
                "temperature": 0, "cache_kv": cache_kv, "restrict_to_max_seq_len": false,
            });
            assert_eq!(values(&generate(&model, named).unwrap()), want);
        }
    }
    let named = json!({ "temperature": 0, "restrict_to_max_seq_len": false });
    let message = generate(&model(json!({}), json!({})), named).err().unwrap().to_string();
    assert!(message.contains("does not go with learned absolute positions"), "{message}");
}

#[test]
fn max_seq_len_of_0_is_a_model_without_absolute_positions_and_without_a_window() {
    let model = model(json!({ "alibi_pos_bias": true }), json!({ "max_seq_len": 0 }));
    model.train(false);
    assert!(model.entries().iter().all(|entry| !entry.name.contains("pos_emb")));
    assert_eq!(values(&generate(&model, json!({ "temperature": 0 })).unwrap()), by_hand(&model));
    let net = model.child("net").unwrap();
    let x = tokens(1, 40, 2);
    let pos = ids(&(0..40).collect::<Vec<_>>(), &[40]);
    let named = json!({ "pos": { "$tensor": 1 } });
    let given = values(&tensor(forward_with(&net, &[x.clone(), pos], named).unwrap()));
    assert_eq!(given, values(&forward(&net, &x)));
}

#[test]
fn positions_of_a_wrapper_without_any_are_refused() {
    let options = json!({ "max_seq_len": 0, "scaled_sinu_pos_emb": true });
    let message = Model::from_spec(&gpt(json!({}), options), 1).err().unwrap().to_string();
    assert!(message.contains("scaled_sinu_pos_emb: does not go with a `max_seq_len` of 0"));
}

#[test]
fn a_masked_model_needs_a_max_seq_len() {
    let net = gpt(json!({}), json!({ "max_seq_len": 0 }));
    let options = json!({ "net": net, "mask_id": 16 });
    let spec = crate::common::spec("NonAutoregressiveWrapper", options);
    let message = Model::from_spec(&spec, 1).err().unwrap().to_string();
    assert!(message.contains("net: must have a `max_seq_len` above 0"), "{message}");
}
