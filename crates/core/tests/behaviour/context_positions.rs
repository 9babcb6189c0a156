//! `context_pos`: rotary positions in cross attention.

use crate::common::{build, close, forward_with, ids, layers, normal, tensor, values, with};
use serde_json::{json, Value as Json};
use std::sync::Arc;
use xt_core::{Model, Tensor};

const DIM: usize = 16;

#[test]
fn context_pos_rotates_the_queries_and_keys_of_cross_attention() {
    let options = json!({ "rotary_pos_emb": true, "cross_attend": true, "only_cross": false });
    let model = build(&layers("Decoder", options));
    let (x, context) = (normal(&[2, 4, DIM], 1), normal(&[2, 3, DIM], 2));
    let run = |positions: Option<(&[i64], &[usize])>| {
        let mut all = vec![x.clone(), context.clone()];
        let mut named = json!({ "context": { "$tensor": 1 } });
        if let Some((pos, dims)) = positions {
            all.push(ids(pos, dims));
            named["context_pos"] = json!({ "$tensor": 2 });
        }
        values(&tensor(forward_with(&model, &all, named).unwrap()))
    };
    let (plain, near) = (run(None), run(Some((&[0, 1, 2], &[3]))));
    assert!(plain != near);
    close(&run(Some((&[0, 1, 2, 0, 1, 2], &[2, 3]))), &near, 1e-6);
    assert!(run(Some((&[5, 1, 2], &[3]))) != near);
}

/// The output for four positions and three of the context, both from `start` on.
fn from(model: &Model, start: i64, more: i64) -> Vec<f64> {
    let places = |n: i64, more: i64| {
        ids(&(0..n).map(|place| start + place + more).collect::<Vec<_>>(), &[n as usize])
    };
    let all = [normal(&[2, 4, DIM], 1), normal(&[2, 3, DIM], 2), places(4, 0), places(3, more)];
    let mut named = json!({ "context": { "$tensor": 1 }, "context_pos": { "$tensor": 3 } });
    named["pos"] = json!({ "$tensor": 2 });
    values(&tensor(forward_with(model, &all, named).unwrap()))
}

#[test]
fn the_distance_between_query_and_key_counts_whatever_the_heads_are() {
    let given = json!({ "rotary_pos_emb": true, "rotary_given_pos": true, "rotary_values": false });
    let decoder = |more: Json| {
        let cross = json!({ "depth": 2, "cross_attend": true });
        build(&layers("Decoder", with(with(given.clone(), cross), more)))
    };
    for model in [
        decoder(json!({ "attn_dim_head": [16, 8] })),
        decoder(json!({ "attn_dim_head": [8, 16], "rotary_base": [1e4, 100.0] })),
        decoder(json!({ "rotary_layers": [false, true] })),
        decoder(json!({ "custom_layers": ["c", "a", "c", "f", "c"] })),
        build(&layers("CrossAttender", with(given.clone(), json!({ "depth": 2 })))),
    ] {
        let near = from(&model, 0, 0);
        close(&from(&model, 5, 0), &near, 1e-5);
        assert!(from(&model, 0, 3) != near);
    }
}

/// In training each cross attention drops a share of the context, and its positions with it.
#[test]
fn positions_of_a_context_go_with_dropped_tokens() {
    let given = json!({ "rotary_pos_emb": true, "rotary_given_pos": true, "rotary_values": false });
    let dropping = json!({ "cross_attend": true, "cross_attn_tokens_dropout": 0.2, "depth": 2 });
    let model = build(&layers("Decoder", with(given, dropping)));
    let run = |pos: [i64; 3]| {
        let all = [normal(&[2, 4, DIM], 1), normal(&[2, 3, DIM], 2), ids(&pos, &[3])];
        let named = json!({ "context": { "$tensor": 1 }, "context_pos": { "$tensor": 2 } });
        values(&tensor(forward_with(&model, &all, named).unwrap()))
    };
    assert!(run([5; 3]) != run([1; 3]));
    assert_eq!(run([5; 3]), run([5; 3]));
}

fn message(model: &Arc<Model>, tensors: &[Tensor], named: Json) -> String {
    forward_with(model, tensors, named).err().expect("an error").to_string()
}

#[test]
fn positions_of_a_context_that_cannot_act_are_refused() {
    let rotary = |more: Json| {
        let cross = json!({ "rotary_pos_emb": true, "cross_attend": true });
        build(&layers("Decoder", with(cross, more)))
    };
    let x = normal(&[1, 4, DIM], 1);
    let both = [x.clone(), ids(&[0, 1, 2, 3], &[4])];
    let named = json!({ "context": { "$tensor": 0 }, "context_pos": { "$tensor": 1 } });
    let scaling = json!({
        "rope_type": "dynamic", "factor": 2.0, "original_max_position_embeddings": 4,
    });
    for by_length in
        [json!({ "rotary_xpos": true, "attn_dim_head": 16 }), json!({ "rotary_scaling": scaling })]
    {
        let text = message(&rotary(by_length), &both, named.clone());
        assert!(text.contains("context_pos does not go with `rotary_xpos` and scalings"), "{text}");
    }
    let longer = [x.clone(), ids(&[0, 1, 2, 3, 4], &[5])];
    let text = message(&rotary(json!({})), &longer, named.clone());
    assert!(text.contains("context_pos must be i64 of shape (4) or (1, 4)"), "{text}");
    let attender = build(&layers("CrossAttender", json!({ "rotary_pos_emb": true })));
    let text = message(&attender, &both, json!({ "context": { "$tensor": 0 } }));
    assert!(text.contains("need context_pos"), "{text}");
    let self_alone = build(&layers("Decoder", json!({ "rotary_pos_emb": true })));
    let text = message(&self_alone, &both, json!({ "context_pos": { "$tensor": 1 } }));
    assert!(text.contains("context_pos needs a context"), "{text}");
}
