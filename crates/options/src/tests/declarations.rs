//! Properties of all declarations.

use crate::{
    autoregressive::*, generation::*, images::*, layers::*, optimizers::*, parse, schedules::*,
    sets, split_links, wrappers::*, Filter, Options, Spec, ValueKind,
};
use serde_json::{json, Value};
use std::collections::{BTreeMap, HashSet};

fn specs() -> Vec<Spec> {
    sets::all().into_iter().map(|set| set.spec).collect()
}

#[test]
fn every_option_is_documented_in_whole_sentences() {
    for named in specs().iter().flat_map(Spec::flatten) {
        let (text, links) = split_links(named.field.doc);
        assert!(text.ends_with('.') && text.len() > 10, "{}: {text}", named.name);
        for link in links {
            let known = ["https://arxiv.org/abs/", "https://doi.org/"];
            assert!(
                known.iter().any(|start| link.starts_with(start)) && !link.contains(' '),
                "{}: {link}",
                named.name
            );
        }
    }
}

#[test]
fn no_name_stands_twice_in_a_class() {
    for spec in specs() {
        let mut seen = HashSet::new();
        for named in spec.flatten() {
            assert!(seen.insert(named.name.clone()), "{} in {:?}", named.name, spec.doc);
        }
    }
}

#[test]
fn every_default_is_read_back_as_it_is_written() {
    fn fits(kind: &ValueKind, value: &Value) -> bool {
        match kind {
            ValueKind::Bool => value.is_boolean(),
            ValueKind::Integer { min } => value.as_i64().is_some_and(|n| n >= *min),
            ValueKind::Number => value.is_f64(),
            ValueKind::NonNegative => value.as_f64().is_some_and(|x| x >= 0.0),
            ValueKind::Probability => value.as_f64().is_some_and(|p| (0.0..=1.0).contains(&p)),
            ValueKind::Text(words) | ValueKind::Filter(words) => {
                value.as_str().is_some_and(|word| words.contains(&word))
            }
            ValueKind::Optional(inner) => value.is_null() || fits(inner, value),
            ValueKind::List(inner) => {
                value.as_array().is_some_and(|list| list.iter().all(|v| fits(inner, v)))
            }
            ValueKind::OneOrMany(inner) => fits(inner, value),
            ValueKind::ByName(inner) => {
                value.as_object().is_some_and(|all| all.values().all(|v| fits(inner, v)))
            }
            ValueKind::Tensor(_) | ValueKind::Module(_) | ValueKind::Record(_) => false,
        }
    }
    for named in specs().iter().flat_map(Spec::flatten) {
        if let Some(default) = named.field.default {
            assert!(fits(&named.field.kind, &default()), "{}: {}", named.name, default());
        }
    }
}

/// Compares names and defaults (`"required"` if there is none) with `expected`, in any order.
fn assert_defaults<T: Options>(expected: Value) {
    let expected: BTreeMap<String, Value> =
        expected.as_object().unwrap().clone().into_iter().collect();
    let required = || json!("required");
    let declared: BTreeMap<String, Value> = T::SPEC
        .flatten()
        .into_iter()
        .map(|n| (n.name, n.field.default.map_or_else(required, |default| default())))
        .collect();
    assert_eq!(declared.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, value) in &declared {
        let same = match (value.as_f64(), expected[name].as_f64()) {
            (Some(a), Some(b)) => a == b,
            _ => *value == expected[name],
        };
        assert!(same, "{name}: {value}, expected {}", expected[name]);
    }
}

/// From the signatures of AttentionLayers, Attention and FeedForward in Python; at the end those
/// that Python does not have.
#[test]
fn defaults_of_the_layers_are_those_of_python() {
    // a string, since `json!` cannot take this many entries
    let layers = r#"{
        "dim": "required", "depth": "required", "heads": 8, "cross_attend": false, "only_cross": false,
        "use_scalenorm": false, "use_rmsnorm": false,
        "alibi_pos_bias": false, "alibi_num_heads": null, "alibi_learned": false,
        "rel_pos_bias": false, "rel_pos_num_buckets": 32, "rel_pos_max_distance": 128,
        "dynamic_pos_bias": false, "dynamic_pos_bias_log_distance": false, "dynamic_pos_bias_mlp_depth": 2,
        "dynamic_pos_bias_norm": false,
        "rotary_pos_emb": false, "rotary_emb_dim": null, "rotary_xpos": false, "rotary_xpos_scale_base": 512,
        "custom_layers": null, "sandwich_coef": null, "par_ratio": null,
        "residual_attn": false, "cross_residual_attn": false, "macaron": false, "pre_norm": true,
        "gate_residual": false, "scale_residual": false, "scale_residual_constant": 1, "deepnorm": false,
        "shift_tokens": 0, "sandwich_norm": false, "zero_init_branch_output": false, "layer_dropout": 0,
        "cross_attn_tokens_dropout": 0,
        "ff_mult": 4, "ff_dim_out": null, "ff_glu": false, "ff_swish": false, "ff_relu_squared": false,
        "ff_post_act_ln": false, "ff_dropout": 0, "ff_no_bias": false, "ff_zero_init_output": false,
        "attn_dim_head": 64, "attn_talking_heads": false, "attn_head_scale": false, "attn_sparse_topk": null,
        "attn_num_mem_kv": 0, "attn_dropout": 0, "attn_on_attn": false, "attn_gate_values": false,
        "attn_zero_init_output": false, "attn_max_attend_past": null, "attn_qk_norm": false,
        "attn_qk_norm_groups": 1, "attn_qk_norm_scale": 10, "attn_qk_norm_dim_scale": false,
        "attn_one_kv_head": false, "attn_shared_kv": false, "attn_value_dim_head": null,
        "attn_tensor_product": false,
        "gradient_checkpointing": false,
        "attn_kv_heads": null, "attn_qk_rmsnorm": false, "attn_qk_rmsnorm_across_heads": false,
        "attn_qk_rmsnorm_eps": 1e-6, "attn_scale": null, "attn_softclamp_logits": false,
        "attn_logit_softclamp_value": 50, "attn_head_learned_sink": false, "attn_add_zero_kv": false,
        "attn_qkv_bias": false, "attn_out_bias": false, "attn_k_rmsnorm": false,
        "attn_project_out": true, "ff_glu_mult_bias": false,
        "use_simple_rmsnorm": false, "norm_eps": null, "norm_bias": true,
        "norm_elementwise_affine": true, "norm_add_unit_offset": false,
        "pre_norm_has_final_norm": false, "pre_and_post_norm": false, "norm_position": null,
        "parallel_block": false, "parallel_block_shared_norm": false, "branch_scale": 1,
        "use_layerscale": false, "layerscale_init_value": 0,
        "rotary_base": 10000, "rotary_scaling": null, "rotary_partial_factor": null,
        "rotary_interleaved": false, "rotary_values": true, "rotary_layers": true,
        "rotate_num_heads": null, "rotary_interpolation_factor": 1,
        "rotary_base_rescale_factor": 1, "rotary_given_pos": false, "rel_pos_scale": null,
        "wrapper_norm": true, "cross_attn_dim_context": null, "alibi_slopes": null,
        "alibi_given_pos": false, "disable_abs_pos_emb": null, "depth_scale_residual": false,
        "weight_tie_layers": false, "layers_execute_order": null, "add_value_residual": false,
        "learned_value_residual_mix": true, "attn_qkv_clip": null, "attn_sublayer_dropout": 0,
        "attn_qk_rmsnorm_add_unit_offset": false, "attn_qk_rmsnorm_shared": false,
        "ff_sublayer_dropout": 0,
        "ff_inner_dim": null, "ff_activation": null, "ff_glu_bias": true
    }"#;
    assert_defaults::<LayersOptions>(serde_json::from_str(layers).unwrap());
}

#[test]
fn defaults_of_the_wrappers_are_those_of_python() {
    // Python's default, the float 0., makes return_mems fail; null here means the same
    assert_defaults::<TransformerWrapperOptions>(json!({
        "num_tokens": "required", "max_seq_len": "required", "attn_layers": "required", "emb_dim": null,
        "max_mem_len": null, "shift_mem_down": 0, "emb_dropout": 0, "post_emb_norm": false,
        "num_memory_tokens": null, "tie_embedding": false, "logits_dim": null, "use_abs_pos_emb": true,
        "scaled_sinu_pos_emb": false, "l2norm_embed": false, "emb_frac_gradient": 1,
        "emb_scale": 1, "tie_embedding_scale": 1, "logits_scale": 1, "logits_bias": true,
        "logit_softclamp_value": null, "use_cls_token": false, "num_cls_tokens": 1,
        "average_pool_embed": false, "num_output_heads": 1, "squeeze_out_last_dim": false,
        "embed_num_tokens": {}, "abs_pos_emb_scale": null, "return_only_embed": false,
    }));
    assert_defaults::<ContinuousTransformerWrapperOptions>(json!({
        "max_seq_len": "required", "attn_layers": "required", "dim_in": null, "dim_out": null, "emb_dim": null,
        "post_emb_norm": false, "emb_dropout": 0, "use_abs_pos_emb": true, "scaled_sinu_pos_emb": false,
        "abs_pos_emb_scale": null,
    }));
    assert_defaults::<ViTransformerWrapperOptions>(json!({
        "image_size": "required", "patch_size": "required", "attn_layers": "required", "channels": 3,
        "num_classes": null, "dropout": 0, "post_emb_norm": false, "emb_dropout": 0,
        "use_cls_token": false, "pool": "mean", "patch_norm": true, "num_register_tokens": 0,
    }));
    assert_defaults::<AutoregressiveWrapperOptions>(json!({
        "net": "required", "ignore_index": -100, "pad_value": 0, "mask_prob": 0,
    }));
    assert_defaults::<ContinuousAutoregressiveWrapperOptions>(json!({
        "net": "required", "ignore_index": -100, "pad_value": 0,
    }));
    assert_defaults::<NonAutoregressiveWrapperOptions>(json!({
        "net": "required", "mask_id": "required", "steps": 18, "self_cond": false, "self_cond_train_prob": 0.75,
        "no_replace_prob": 0.15, "random_token_prob": 0.1, "schedule": "linear", "can_mask_prev_unmasked": false,
        "token_critic": null, "self_token_critic": false, "critic_loss_weight": 1,
    }));
}

#[test]
fn defaults_of_sampling_and_of_the_optimizers_are_those_of_python() {
    assert_defaults::<SamplingOptions>(json!({
        "eos_token": null, "temperature": 1, "filter_logits_fn": null, "filter_thres": null, "min_p_pow": null,
        "min_p_ratio": null, "top_k_tokens": null, "nucleus_p": null, "min_p": null, "repetition_penalty": 1,
        "num_return_sequences": 1, "seed": null, "eos_in_prompt": true, "temperature_first": false,
    }));
    // Python's default filter is `top_k`, which is also used here if none is given
    let absent = parse::<SamplingOptions>(&json!({})).unwrap();
    assert_eq!(
        (absent.filter(), absent.thres(), absent.limit()),
        (Some(Filter::TopK), 0.9, (2.0, 0.02))
    );
    assert_defaults::<SgdOptions>(json!({
        "lr": 1e-3, "momentum": 0, "dampening": 0, "weight_decay": 0, "nesterov": false,
    }));
    assert_defaults::<CosineWarmupOptions>(json!({
        "lr": "required", "warmup_steps": "required", "total_steps": "required", "min_lr": 0,
    }));
    assert_defaults::<LinearDecayOptions>(json!({
        "lr": "required", "warmup_steps": "required", "total_steps": "required", "min_lr": 0,
    }));
    assert_defaults::<InverseSqrtOptions>(json!({ "lr": "required", "warmup_steps": "required" }));
    assert_defaults::<WarmupStableDecayOptions>(json!({
        "lr": "required", "warmup_steps": "required", "decay_steps": "required",
        "total_steps": "required", "min_lr": 0, "decay": "linear",
    }));
    assert_defaults::<AdamOptions>(
        json!({ "lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0 }),
    );
    assert_defaults::<AdamWOptions>(
        json!({ "lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.01 }),
    );
    assert_defaults::<LionOptions>(json!({ "lr": 1e-4, "betas": [0.9, 0.99], "weight_decay": 0 }));
    assert_defaults::<AdafactorOptions>(json!({
        "lr": 1e-2, "beta2_decay": -0.8, "eps": [null, 1e-3], "d": 1, "weight_decay": 0,
    }));
    assert_defaults::<MuonOptions>(json!({
        "lr": 1e-3, "weight_decay": 0.1, "momentum": 0.95, "nesterov": true,
        "ns_coefficients": [3.4445, -4.775, 2.0315], "eps": 1e-7, "ns_steps": 5,
        "adjust_lr_fn": "original", "use_muon": true, "betas": [0.9, 0.999],
    }));
}

#[test]
fn the_halves_of_an_x_transformer_take_what_python_does_not_drop() {
    let names: HashSet<String> =
        XTransformerOptions::SPEC.flatten().into_iter().map(|n| n.name).collect();
    for name in [
        "enc_num_memory_tokens",
        "enc_attn_one_kv_head",
        "dec_cross_residual_attn",
        "dec_emb_dropout",
        "dec_only_cross",
        "enc_emb_scale",
        "dec_tie_embedding",
        "dec_logits_scale",
        "enc_return_only_embed",
    ] {
        assert!(names.contains(name), "{name}");
    }
    for name in [
        "enc_dim",
        "dec_dim",
        "dec_num_memory_tokens",
        "enc_l2norm_embed",
        "enc_emb_dim",
        "dec_post_emb_norm",
        "enc_tie_embedding",
        "enc_logits_scale",
    ] {
        assert!(!names.contains(name), "{name}");
    }
}
