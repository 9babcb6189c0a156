//! Names and shapes of the state dict: those of the Python package, in the same order.

use crate::common::{autoregressive, build, gpt, layers, transformer};
use serde_json::json;
use xt_core::Model;

fn listed(model: &Model) -> Vec<String> {
    model.entries().iter().map(|e| format!("{} {:?}", e.name, e.param.leaf().shape())).collect()
}

#[test]
fn a_plain_model() {
    let options = json!({ "depth": 1 });
    let want = "net.token_emb.emb.weight [17, 16]
        net.pos_emb.emb.weight [12, 16]
        net.attn_layers.layers.0.0.0.weight [16]
        net.attn_layers.layers.0.0.0.bias [16]
        net.attn_layers.layers.0.1.to_q.weight [16, 16]
        net.attn_layers.layers.0.1.to_k.weight [16, 16]
        net.attn_layers.layers.0.1.to_v.weight [16, 16]
        net.attn_layers.layers.0.1.to_out.weight [16, 16]
        net.attn_layers.layers.1.0.0.weight [16]
        net.attn_layers.layers.1.0.0.bias [16]
        net.attn_layers.layers.1.1.ff.0.0.weight [64, 16]
        net.attn_layers.layers.1.1.ff.0.0.bias [64]
        net.attn_layers.layers.1.1.ff.3.weight [16, 64]
        net.attn_layers.layers.1.1.ff.3.bias [16]
        net.norm.weight [16]
        net.norm.bias [16]
        net.to_logits.weight [17, 16]
        net.to_logits.bias [17]";
    let model = build(&autoregressive(gpt(options, json!({})), json!({})));
    assert_eq!(listed(&model), want.lines().map(str::trim).collect::<Vec<_>>());
}

#[test]
fn every_option_that_changes_names() {
    let options = json!({
        "custom_layers": ["a", "c", "f"], "cross_attend": true, "pre_norm": false, "ff_no_bias": true, "ff_mult": 1.5,
        "attn_dim_head": 6, "heads": 3,
    });
    let more = json!({ "emb_dim": 10, "post_emb_norm": true, "logits_dim": 5 });
    let want = "token_emb.emb.weight [17, 10]
        pos_emb.emb.weight [12, 10]
        post_emb_norm.weight [10]
        post_emb_norm.bias [10]
        project_emb.weight [16, 10]
        project_emb.bias [16]
        attn_layers.layers.0.0.2.weight [16]
        attn_layers.layers.0.0.2.bias [16]
        attn_layers.layers.0.1.to_q.weight [18, 16]
        attn_layers.layers.0.1.to_k.weight [18, 16]
        attn_layers.layers.0.1.to_v.weight [18, 16]
        attn_layers.layers.0.1.to_out.weight [16, 18]
        attn_layers.layers.1.0.2.weight [16]
        attn_layers.layers.1.0.2.bias [16]
        attn_layers.layers.1.1.to_q.weight [18, 16]
        attn_layers.layers.1.1.to_k.weight [18, 16]
        attn_layers.layers.1.1.to_v.weight [18, 16]
        attn_layers.layers.1.1.to_out.weight [16, 18]
        attn_layers.layers.2.1.ff.0.0.weight [24, 16]
        attn_layers.layers.2.1.ff.3.weight [16, 24]
        norm.weight [16]
        norm.bias [16]
        to_logits.weight [5, 16]
        to_logits.bias [5]";
    assert_eq!(
        listed(&build(&gpt(options, more))),
        want.lines().map(str::trim).collect::<Vec<_>>()
    );
}

#[test]
fn names_of_layers_alone_start_with_layers() {
    let model = build(&layers("Encoder", json!({})));
    assert!(model.entries().iter().all(|e| e.name.starts_with("layers.")));
    assert_eq!(model.entries().len(), 2 * (6 + 6));
}

#[test]
fn rotary_positions_add_a_buffer_and_remove_the_position_table() {
    let model = build(&gpt(json!({ "rotary_pos_emb": true, "attn_dim_head": 40 }), json!({})));
    let buffers: Vec<String> = model.describe()["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|e| e["kind"] == "buffer")
        .map(|e| format!("{} {}", e["name"].as_str().unwrap(), e["shape"]))
        .collect();
    assert_eq!(buffers, ["attn_layers.rotary_pos_emb.inv_freq [16]"]);
    assert!(model.entry("pos_emb.emb.weight").is_err());
    assert!(build(&gpt(json!({}), json!({ "use_abs_pos_emb": false })))
        .entry("pos_emb.emb.weight")
        .is_err());
}

#[test]
fn a_wrapper_shares_the_parameters_of_the_layers_it_wraps() {
    use std::sync::Arc;
    let child = build(&layers("Decoder", json!({})));
    let options = json!({ "num_tokens": 17, "max_seq_len": 12, "attn_layers": { "$module": 0 } });
    let rng = xt_core::Rng::new(1, 9);
    let model =
        Model::build("TransformerWrapper", &options, std::slice::from_ref(&child), rng).unwrap();
    for entry in child.entries() {
        let shared = model.entry(&format!("attn_layers.{}", entry.name)).unwrap();
        assert!(Arc::ptr_eq(shared.param.leaf(), entry.param.leaf()));
    }
    assert!(model.tied().is_empty());
    assert_eq!(model.options()["attn_layers"], child.spec());
    assert_eq!(
        transformer(child.spec(), json!({})),
        json!({ "class": "TransformerWrapper", "options": model.options() })
    );
}
