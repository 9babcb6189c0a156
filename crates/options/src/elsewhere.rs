//! Option names and values of newer versions of x-transformers and of other libraries, for better
//! error messages.

/// Options of x-transformers 2.x that 1.9.2 does not have, without prefixes such as `attn_`.
const NEWER: &[&str] = &[
    // attention
    "attend_sdp_kwargs",
    "cog_signed",
    "cope_max_pos",
    "cope_soft_onehot_pos",
    "cope_talking_heads",
    "custom_attn_fn",
    "data_dependent_alibi",
    "data_dependent_alibi_kwargs",
    "data_dependent_alibi_per_row",
    "dim_latent_kv",
    "dim_latent_q",
    "flash_pack_seq",
    "flash_pack_seq_kwargs",
    "gate_value_heads",
    "gumbel_softmax",
    "gumbel_softmax_hard",
    "gumbel_softmax_temp",
    "hard",
    "hybrid_fold_axial_dim",
    "hybrid_learned_mix",
    "hybrid_mask_kwarg",
    "hybrid_module",
    "inverted_attention",
    "l2_distance",
    "laser",
    "laser_softclamp_value",
    "latent_rope_subheads",
    "low_rank_silu_gates",
    "orthog_projected_values",
    "orthog_projected_values_per_head",
    "output_gate",
    "post_talking_heads",
    "pre_scale_post_talking_heads",
    "pre_talking_heads",
    "qkv_receive_diff_residuals",
    "selective",
    "sigmoid",
    "sparse_topk_straight_through",
    "swiglu_values",
    "use_cope",
    "use_latent_kv",
    "use_latent_q",
    "use_rel_proj_pos_bias",
    "value_rmsnorm",
    // layers and feed-forwards
    "adaptive_condition_mlp",
    "adaptive_condition_mlp_expansion",
    "attn_aggregated_residuals",
    "custom_activation",
    "deep_embed",
    "dim_condition",
    "dynamic_tanh_init_alpha",
    "gated_multi_residual",
    "glu_gate_softclamp_value",
    "glu_softclamp",
    "glu_up_softclamp_value",
    "hyper_conn_sinkhorn_iters",
    "integrate_layers",
    "layer_integrate_use_softmax",
    "learned_reinject_input_gate",
    "mv_split_residual",
    "num_residual_streams",
    "only_attn",
    "orthog_residual",
    "polar_bias_uniform_init",
    "polar_pos_emb",
    "reinject_input",
    "rel_pos_kwargs",
    "residual_fn_kwargs",
    "softclamp_output",
    "softclamp_output_value",
    "softclamp_value",
    "solu",
    "unet_skips",
    "use_adaptive_layernorm",
    "use_adaptive_layerscale",
    "use_adaptive_rmsnorm",
    "use_derf",
    "use_dynamic_tanh",
    "verbose",
    // wrappers
    "add_attn_z_loss",
    "add_continuous_pred_head",
    "attn_pool",
    "attn_pool_depth",
    "attn_z_loss_weight",
    "dim_pooled_tokens",
    "equal_loss_weight_batch",
    "loss_fn",
    "looped",
    "max_looped_steps",
    "memory_tokens_interspersed_every",
    "mixture_of_softmax",
    "mixture_of_softmax_k",
    "next_embed_loss_weight",
    "num_pooled_tokens",
    "probabilistic",
    "recycling",
    "rollout_steps",
    "sigsoftmax_logits",
    "token_emb",
    "train_max_recycle_steps",
    "use_l1_loss",
    "use_simple_mdlm_loss_weight",
    // calls
    "additional_key_values",
    "additional_kv_mask",
    "amateur_model",
    "attn_bias",
    "cache_age",
    "condition",
    "contrastive_decode_kwargs",
    "filter_kwargs",
    "in_attn_cond",
    "input_not_include_cache",
    "prefix_attn_len",
    "repeat_blocks",
    "return_attn_z_loss",
    "return_logit_entropies",
    "seq_pos_offset",
];

/// Prefixes that classes add to the options of their parts.
const PREFIXES: [&str; 5] = ["enc_", "dec_", "cross_", "attn_", "ff_"];

/// Names in other libraries for the number of tokens to generate.
const LENGTHS: [&str; 4] = ["max_tokens", "max_new_tokens", "max_length", "n_predict"];

/// The error message for an unknown name that exists elsewhere. `names` are the known names.
pub fn explain(name: &str, names: &[&str]) -> Option<String> {
    let mut plain = name;
    loop {
        if matches!(plain, "flash" | "onnxable") {
            return Some(
                "is not needed: attention without the whole score matrix is always on here; leave it out".into(),
            );
        }
        if matches!(plain, "resi_dual" | "resi_dual_scale") {
            return Some("is not an option here: it is of later versions 1.x of x-transformers, not in 1.9.2".into());
        }
        if names.contains(&"temperature") && LENGTHS.contains(&plain) {
            return Some(
                "is not an option here: how many tokens come is the argument before the options"
                    .into(),
            );
        }
        if NEWER.contains(&plain) {
            let instead =
                instead(plain, names).map_or_else(String::new, |name| format!("; `{name}` is"));
            return Some(format!(
                "is not an option here: it is of x-transformers 2.x, not in 1.9.2{instead}"
            ));
        }
        plain = PREFIXES.iter().find_map(|prefix| plain.strip_prefix(prefix))?;
    }
}

/// The option of 1.9.2 with the same purpose.
fn instead<'a>(plain: &str, names: &[&'a str]) -> Option<&'a str> {
    let here = match plain {
        "pre_talking_heads" | "post_talking_heads" => "talking_heads",
        _ => return None,
    };
    ending(here, names)
}

/// Names in other libraries, and the name of the same option here.
const SAME: &[(&[&str], &str)] = &[
    (&["d_model", "n_embd", "n_embed", "embed_dim", "hidden_size", "model_dim", "emb_size"], "dim"),
    (&["n_layer", "n_layers", "num_layers", "num_hidden_layers", "layers"], "depth"),
    (&["n_head", "n_heads", "nhead", "num_heads", "num_attention_heads"], "heads"),
    (&["head_dim", "d_head", "d_k", "d_kv"], "dim_head"),
    (&["vocab_size", "n_vocab", "vocabulary_size", "num_embeddings"], "num_tokens"),
    (
        &[
            "block_size",
            "n_ctx",
            "n_positions",
            "context_length",
            "seq_len",
            "max_position_embeddings",
        ],
        "max_seq_len",
    ),
    (&["dropout", "attention_dropout", "attn_pdrop"], "attn_dropout"),
    (&["resid_pdrop", "hidden_dropout_prob"], "ff_dropout"),
    (&["embd_pdrop", "embedding_dropout"], "emb_dropout"),
    (&["tie_word_embeddings", "tie_weights"], "tie_embedding"),
    (&["hidden_act", "hidden_activation", "activation_function"], "ff_activation"),
    (&["intermediate_size", "n_inner", "d_ff", "ffn_dim"], "ff_inner_dim"),
    (&["final_logit_softcapping"], "logit_softclamp_value"),
    (&["logit_scale"], "logits_scale"),
    (&["embedding_multiplier"], "emb_scale"),
    (&["attention_mask", "key_padding_mask", "src_key_padding_mask"], "mask"),
    (&["position_ids", "positions"], "pos"),
    (&["encoder_hidden_states", "memory"], "context"),
    (&["encoder_attention_mask", "memory_key_padding_mask"], "context_mask"),
    (&["top_k"], "top_k_tokens"),
    (&["top_p"], "nucleus_p"),
    (&["eos_token_id", "eos_id"], "eos_token"),
    (&["learning_rate"], "lr"),
    (&["eps_adam", "epsilon"], "eps"),
];

/// The name here of an option of another library, if it is one of `names`.
pub fn same(name: &str, names: &[&str]) -> Option<String> {
    let prefix =
        ["enc_", "dec_"].into_iter().find(|prefix| name.starts_with(prefix)).unwrap_or_default();
    let (_, here) = SAME.iter().find(|(others, _)| others.contains(&&name[prefix.len()..]))?;
    ending(&format!("{prefix}{here}"), names).map(str::to_string)
}

/// `wanted` itself, or else the shortest name that ends with it.
fn ending<'a>(wanted: &str, names: &[&'a str]) -> Option<&'a str> {
    let exact = names.iter().copied().find(|name| *name == wanted);
    let longer = || {
        names
            .iter()
            .copied()
            .filter(|name| name.ends_with(&format!("_{wanted}")))
            .min_by_key(|n| n.len())
    };
    exact.or_else(longer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sets;

    #[test]
    fn no_name_that_is_an_option_here_is_called_newer_everywhere() {
        for set in sets::all() {
            let options = set.options();
            let names: Vec<&str> = options.iter().map(|o| o.name.as_str()).collect();
            // an option may belong to a single class
            assert!(names.iter().all(|name| !NEWER.contains(name)), "{}: {names:?}", set.interface);
        }
    }

    #[test]
    fn names_from_elsewhere_are_explained() {
        let names = ["dim", "attn_talking_heads", "attn_dim_head", "enc_depth", "mask"];
        assert!(explain("attn_flash", &names).unwrap().contains("always on here"));
        assert!(explain("dec_attn_pre_talking_heads", &names)
            .unwrap()
            .ends_with("not in 1.9.2; `attn_talking_heads` is"));
        assert!(explain("unet_skips", &names).unwrap().ends_with("not in 1.9.2"));
        assert!(explain("resi_dual", &names).unwrap().contains("later versions 1.x"));
        assert!(explain("max_new_tokens", &["temperature"])
            .unwrap()
            .contains("the argument before the options"));
        assert_eq!(explain("max_new_tokens", &names), None);
        assert_eq!(explain("dimm", &names), None);
        assert_eq!(same("d_model", &names).as_deref(), Some("dim"));
        assert_eq!(same("head_dim", &names).as_deref(), Some("attn_dim_head"));
        assert_eq!(same("enc_num_layers", &names).as_deref(), Some("enc_depth"));
        assert_eq!(same("vocab_size", &names), None);
    }
}
