//! Positional options that raise in the Python package and work here as their names and papers say.

use crate::common::{
    build, call_numbered, close, forward, forward_with, layers, normal, tensor, values,
};
use serde_json::{json, Value as Json};
use std::sync::Arc;
use xt_autograd::ops;
use xt_core::{Model, Tensor, Value};

/// One attention without norms: memories are not normed, so without norms they equal the sequence.
fn attention(more: Json) -> Arc<Model> {
    let bare = json!({ "custom_layers": ["a"], "pre_norm": false });
    build(&layers("Decoder", crate::common::with(bare, more)))
}

#[test]
fn a_sequence_with_mems_equals_the_end_of_the_whole_sequence() {
    let kinds = [
        json!({}),
        json!({ "rotary_pos_emb": true, "attn_dim_head": 40 }),
        json!({ "rotary_xpos": true, "attn_dim_head": 40, "rotary_xpos_scale_base": 16 }),
        json!({ "rotary_xpos": true, "attn_dim_head": 8 }),
        json!({ "dynamic_pos_bias": true }),
        json!({ "dynamic_pos_bias": true, "dynamic_pos_bias_log_distance": true, "dynamic_pos_bias_norm": true }),
        json!({ "rel_pos_bias": true, "rel_pos_num_buckets": 6, "rel_pos_max_distance": 8 }),
        json!({ "alibi_pos_bias": true }),
        json!({ "alibi_pos_bias": true, "alibi_learned": true, "alibi_num_heads": 1 }),
        json!({ "attn_max_attend_past": 3 }),
    ];
    let x = normal(&[2, 10, 16], 1);
    let part = |from, count| ops::narrow(&x, 1, from, count).unwrap();
    for kind in kinds {
        let model = attention(kind.clone());
        let whole = forward(&model, &x);
        for mems in [1, 4, 9] {
            let named = json!({ "mems": [{ "$tensor": 1 }] });
            let got = tensor(
                forward_with(&model, &[part(mems, 10 - mems), part(0, mems)], named).unwrap(),
            );
            let want = ops::narrow(&whole, 1, mems, 10 - mems).unwrap();
            close(&values(&got), &values(&want), 1e-5);
        }
        // the memories have an effect
        assert_ne!(
            values(&forward(&model, &part(4, 6))),
            values(&ops::narrow(&whole, 1, 4, 6).unwrap()),
            "{kind}"
        );
    }
}

/// The scores of the single attention, (heads · i · j), for a sequence of equal vectors.
fn scores(model: &Model, n: usize) -> Vec<f64> {
    let vector = normal(&[1, 1, 16], 5);
    let x = ops::broadcast_to(&vector, &[1, n, 16]).unwrap();
    let args = json!([{ "$tensor": 0 }, { "return_hiddens": true }]);
    let Value::List(mut pair) = call_numbered(model, "forward", args, &[x], 1).unwrap() else {
        panic!("no pair")
    };
    let Some(Value::Fields(mut fields)) = pair.pop() else { panic!("no intermediates") };
    let Some((_, Value::List(mut maps))) = fields.pop() else { panic!("no maps") };
    let Some(Value::Fields(mut maps)) = maps.pop() else { panic!("no map") };
    values(&tensor(maps.swap_remove(0).1))
}

#[test]
fn rotary_pos_emb_with_narrow_heads_gives_scores_by_distance() {
    const N: usize = 7;
    for (width, more) in [
        (4, json!({})),
        (8, json!({})),
        (9, json!({})),
        (16, json!({})),
        (8, json!({ "rotary_xpos": true })),
    ] {
        let options = json!({ "rotary_pos_emb": true, "attn_dim_head": width, "heads": 1 });
        let got = scores(&attention(crate::common::with(options, more)), N);
        for i in 1..N {
            for j in 1..N {
                close(&[got[i * N + j]], &[got[(i - 1) * N + j - 1]], 1e-4);
            }
        }
        assert!((got[1] - got[0]).abs() > 1e-3, "heads of {width} are not rotated");
    }
}

#[test]
fn rotary_emb_dim_is_the_number_of_rotated_features_of_a_head() {
    // at least 32, at most the whole head; half of it by default
    for (given, head, rotated) in
        [(json!(null), 96, 48), (json!(40), 96, 40), (json!(8), 96, 32), (json!(200), 96, 96)]
    {
        let options = json!({ "rotary_pos_emb": true, "rotary_emb_dim": given, "attn_dim_head": head, "heads": 1 });
        let model = attention(options);
        assert_eq!(
            model.entry("rotary_pos_emb.inv_freq").unwrap().param.leaf().shape(),
            [rotated / 2]
        );
        // with only the unrotated features, all distances have the same score
        let left = |from: usize| {
            (0..head * 16).map(|k| if k / 16 >= from { 0.1 } else { 0.0 }).collect::<Vec<_>>()
        };
        for (from, alike) in [(rotated, true), (rotated / 2, false)] {
            let weights = left(from);
            ["to_q", "to_k"].iter().for_each(|name| {
                crate::common::set(&model, &format!("layers.0.1.{name}.weight"), &weights)
            });
            let got = scores(&model, 5);
            assert_eq!(
                got.iter().all(|s| (s - got[0]).abs() < 1e-6),
                alike,
                "{given}, from {from}"
            );
        }
    }
}

#[test]
fn alibi_learned_with_alibi_num_heads_starts_as_the_fixed_slopes() {
    let model = |learned: bool| {
        let options = json!({ "heads": 4, "alibi_pos_bias": true, "alibi_num_heads": 2, "alibi_learned": learned });
        build(&layers("Decoder", options))
    };
    let (learned, fixed) = (model(true), model(false));
    let state: Vec<_> =
        learned.entries().iter().map(|e| (e.name.clone(), e.param.values().unwrap())).collect();
    fixed.load_state(&state, false).unwrap();
    let x = normal(&[2, 6, 16], 1);
    let y = forward(&learned, &x);
    close(&values(&y), &values(&forward(&fixed, &x)), 1e-6);
    ops::sum(&ops::mul(&y, &y).unwrap(), None, false).unwrap().backward(false, &|| false).unwrap();
    let slopes = learned.entry("rel_pos.learned_logslopes").unwrap().param.leaf().clone();
    assert_eq!(slopes.shape(), [2, 1, 1]);
    assert!(crate::common::array_values(&slopes.grad().unwrap().unwrap())
        .iter()
        .all(|g| *g != 0.0));
}

/// The output of a stack whose learned slopes are all set to `log`.
fn with_slopes(model: &Model, x: &Tensor, log: f64) -> Vec<f64> {
    crate::common::fill(model, "rel_pos.learned_logslopes", log);
    values(&forward(model, x))
}

#[test]
fn alibi_learned_slopes_affect_their_heads_only() {
    let options = json!({ "custom_layers": ["a"], "heads": 2, "alibi_pos_bias": true, "alibi_learned": true, "alibi_num_heads": 1 });
    let model = build(&layers("Decoder", options));
    let x = normal(&[1, 6, 16], 1);
    assert_ne!(with_slopes(&model, &x, 0.0), with_slopes(&model, &x, 2.0));
    // with the output of the first head removed, its slope has no effect
    let to_out: Vec<f64> =
        (0..16 * 16).map(|k| if k % 16 < 8 { 0.0 } else { 0.1 * (k % 7) as f64 }).collect();
    crate::common::set(&model, "layers.0.1.to_out.weight", &to_out);
    assert_eq!(with_slopes(&model, &x, 0.0), with_slopes(&model, &x, 2.0));
}
