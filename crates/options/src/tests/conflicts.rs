//! Which options conflict, and which can be combined although they seem to conflict.

use super::{layers, paths, problems, read, with, x_transformer};
use crate::{
    attention::*, autoregressive::*, calls::*, generation::*, images::*, layers::*, optimizers::*,
    wrappers::*,
};
use crate::{LayerKind, Options, Problems};
use serde_json::{json, Value};

#[track_caller]
pub fn refused<T: Options>(value: Value, path: &str) {
    assert_eq!(paths::<T>(value.clone()), [path], "{value}");
}

#[track_caller]
fn accepted<T: Options>(value: Value) {
    assert_eq!(problems::<T>(value.clone()), [], "{value}");
}

#[test]
fn layers_refuse_what_python_refuses() {
    let cases = [
        (json!({ "alibi_pos_bias": true, "rel_pos_bias": true }), "alibi_pos_bias"),
        (json!({ "rel_pos_num_buckets": 64, "rel_pos_max_distance": 63 }), "rel_pos_num_buckets"),
        (json!({ "alibi_pos_bias": true, "alibi_num_heads": 9 }), "alibi_num_heads"),
        (json!({ "deepnorm": true, "scale_residual_constant": 2 }), "scale_residual_constant"),
        (json!({ "pre_norm": false, "sandwich_norm": true }), "sandwich_norm"),
        (
            json!({ "zero_init_branch_output": true, "attn_on_attn": true }),
            "zero_init_branch_output",
        ),
        (json!({ "attn_zero_init_output": true, "attn_on_attn": true }), "attn_zero_init_output"),
        (json!({ "attn_shared_kv": true, "attn_value_dim_head": 16 }), "attn_value_dim_head"),
        (json!({ "attn_num_mem_kv": 2, "attn_value_dim_head": 16 }), "attn_value_dim_head"),
        (json!({ "attn_qk_norm": true, "attn_qk_norm_groups": 5 }), "attn_qk_norm_groups"),
        (json!({ "attn_qk_norm": true, "attn_qk_norm_groups": 16 }), "attn_qk_norm_groups"),
        (json!({ "rotary_pos_emb": true, "attn_value_dim_head": 16 }), "attn_value_dim_head"),
        (json!({ "rotary_pos_emb": true, "custom_layers": ["c", "f"] }), "rotary_pos_emb"),
        (json!({ "dynamic_pos_bias": true, "attn_num_mem_kv": 2 }), "dynamic_pos_bias"),
        (
            json!({ "cross_attend": true, "cross_residual_attn": true, "cross_attn_tokens_dropout": 0.1 }),
            "cross_attn_tokens_dropout",
        ),
        (json!({ "sandwich_coef": 0 }), "sandwich_coef"),
        (json!({ "sandwich_coef": 3 }), "sandwich_coef"),
        (json!({ "par_ratio": 1 }), "par_ratio"),
        (json!({ "par_ratio": 5 }), "par_ratio"),
        (json!({ "ff_mult": 0 }), "ff_mult"),
        (json!({ "ff_mult": 0.01 }), "ff_mult"),
        (json!({ "ff_activation": "silu", "ff_swish": true }), "ff_activation"),
        (json!({ "ff_activation": "relu", "ff_relu_squared": true }), "ff_activation"),
        (json!({ "ff_dim_out": 32 }), "ff_dim_out"),
        (json!({ "ff_dim_out": 1, "sandwich_norm": true }), "ff_dim_out"),
        (json!({ "shift_tokens": [1, 1] }), "shift_tokens"),
        (json!({ "layer_dropout": [0.1, 0.1] }), "layer_dropout"),
        (json!({ "rotary_xpos_scale_base": 0 }), "rotary_xpos_scale_base"),
        (json!({ "depth": 1e12 }), "depth"),
    ];
    for (own, path) in cases {
        refused::<LayersOptions>(layers(own), path);
    }
}

#[test]
fn layers_accept_what_python_accepts_and_what_it_should() {
    let cases = [
        json!({ "ff_relu_squared": true, "ff_swish": true, "ff_glu": true }),
        json!({ "gate_residual": true, "scale_residual": true, "scale_residual_constant": 2 }),
        json!({ "use_rmsnorm": true, "use_scalenorm": true }),
        json!({ "alibi_pos_bias": true, "dynamic_pos_bias": true, "alibi_num_heads": 9 }),
        json!({ "alibi_pos_bias": true, "rotary_pos_emb": true }),
        json!({ "alibi_pos_bias": true, "alibi_learned": true, "alibi_num_heads": 4 }),
        json!({ "deepnorm": true, "sandwich_norm": true, "pre_norm": false }),
        json!({ "attn_one_kv_head": true, "attn_num_mem_kv": 4 }),
        json!({ "attn_qk_norm_groups": 5 }),
        json!({ "attn_qk_norm_dim_scale": true }),
        json!({ "attn_value_dim_head": 16 }),
        json!({ "rotary_pos_emb": true, "attn_dim_head": 8 }),
        json!({ "rotary_pos_emb": true, "rotary_emb_dim": 128 }),
        json!({ "only_cross": true }),
        json!({ "cross_attend": true, "depth": 1, "cross_residual_attn": true, "cross_attn_tokens_dropout": 0.1 }),
        json!({ "custom_layers": ["c", "f"] }),
        json!({ "custom_layers": ["a", "f"], "par_ratio": 99, "sandwich_coef": 99 }),
        json!({ "ff_mult": 0.01, "ff_inner_dim": 3, "ff_activation": "quick_gelu" }),
        json!({ "ff_dim_out": 64 }),
        json!({ "ff_dim_out": 1 }),
        json!({ "shift_tokens": [1, 1, 0, 0], "layer_dropout": [0, 0.1, 0.2, 0.3] }),
    ];
    for own in cases {
        accepted::<LayersOptions>(layers(own));
    }
}

#[test]
fn some_options_depend_on_the_direction() {
    let wrong = |class: &str, own: Value| {
        let mut problems = Problems::default();
        read::<LayersOptions>(layers(own)).check_class(class, &mut problems);
        problems.0.into_iter().map(|problem| problem.path).collect::<Vec<_>>()
    };
    assert_eq!(wrong("Encoder", json!({ "rotary_xpos": true })), ["rotary_xpos"]);
    assert!(wrong("Decoder", json!({ "rotary_xpos": true })).is_empty());
    assert_eq!(
        wrong("Encoder", json!({ "rel_pos_bias": true, "rel_pos_num_buckets": 3 })),
        ["rel_pos_num_buckets"]
    );
    assert!(wrong("Decoder", json!({ "rel_pos_bias": true, "rel_pos_num_buckets": 3 })).is_empty());
    assert_eq!(wrong("Encoder", json!({ "shift_tokens": 32 })), ["shift_tokens"]);
    assert!(wrong("Decoder", json!({ "shift_tokens": 63 })).is_empty());
    assert_eq!(wrong("Decoder", json!({ "shift_tokens": [0, 64, 0, 0] })), ["shift_tokens"]);
}

#[test]
fn a_cross_attender_has_no_decay_over_distances() {
    accepted::<CrossAttenderOptions>(layers(json!({ "alibi_pos_bias": true })));
    // those of calls with `context_pos`
    accepted::<CrossAttenderOptions>(layers(json!({ "rotary_pos_emb": true })));
    let scaling = json!({
        "rope_type": "dynamic", "factor": 2, "original_max_position_embeddings": 4,
    });
    let scaled = json!({ "rotary_pos_emb": true, "rotary_scaling": scaling });
    refused::<CrossAttenderOptions>(layers(scaled), "rotary_scaling");
    accepted::<CrossAttenderOptions>(layers(
        json!({ "rotary_pos_emb": true, "custom_layers": ["a", "c", "f"] }),
    ));
    assert!(paths::<CrossAttenderOptions>(layers(json!({ "rotary_xpos": true })))
        .contains(&"rotary_xpos".into()));
}

#[test]
fn factors_of_longrope_fit_each_head_and_those_of_yarn_are_not_negative() {
    let long = |short: usize, long: usize| {
        json!({
            "rope_type": "longrope", "original_max_position_embeddings": 4,
            "short_factor": vec![1; short], "long_factor": vec![2; long],
        })
    };
    let scaled = |widths: Value, scalings: Value| {
        layers(json!({
            "rotary_pos_emb": true, "attn_dim_head": widths, "rotary_scaling": scalings,
        }))
    };
    accepted::<LayersOptions>(scaled(json!([32, 48]), json!([long(16, 16), long(16, 16)])));
    let wider = json!({ "rotary_partial_factor": 1 });
    let each = scaled(json!([32, 48]), json!([long(16, 16), long(24, 24)]));
    accepted::<LayersOptions>(with(each, wider.clone()));
    let one = scaled(json!([32, 48]), json!([long(24, 24), long(24, 24)]));
    refused::<LayersOptions>(with(one, wider), "rotary_scaling");
    let yarn = json!({
        "rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 4,
        "mscale": 1, "mscale_all_dim": -7.213,
    });
    let all = problems::<LayersOptions>(scaled(json!(32), yarn));
    assert!(all[0].message.contains("mscale_all_dim"), "{all:?}");
}

#[test]
fn an_attention_has_the_conflicts_of_its_block_without_prefix() {
    refused::<AttentionOptions>(
        json!({ "dim": 8, "shared_kv": true, "value_dim_head": 3 }),
        "value_dim_head",
    );
    accepted::<AttentionOptions>(
        json!({ "dim": 8, "causal": true, "qk_norm": true, "qk_norm_groups": 16 }),
    );
}

#[test]
fn wrappers_refuse_what_python_refuses() {
    let vit = |image: usize| json!({ "image_size": image, "patch_size": 8, "attn_layers": { "$module": 0 } });
    refused::<ViTransformerWrapperOptions>(vit(36), "image_size");
    accepted::<ViTransformerWrapperOptions>(vit(32));
    refused::<ViTransformerWrapperOptions>(with(vit(32), json!({ "pool": "cls" })), "pool");
    accepted::<ViTransformerWrapperOptions>(with(
        vit(32),
        json!({ "pool": "cls", "use_cls_token": true }),
    ));
    let text = |fraction: f64| {
        let required =
            json!({ "num_tokens": 9, "max_seq_len": 9, "attn_layers": { "$module": 0 } });
        with(required, json!({ "emb_frac_gradient": fraction }))
    };
    refused::<TransformerWrapperOptions>(text(0.0), "emb_frac_gradient");
    accepted::<TransformerWrapperOptions>(text(0.1));
    refused::<AutoregressiveWrapperOptions>(
        json!({ "net": { "$module": 0 }, "mask_prob": 1 }),
        "mask_prob",
    );
    let critics = json!({
        "net": { "$module": 0 }, "mask_id": 3, "token_critic": { "$module": 1 }, "self_token_critic": true,
    });
    refused::<NonAutoregressiveWrapperOptions>(critics, "self_token_critic");
}

#[test]
fn sinusoidal_positions_need_an_even_width() {
    let sequence: SequenceOptions = read(json!({ "max_seq_len": 8, "scaled_sinu_pos_emb": true }));
    let odd = |width, positions| {
        let mut problems = Problems::default();
        sequence.check_width(width, positions, "", &mut problems);
        !problems.0.is_empty()
    };
    assert!(odd(9, false) && !odd(8, false) && !odd(9, true));
}

#[test]
fn an_x_transformer_names_the_half_in_its_problems() {
    let cases = [
        (json!({ "enc_rotary_xpos": true, "enc_attn_dim_head": 32 }), "enc_rotary_xpos"),
        (json!({ "deepnorm": true, "dec_deepnorm": true }), "dec_deepnorm"),
        (json!({ "enc_shift_tokens": [1] }), "enc_shift_tokens"),
        (json!({ "dec_sandwich_coef": 2 }), "dec_sandwich_coef"),
        (json!({ "dim": 33, "dec_scaled_sinu_pos_emb": true }), "dec_scaled_sinu_pos_emb"),
        (
            json!({ "dec_attn_qk_norm": true, "dec_attn_qk_norm_groups": 7 }),
            "dec_attn_qk_norm_groups",
        ),
        (json!({ "dec_only_cross": true, "dec_rotary_pos_emb": true }), "dec_rotary_pos_emb"),
    ];
    for (own, path) in cases {
        refused::<XTransformerOptions>(x_transformer(own), path);
    }
    accepted::<XTransformerOptions>(x_transformer(
        json!({ "deepnorm": true, "enc_scale_residual_constant": 2 }),
    ));
    // three sub-layers per block: self attention, cross attention, feed-forward
    accepted::<XTransformerOptions>(x_transformer(
        json!({ "dec_shift_tokens": [1, 1, 0], "dec_rotary_xpos": true }),
    ));
}

#[test]
fn calls_refuse_what_cannot_work() {
    refused::<GenerateOptions>(json!({ "temperature": -1 }), "temperature");
    accepted::<GenerateOptions>(json!({ "temperature": 0 }));
    refused::<GenerateOptions>(json!({ "filter_thres": 1 }), "filter_thres");
    accepted::<GenerateOptions>(
        json!({ "eos_token": [3, 4], "min_p": 0, "top_k_tokens": 1, "repetition_penalty": 0.5 }),
    );
    refused::<GenerateOptions>(json!({ "nucleus_p": 0 }), "nucleus_p");
    refused::<GenerateOptions>(json!({ "min_p": 1.5 }), "min_p");
    refused::<GenerateOptions>(json!({ "top_k_tokens": 0 }), "top_k_tokens");
    refused::<GenerateOptions>(json!({ "repetition_penalty": 0 }), "repetition_penalty");
    refused::<GenerateOptions>(json!({ "seed": -1 }), "seed");
    refused::<GenerateOptions>(json!({ "seed": 9_007_199_254_740_992_u64 }), "seed");
    accepted::<GenerateOptions>(json!({ "seed": 9_007_199_254_740_991_u64 }));
    refused::<GenerateOptions>(
        json!({ "num_return_sequences": 2, "temperature": 0 }),
        "num_return_sequences",
    );
    accepted::<GenerateOptions>(json!({ "filter_thres": 1, "filter_logits_fn": "top_p" }));
    let tensor = json!({ "$tensor": 0 });
    refused::<ContinuousAutoregressiveCall>(json!({ "prepend_embeds": tensor }), "prepend_embeds");
    accepted::<AutoregressiveCall>(json!({ "prepend_embeds": tensor, "prepend_mask": tensor }));
    refused::<GenerateOptions>(json!({ "prompt_lens": tensor, "mask": tensor }), "prompt_lens");
    for other in ["pos", "segment_ids"] {
        refused::<TransformerCall>(
            json!({ "seq_start_pos": tensor, other: tensor }),
            "seq_start_pos",
        );
    }
    refused::<NonAutoregressiveGenerate>(json!({ "filter_thres": 1 }), "filter_thres");
    accepted::<TransformerCall>(
        json!({ "return_embeddings": true, "return_logits_and_embeddings": true }),
    );
}

#[test]
fn options_of_a_filter_that_is_not_used_are_refused() {
    accepted::<GenerateOptions>(json!({ "filter_thres": 0.9 }));
    accepted::<GenerateOptions>(
        json!({ "filter_thres": 0.9, "filter_logits_fn": "top_k", "min_p": 0.1 }),
    );
    accepted::<GenerateOptions>(
        json!({ "filter_logits_fn": "top_a", "min_p_pow": 1.5, "min_p_ratio": 0.1 }),
    );
    let others = [
        json!({ "filter_logits_fn": { "$function": "filter_logits_fn" } }),
        json!({ "nucleus_p": 0.9 }),
        json!({ "min_p": 0.1 }),
        json!({ "top_k_tokens": 3 }),
        json!({ "num_beams": 2 }),
    ];
    let more = |base: &Value, name: &str, value: f64| {
        let mut all = base.clone();
        all[name] = json!(value);
        all
    };
    for other in others.iter().chain([&json!({ "filter_logits_fn": "top_a" })]) {
        refused::<GenerateOptions>(more(other, "filter_thres", 0.5), "filter_thres");
    }
    for other in others.iter().chain([&json!({}), &json!({ "filter_logits_fn": "top_p" })]) {
        refused::<GenerateOptions>(more(other, "min_p_pow", 2.0), "min_p_pow");
        refused::<GenerateOptions>(more(other, "min_p_ratio", 0.02), "min_p_ratio");
    }
    refused::<GenerateOptions>(json!({ "num_beams": 2, "seed": 3 }), "seed");
    let first = json!({ "temperature_first": true, "filter_logits_fn": "top_a" });
    refused::<GenerateOptions>(first, "temperature_first");
}

#[test]
fn optimizers_refuse_what_pytorch_refuses() {
    refused::<SgdOptions>(json!({ "nesterov": true }), "nesterov");
    accepted::<SgdOptions>(json!({ "nesterov": true, "momentum": 0.9 }));
    refused::<AdamOptions>(json!({ "lr": -1 }), "lr");
    refused::<AdamWOptions>(json!({ "betas": [0.9, 1] }), "betas");
    refused::<AdamWOptions>(json!({ "betas": [0.9] }), "betas");
    refused::<AdamWOptions>(json!({ "weight_decay": -0.1 }), "weight_decay");
}

/// The order of the sub-layers, as letters like in Python.
fn order(own: Value) -> String {
    let options = read::<LayersOptions>(layers(own));
    let letter = |kind: &LayerKind| match kind {
        LayerKind::SelfAttention => 'a',
        LayerKind::CrossAttention => 'c',
        LayerKind::FeedForward => 'f',
    };
    options.stack.layer_kinds(options.context()).unwrap().iter().map(letter).collect()
}

#[test]
fn the_sub_layers_stand_in_pythons_order() {
    assert_eq!(order(json!({})), "afaf");
    assert_eq!(order(json!({ "cross_attend": true })), "acfacf");
    assert_eq!(order(json!({ "cross_attend": true, "only_cross": true })), "cfcf");
    assert_eq!(order(json!({ "only_cross": true })), "afaf");
    assert_eq!(order(json!({ "macaron": true })), "faffaf");
    assert_eq!(order(json!({ "sandwich_coef": 1, "depth": 3 })), "aafaff");
    assert_eq!(order(json!({ "sandwich_coef": 1, "cross_attend": true })), "aacff");
    assert_eq!(order(json!({ "par_ratio": 4, "depth": 4 })), "affaffff");
    assert_eq!(order(json!({ "par_ratio": 4, "depth": 4, "cross_attend": true })), "acfacfacffff");
    assert_eq!(order(json!({ "custom_layers": ["f", "a"], "par_ratio": 4 })), "fa");
}

#[test]
fn beams_refuse_what_draws_and_tell_it_all_at_once() {
    refused::<GenerateOptions>(json!({ "length_penalty": 2 }), "length_penalty");
    accepted::<XTransformerGenerate>(
        json!({ "num_beams": 3, "length_penalty": -1, "num_return_sequences": 3 }),
    );
    accepted::<GenerateOptions>(
        json!({ "num_beams": 3, "temperature": 0, "repetition_penalty": 2 }),
    );
    let all = json!({
        "num_beams": 2, "num_return_sequences": 3, "temperature": 0.5, "filter_logits_fn": { "$function": true },
        "top_k_tokens": 3, "nucleus_p": 0.5, "min_p": 0.5,
    });
    let names = [
        "filter_logits_fn",
        "top_k_tokens",
        "nucleus_p",
        "min_p",
        "temperature",
        "num_return_sequences",
    ];
    assert_eq!(paths::<GenerateOptions>(all.clone()), names);
    assert_eq!(paths::<XTransformerGenerate>(all), names);
    let stream = |value| {
        crate::parse_and(&value, |o: &GenerateOptions, problems| o.beams.check_stream(problems))
    };
    assert!(stream(json!({})).is_ok());
    assert_eq!(stream(json!({ "num_beams": 2 })).unwrap_err().0[0].path, "num_beams");
}
