//! Options of blocks with one value for each layer.

use crate::common::{build, close, forward, layers, normal, values, with};
use serde_json::{json, Value as Json};
use std::sync::Arc;
use xt_core::{Model, Tensor};
use xt_options::layers::LayersOptions;
use xt_options::{parse, Options};

/// The output of the first or second half of a decoder of two blocks, as a decoder of its own.
fn half(model: &Model, block: usize, options: Json, x: &Tensor) -> Tensor {
    let alone: Arc<Model> = build(&layers("Decoder", with(json!({ "depth": 1 }), options)));
    for entry in alone.entries().iter().filter(|entry| !entry.name.starts_with("rotary")) {
        let name = (0..2).fold(entry.name.clone(), |name, index| {
            match name.strip_prefix(&format!("layers.{index}.")) {
                Some(rest) => format!("layers/{}.{rest}", 2 * block + index),
                None => name,
            }
        });
        let values = model.entry(&name.replace('/', ".")).unwrap().param.values().unwrap();
        entry.param.leaf().set(values).unwrap();
    }
    forward(&alone, x)
}

#[test]
fn each_layer_has_its_own_values() {
    let each = [
        json!({ "attn_dim_head": 8, "attn_max_attend_past": 1, "attn_kv_heads": 1, "ff_mult": 2 }),
        json!({ "attn_dim_head": 4, "attn_max_attend_past": null, "attn_kv_heads": null,
                "ff_mult": 3, "ff_glu": true }),
    ];
    let both = json!({
        "attn_dim_head": [8, 4], "attn_max_attend_past": [1, null], "attn_kv_heads": [1, null],
        "ff_mult": [2, 3], "ff_glu": [false, true], "rotary_pos_emb": true,
    });
    let (model, x) = (build(&layers("Decoder", both)), normal(&[2, 6, 16], 4));
    let rotary = json!({ "rotary_pos_emb": true });
    let middle = half(&model, 0, with(rotary.clone(), each[0].clone()), &x);
    let want = half(&model, 1, with(rotary, each[1].clone()), &middle);
    close(&values(&forward(&model, &x)), &values(&want), 1e-6);
}

#[test]
fn arrays_that_do_not_fit_are_problems() {
    let problem = |options: Json| {
        let all = with(json!({ "dim": 16, "depth": 2 }), options);
        parse::<LayersOptions>(&all).unwrap_err().0.first().unwrap().to_string()
    };
    let few = problem(json!({ "attn_dim_head": [8] }));
    assert_eq!(few, "attn_dim_head: has 1 entries, but there are 2 self attentions");
    let two = problem(json!({ "ff_mult": [1, 2], "ff_glu": [true] }));
    assert_eq!(two, "ff_glu: has 1 entries, but `ff_mult` has 2");
    assert_eq!(problem(json!({ "ff_glu": [] })), "ff_glu: must not be empty");
    let wrong = problem(json!({ "ff_glu": [true, 3] }));
    assert_eq!(wrong, "ff_glu: got 3; allowed: true or false");
    let conflict = problem(json!({ "attn_qk_norm": [true, false], "attn_qk_rmsnorm": true }));
    assert!(conflict.starts_with("attn_qk_rmsnorm: does not go with"), "{conflict}");
}

#[test]
fn options_are_written_as_they_are_read() {
    let options = json!({ "dim": 16, "depth": 2, "ff_mult": [1.0, 2.0], "attn_dim_head": [8, 8] });
    let read = parse::<LayersOptions>(&options).unwrap();
    let written = read.to_json();
    assert_eq!(written["ff_mult"], json!([1.0, 2.0]));
    assert_eq!(written["attn_dim_head"], json!(8));
    assert_eq!(parse::<LayersOptions>(&written).unwrap().to_json(), written);
}
