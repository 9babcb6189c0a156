//! The options that cases are drawn from, each with values other than its default, for models of
//! width 16 with two heads of 8 and two blocks.

use serde_json::{json, Value as Json};

/// An option and a value.
pub type Choice = (String, Json);

fn named(json: Json) -> Vec<Choice> {
    let values = |(name, values): (String, Json)| -> Vec<Choice> {
        values.as_array().unwrap().iter().map(|value| (name.clone(), value.clone())).collect()
    };
    json.as_object().unwrap().clone().into_iter().flat_map(values).collect()
}

/// The same options with `prefix` added to their names.
pub fn prefixed(prefix: &str, choices: Vec<Choice>) -> Vec<Choice> {
    choices.into_iter().map(|(name, value)| (format!("{prefix}{name}"), value)).collect()
}

/// One attention block.
pub fn attention() -> Vec<Choice> {
    named(json!({
        "dim_head": [6, 40],
        "talking_heads": [true],
        "head_scale": [true],
        "sparse_topk": [2, 3],
        "num_mem_kv": [2],
        "dropout": [0.2],
        "on_attn": [true],
        "gate_values": [true],
        "zero_init_output": [true],
        "max_attend_past": [2],
        "qk_norm": [true],
        "qk_norm_groups": [2],
        "qk_norm_scale": [4.0],
        "qk_norm_dim_scale": [true],
        "one_kv_head": [true],
        "kv_heads": [1, 2],
        "qk_rmsnorm": [true],
        "k_rmsnorm": [true],
        "project_out": [false],
        "qk_rmsnorm_across_heads": [true],
        "qk_rmsnorm_eps": [1e-2],
        "scale": [0.2],
        "softclamp_logits": [true],
        "logit_softclamp_value": [1.5],
        "head_learned_sink": [true],
        "add_zero_kv": [true],
        "qkv_bias": [true],
        "out_bias": [true],
        "shared_kv": [true],
        "value_dim_head": [6],
        "tensor_product": [true],
    }))
}

fn feedforward() -> Vec<Choice> {
    named(json!({
        "mult": [1.5],
        "inner_dim": [7],
        "activation": ["gelu_tanh", "quick_gelu", "relu", "sigmoid"],
        "glu_bias": [false],
        "glu_mult_bias": [true],
        "dim_out": [1, 16],
        "glu": [true],
        "swish": [true],
        "relu_squared": [true],
        "post_act_ln": [true],
        "dropout": [0.2],
        "no_bias": [true],
        "zero_init_output": [true],
    }))
}

/// Options of every stack of layers.
pub fn stack() -> Vec<Choice> {
    let own = named(json!({
        "heads": [1, 3],
        "depth": [1, 3],
        "use_scalenorm": [true],
        "use_rmsnorm": [true],
        "alibi_pos_bias": [true],
        "alibi_num_heads": [1],
        "alibi_learned": [true],
        "rel_pos_bias": [true],
        "rel_pos_num_buckets": [8],
        "rel_pos_max_distance": [16],
        "dynamic_pos_bias": [true],
        "dynamic_pos_bias_log_distance": [true],
        "dynamic_pos_bias_mlp_depth": [1],
        "dynamic_pos_bias_norm": [true],
        "rotary_pos_emb": [true],
        "rotary_emb_dim": [40],
        "rotary_xpos": [true],
        "rotary_xpos_scale_base": [8.0],
        "custom_layers": [["f", "a", "a"], ["a", "c", "f", "c"]],
        "sandwich_coef": [1],
        "par_ratio": [3],
        "residual_attn": [true],
        "cross_residual_attn": [true],
        "macaron": [true],
        "pre_norm": [false],
        "gate_residual": [true],
        "scale_residual": [true],
        "scale_residual_constant": [1.5],
        "deepnorm": [true],
        "shift_tokens": [1, 2, [0, 1, 0, 2]],
        "sandwich_norm": [true],
        "zero_init_branch_output": [true],
        "layer_dropout": [0.3, [0.0, 0.5, 0.0, 0.5]],
        "cross_attn_tokens_dropout": [0.3],
    }));
    [own, newer(), prefixed("attn_", attention()), prefixed("ff_", feedforward())].concat()
}

/// Options of every stack that the Python package does not have.
fn newer() -> Vec<Choice> {
    named(json!({
        "use_simple_rmsnorm": [true],
        "norm_eps": [1e-3],
        "norm_bias": [false],
        "norm_elementwise_affine": [false],
        "norm_add_unit_offset": [true],
        "pre_norm_has_final_norm": [true],
        "wrapper_norm": [false],
        "pre_and_post_norm": [true],
        "norm_position": ["pre", "post", "branch", "sandwich"],
        "parallel_block": [true],
        "parallel_block_shared_norm": [true],
        "branch_scale": [0.5],
        "use_layerscale": [true],
        "layerscale_init_value": [0.5],
        "attn_max_attend_past": [[2, null], [1, 2, 3]],
        "attn_qkv_clip": [0.5],
        "attn_sublayer_dropout": [0.3],
        "attn_qk_rmsnorm_add_unit_offset": [true],
        "attn_qk_rmsnorm_shared": [true],
        "ff_sublayer_dropout": [0.3],
        "weight_tie_layers": [true],
        "layers_execute_order": [[2, 3, 0, 1, 2, 3], [0, 1, 0, 1, 2, 3]],
        "add_value_residual": [true],
        "learned_value_residual_mix": [false],
        "ff_mult": [[2, 3]],
        "rotary_base": [100.0, [50.0, 500.0]],
        "rotary_scaling": [
            { "rope_type": "linear", "factor": 2.0 },
            { "rope_type": "dynamic", "factor": 2.0, "original_max_position_embeddings": 4 },
        ],
        "rotary_partial_factor": [0.5],
        "rotary_interleaved": [true],
        "rotary_values": [false],
        "rotary_layers": [[true, false]],
        "rotate_num_heads": [1],
        "rotary_interpolation_factor": [2.0],
        "rotary_base_rescale_factor": [3.0],
        "rotary_given_pos": [true],
        "rel_pos_scale": [1.0],
        "alibi_slopes": [[0.3, 0.7], [0.2]],
        "alibi_given_pos": [true],
        "disable_abs_pos_emb": [true, false],
        "depth_scale_residual": [true],
    }))
}

/// Options of a stack that may attend to a context.
pub fn layers() -> Vec<Choice> {
    let cross = named(
        json!({ "cross_attend": [true, true, true], "only_cross": [true], "cross_attn_dim_context": [16] }),
    );
    [cross, stack()].concat()
}

/// Options of the embedding of a sequence.
pub fn sequence() -> Vec<Choice> {
    named(
        json!({ "emb_dropout": [0.2], "use_abs_pos_emb": [false], "scaled_sinu_pos_emb": [true], "abs_pos_emb_scale": [1.0] }),
    )
}

pub fn transformer() -> Vec<Choice> {
    let own = named(json!({
        "emb_dim": [10],
        "max_mem_len": [0, 4],
        "shift_mem_down": [1],
        "tie_embedding": [true],
        "tie_embedding_scale": [0.3],
        "logits_scale": [0.5],
        "logits_bias": [false],
        "logit_softclamp_value": [0.7],
        "emb_scale": [2.5],
        "l2norm_embed": [true],
        "emb_frac_gradient": [0.3],
        "num_memory_tokens": [2],
        "post_emb_norm": [true],
    }));
    [own, sequence()].concat()
}

/// Options of a transformer over tokens that change which logits there are, or which inputs; not
/// for wrappers around it.
pub fn pools() -> Vec<Choice> {
    named(json!({
        "return_only_embed": [true],
        "use_cls_token": [true],
        "num_cls_tokens": [2],
        "average_pool_embed": [true],
        "num_output_heads": [2],
        "squeeze_out_last_dim": [true],
        "logits_dim": [1],
        "embed_num_tokens": [{ "kind": 3 }],
    }))
}

pub fn continuous() -> Vec<Choice> {
    let own =
        named(json!({ "dim_in": [3], "dim_out": [4], "emb_dim": [10], "post_emb_norm": [true] }));
    [own, sequence()].concat()
}

pub fn vit() -> Vec<Choice> {
    named(json!({
        "channels": [1],
        "num_classes": [5],
        "dropout": [0.5],
        "emb_dropout": [0.2],
        "post_emb_norm": [true],
        "use_cls_token": [true],
        "pool": ["cls"],
        "patch_norm": [false],
        "num_register_tokens": [2],
    }))
}

pub fn x_transformer() -> Vec<Choice> {
    let own = named(json!({
        "tie_token_emb": [true],
        "deepnorm": [true],
        "cross_attn_tokens_dropout": [0.3],
        "ignore_index": [3],
        "pad_value": [1],
        "enc_num_memory_tokens": [2],
        "dec_only_cross": [true],
        "enc_emb_scale": [2.5],
        "enc_return_only_embed": [true],
        "dec_emb_scale": [0.4],
        "dec_tie_embedding": [true],
        "dec_tie_embedding_scale": [0.3],
        "dec_logits_scale": [0.5],
        "dec_logits_bias": [false],
        "dec_logit_softclamp_value": [0.7],
    }));
    let half = [stack(), sequence()].concat();
    [own, prefixed("enc_", half.clone()), prefixed("dec_", half)].concat()
}

pub fn autoregressive() -> Vec<Choice> {
    named(json!({ "mask_prob": [0.3], "ignore_index": [3], "pad_value": [1] }))
}

pub fn non_autoregressive() -> Vec<Choice> {
    named(json!({
        "steps": [3],
        "self_cond": [true],
        "self_cond_train_prob": [0.0, 1.0],
        "no_replace_prob": [0.0],
        "random_token_prob": [0.4],
        "schedule": ["cosine"],
        "can_mask_prev_unmasked": [true],
        "self_token_critic": [true],
        "critic_loss_weight": [0.5],
    }))
}

/// Options of sampling.
pub fn sampling() -> Vec<Choice> {
    named(json!({
        "eos_token": [3],
        "eos_in_prompt": [false],
        "temperature": [0.0, 0.7],
        "temperature_first": [true],
        "filter_logits_fn": ["top_p", "top_a"],
        "filter_thres": [0.5],
        "min_p_pow": [1.5],
        "min_p_ratio": [0.1],
    }))
}

/// Arguments and requested results of a call; an argument represents a tensor of its own shape.
pub fn calls(names: &[&str]) -> Vec<Choice> {
    names.iter().map(|name| (name.to_string(), json!(true))).collect()
}
