//! Incompatible options: whatever else is drawn, the error names the option.

use crate::choices;
use crate::draw::{config, some, Options};
use crate::layers::small;
use crate::wrappers::transformer;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{json, Value as Json};
use xt_core::{Error, Model};

/// Incompatible options of a stack, and the path in the error.
fn stack_conflicts() -> Vec<(Json, &'static str)> {
    vec![
        (json!({ "alibi_pos_bias": true, "rel_pos_bias": true }), "alibi_pos_bias"),
        (json!({ "rel_pos_num_buckets": 64, "rel_pos_max_distance": 32 }), "rel_pos_num_buckets"),
        (json!({ "pre_norm": false, "sandwich_norm": true, "deepnorm": false }), "sandwich_norm"),
        (json!({ "deepnorm": true, "scale_residual_constant": 2.0 }), "scale_residual_constant"),
        (
            json!({ "attn_on_attn": true, "zero_init_branch_output": true }),
            "zero_init_branch_output",
        ),
        (json!({ "attn_on_attn": true, "attn_zero_init_output": true }), "attn_zero_init_output"),
        (
            json!({ "attn_shared_kv": true, "attn_dim_head": 8, "attn_value_dim_head": 4 }),
            "attn_value_dim_head",
        ),
        (
            json!({ "attn_num_mem_kv": 2, "attn_dim_head": 8, "attn_value_dim_head": 4 }),
            "attn_value_dim_head",
        ),
        (
            json!({ "attn_qk_norm": true, "attn_dim_head": 8, "attn_qk_norm_groups": 4 }),
            "attn_qk_norm_groups",
        ),
        (
            json!({ "attn_qk_norm": true, "attn_dim_head": 8, "attn_qk_norm_groups": 3 }),
            "attn_qk_norm_groups",
        ),
        (json!({ "rotary_xpos_scale_base": 0.0 }), "rotary_xpos_scale_base"),
        (
            json!({ "sandwich_coef": 9, "par_ratio": null, "custom_layers": null, "weight_tie_layers": false }),
            "sandwich_coef",
        ),
        (json!({ "par_ratio": 1, "custom_layers": null, "weight_tie_layers": false }), "par_ratio"),
        (json!({ "weight_tie_layers": true, "sandwich_coef": 1 }), "weight_tie_layers"),
        (json!({ "alibi_pos_bias": false, "alibi_slopes": [0.5, 0.25] }), "alibi_slopes"),
        (json!({ "alibi_pos_bias": false, "alibi_given_pos": true }), "alibi_given_pos"),
        (
            json!({ "depth_scale_residual": true, "zero_init_branch_output": true }),
            "depth_scale_residual",
        ),
        (json!({ "ff_mult": -1.0 }), "ff_mult"),
        (
            json!({ "ff_dim_out": 7, "custom_layers": ["f"], "shift_tokens": 0, "layer_dropout": 0 }),
            "ff_dim_out",
        ),
        (
            json!({ "shift_tokens": vec![1; 50], "par_ratio": null, "sandwich_coef": null, "custom_layers": null }),
            "shift_tokens",
        ),
        (json!({ "layer_dropout": 1.5 }), "layer_dropout"),
        (json!({ "heads": 0 }), "heads"),
        (json!({ "rotary_pos_embed": true }), "rotary_pos_embed"),
        (json!({ "qk_norm_dim_scale": true }), "qk_norm_dim_scale"),
    ]
}

/// The same for a transformer over tokens.
fn transformer_conflicts() -> Vec<(Json, &'static str)> {
    vec![
        (json!({ "emb_frac_gradient": 0.0 }), "emb_frac_gradient"),
        (json!({ "tie_embedding": true, "emb_dim": 10 }), "tie_embedding"),
        (json!({ "tie_embedding": true, "logits_dim": 20 }), "logits_dim"),
        (json!({ "emb_dropout": -0.1 }), "emb_dropout"),
        (json!({ "max_seq_len": -1 }), "max_seq_len"),
        (json!({ "weight_tie_layers": true }), "weight_tie_layers"),
    ]
}

fn refused(spec: &Json, class: &str, path: &str) {
    match Model::from_spec(spec, 1) {
        Err(Error::Options { class: got, problems }) => {
            assert_eq!(got, class, "{spec}");
            assert!(
                problems.0.iter().any(|p| p.path == path && !p.message.is_empty()),
                "{spec}: {problems}"
            );
        }
        Err(other) => panic!("{spec}: {other}"),
        Ok(_) => panic!("{spec} was accepted"),
    }
}

fn over(mut options: Options, conflict: &Json) -> Options {
    options.extend(conflict.as_object().unwrap().clone());
    options
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn stacks(
        class in select(vec!["Encoder", "Decoder", "CrossAttender"]),
        options in some(choices::stack(), 6),
        (conflict, path) in select(stack_conflicts()),
    ) {
        refused(&json!({ "class": class, "options": small(over(options, &conflict)) }), class, path);
    }

    #[test]
    fn transformers(
        options in some(choices::transformer(), 4),
        (conflict, path) in select(transformer_conflicts()),
    ) {
        let spec = transformer("Decoder", Options::new(), over(options, &conflict));
        refused(&spec, "TransformerWrapper", path);
    }

    #[test]
    fn halves_of_an_x_transformer(
        half in select(vec!["enc_", "dec_"]),
        (conflict, path) in select(stack_conflicts()),
    ) {
        let mut options = json!({ "dim": 16, "enc_num_tokens": 9, "enc_max_seq_len": 9, "dec_num_tokens": 9, "dec_max_seq_len": 9 });
        for (name, value) in [("depth", json!(2)), ("attn_dim_head", json!(8))] {
            ["enc_", "dec_"].iter().for_each(|half| options[format!("{half}{name}")] = value.clone());
        }
        let own = conflict.as_object().unwrap().iter();
        own.for_each(|(name, value)| options[format!("{half}{name}")] = value.clone());
        refused(&json!({ "class": "XTransformer", "options": options }), "XTransformer", &format!("{half}{path}"));
    }
}
