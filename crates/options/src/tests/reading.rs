//! Reading options from JSON: names, types and null.

use super::{layers, paths, problems, read, with, x_transformer};
use crate::{autoregressive::*, calls::*, generation::*, layers::*, nearest, parse, wrappers::*};
use crate::{Filter, LayerKind, OneOrMany, TensorRef};
use serde_json::json;

#[test]
fn all_problems_come_at_once_each_with_its_path() {
    let bad = json!({ "dim": 64, "depth": 0, "heads": "8", "attn_dim_head": 1.5, "layer_dropout": 2, "ff_mul": 4 });
    assert_eq!(
        paths::<LayersOptions>(bad),
        ["ff_mul", "depth", "heads", "layer_dropout", "attn_dim_head"]
    );
}

#[test]
fn a_missing_option_is_named_with_what_it_takes() {
    let problems = problems::<LayersOptions>(json!({ "dim": 64 }));
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].to_string(), "depth: is required; allowed: a whole number >= 1");
}

#[test]
fn a_wrong_value_is_shown_with_what_is_allowed() {
    let message = |own| problems::<LayersOptions>(layers(own))[0].to_string();
    assert_eq!(message(json!({ "pre_norm": 1 })), "pre_norm: got 1; allowed: true or false");
    assert_eq!(
        message(json!({ "custom_layers": ["a", "x"] })),
        "custom_layers: got [\"a\",\"x\"]; allowed: an array, each 'a' or 'c' or 'f' or null"
    );
    assert_eq!(
        message(json!({ "attn_dropout": -0.1 })),
        "attn_dropout: got -0.1; allowed: a number from 0 to 1"
    );
    let wrong = json!({ "filter_logits_fn": "nucleus" });
    assert_eq!(
        problems::<GenerateOptions>(wrong)[0].to_string(),
        "filter_logits_fn: got \"nucleus\"; allowed: 'top_k' or 'top_p' or 'top_a' or a function of the logits or null"
    );
}

#[test]
fn what_is_no_object_is_a_problem() {
    assert_eq!(paths::<LayersOptions>(json!([1])), ["options"]);
}

#[test]
fn misspelt_names_get_a_hint() {
    let hint =
        |name: &str| problems::<LayersOptions>(layers(json!({ name: 1 })))[0].did_you_mean.clone();
    let hints = [
        ("hedas", "heads"),
        ("head", "heads"),
        ("custom", "custom_layers"),
        ("attn_talking_head", "attn_talking_heads"),
        ("qk_norm_dim_scale", "attn_qk_norm_dim_scale"),
        ("rotaryPosEmb", "rotary_pos_emb"),
        ("attn_heads", "heads"),
        ("talking_heads", "attn_talking_heads"),
        ("ff_dropouts", "ff_dropout"),
    ];
    for (name, meant) in hints {
        assert_eq!(hint(name).as_deref(), Some(meant), "{name}");
    }
    for name in ["causal", "weight_tie_layers", "x"] {
        assert_eq!(hint(name), None, "{name}");
    }
    let wrapper = with(
        json!({ "num_tokens": 1, "max_seq_len": 1, "attn_layers": { "$module": 0 } }),
        json!({ "numTokens": 1 }),
    );
    assert_eq!(
        problems::<TransformerWrapperOptions>(wrapper)[0].did_you_mean.as_deref(),
        Some("num_tokens")
    );
    assert_eq!(nearest("anything", []), None);
}

#[test]
fn names_that_python_drops_silently_are_problems_in_an_x_transformer() {
    let dropped = [
        "heads",
        "enc_dim",
        "dec_dim",
        "dec_num_memory_tokens",
        "enc_l2norm_embed",
        "dec_cross_attend",
    ];
    for name in dropped {
        assert_eq!(paths::<XTransformerOptions>(x_transformer(json!({ name: 1 }))), [name]);
    }
    let hint = |name: &str| {
        problems::<XTransformerOptions>(x_transformer(json!({ name: 1 })))[0].did_you_mean.clone()
    };
    assert_eq!(hint("enc_dim").as_deref(), Some("dim"));
    assert_eq!(hint("heads").as_deref(), Some("enc_heads"));
    assert_eq!(hint("dec_num_memory_tokens").as_deref(), Some("enc_num_memory_tokens"));
}

#[test]
fn null_is_pythons_none_where_none_is_allowed() {
    let options: LayersOptions =
        parse(&layers(json!({ "custom_layers": null, "rotary_emb_dim": null }))).unwrap();
    assert_eq!((options.stack.custom_layers, options.stack.rotary_emb_dim), (None, None));
    assert_eq!(paths::<LayersOptions>(layers(json!({ "heads": null }))), ["heads"]);
    let generate: NonAutoregressiveGenerate = parse(&json!({ "filter_thres": null })).unwrap();
    assert_eq!(generate.filter_thres, None);
    let call: TransformerCall =
        parse(&json!({ "mask": null, "context": { "$tensor": 3 } })).unwrap();
    assert_eq!((call.inputs.mask, call.inputs.context), (None, Some(TensorRef(3))));
}

#[test]
fn lists_are_read_in_both_forms() {
    let layers: LayersOptions =
        read(layers(json!({ "shift_tokens": [1, 0, 1, 0], "custom_layers": ["a", "c", "f"] })));
    assert_eq!(layers.stack.shift_tokens, OneOrMany::Many(vec![1, 0, 1, 0]));
    let kinds = [LayerKind::SelfAttention, LayerKind::CrossAttention, LayerKind::FeedForward];
    assert_eq!(layers.stack.custom_layers.as_deref(), Some(&kinds[..]));
    let call: TransformerCall = read(json!({ "mems": [{ "$tensor": 1 }, { "$tensor": 2 }] }));
    assert_eq!(call.inputs.mems, Some(vec![TensorRef(1), TensorRef(2)]));
}

#[test]
fn models_and_filters_are_read() {
    let wrapper: AutoregressiveWrapperOptions =
        parse(&json!({ "net": { "$module": 0 }, "mask_prob": 0.15 })).unwrap();
    assert_eq!(
        (wrapper.net.index, wrapper.mask_prob.0, wrapper.targets.ignore_index),
        (0, 0.15, -100)
    );
    let problem = &problems::<AutoregressiveWrapperOptions>(json!({ "net": 1 }))[0];
    assert_eq!(problem.allowed.as_deref(), Some("TransformerWrapper"));
    let generate: GenerateOptions =
        parse(&json!({ "filter_logits_fn": "top_a", "min_p_ratio": 0.5 })).unwrap();
    assert_eq!(
        (generate.sampling.filter(), generate.sampling.limit()),
        (Some(Filter::TopA), (2.0, 0.5))
    );
    let generate: GenerateOptions =
        parse(&json!({ "filter_logits_fn": "top_p", "filter_thres": 0.5 })).unwrap();
    assert_eq!((generate.sampling.filter(), generate.sampling.thres()), (Some(Filter::TopP), 0.5));
}
