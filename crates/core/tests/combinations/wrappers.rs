//! Transformers over tokens, continuous values and images.

use crate::case::Case;
use crate::choices::{self, calls};
use crate::common::{tokens, with};
use crate::draw::{config, some, Options};
use crate::gradients::agree_with_differences;
use crate::influence::stays_in_bounds;
use crate::inputs::{Inputs, BATCH, DIM, N};
use crate::layers::{small, LAYER_CALLS};
use crate::run::{to_f64, trains};
use proptest::prelude::*;
use serde_json::{json, Value as Json};
use xt_core::DType;

/// `Encoder` or `Decoder`.
pub fn class() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("Encoder"), Just("Decoder")]
}

pub fn transformer(class: &str, layers: Options, options: Options) -> Json {
    let layers = json!({ "class": class, "options": small(layers) });
    let required = json!({ "num_tokens": 17, "max_seq_len": 12, "attn_layers": layers });
    json!({ "class": "TransformerWrapper", "options": with(required, Json::Object(options)) })
}

pub fn continuous(class: &str, layers: Options, options: Options) -> Json {
    let layers = json!({ "class": class, "options": small(layers) });
    let required = json!({ "max_seq_len": 12, "attn_layers": layers });
    json!({ "class": "ContinuousTransformerWrapper", "options": with(required, Json::Object(options)) })
}

/// Width of the token embeddings.
pub fn emb_dim(case: &Case) -> usize {
    case.option("emb_dim").map_or(DIM, |n| n.as_u64().unwrap() as usize)
}

fn token_inputs(case: &Case, dtype: DType) -> Inputs {
    let mut inputs = Inputs::new(vec![tokens(BATCH, N, 1)], dtype);
    inputs.add_call(case, N, emb_dim(case));
    inputs
}

fn vector_inputs(case: &Case, dtype: DType) -> Inputs {
    let mut inputs = Inputs::new(vec![], dtype);
    let width = case.option("dim_in").map_or(DIM, |n| n.as_u64().unwrap() as usize);
    inputs.tensors.push(inputs.floats(&[BATCH, N, width], 1));
    inputs.add_call(case, N, DIM);
    inputs
}

fn image_inputs(case: &Case, dtype: DType) -> Inputs {
    let mut inputs = Inputs::new(vec![], dtype);
    let channels = case.option("channels").map_or(3, |n| n.as_u64().unwrap() as usize);
    inputs.tensors.push(inputs.floats(&[BATCH, channels, 4, 6], 1));
    inputs.add_call(case, N, DIM);
    inputs
}

fn token_calls() -> Vec<choices::Choice> {
    let own = [
        "pos",
        "pos_embeds",
        "prepend_embeds",
        "prepend_mask",
        "excise_prepend_embeds",
        "sum_embeds",
        "return_embeddings",
        "return_logits_and_embeddings",
        "return_intermediates",
        "return_mems",
        "return_attn",
    ];
    calls(&[&LAYER_CALLS[..], &own].concat())
}

fn vector_calls() -> Vec<choices::Choice> {
    let own = [
        "pos",
        "pos_embeds",
        "prepend_embeds",
        "return_embeddings",
        "return_intermediates",
        "return_attn",
    ];
    calls(&[&LAYER_CALLS[..], &own].concat())
}

fn transformers(more: Vec<choices::Choice>) -> impl Strategy<Value = Case> {
    let own = [choices::transformer(), more].concat();
    let make = |(class, layers, mut options, call): (&str, Options, Options, Options)| {
        if call.contains_key("return_mems") {
            options.entry("max_mem_len").or_insert(json!(3));
        }
        Case::new(transformer(class, layers, options), call)
    };
    (class(), some(choices::layers(), 7), some(own, 4), some(token_calls(), 5)).prop_map(make)
}

fn continuous_ones() -> impl Strategy<Value = Case> {
    let make = |(class, layers, options, call): (&str, Options, Options, Options)| {
        Case::new(continuous(class, layers, options), call)
    };
    (class(), some(choices::layers(), 7), some(choices::continuous(), 4), some(vector_calls(), 5))
        .prop_map(make)
}

fn vits() -> impl Strategy<Value = Case> {
    let make = |(layers, options, call): (Options, Options, Options)| {
        let layers = json!({ "class": "Encoder", "options": small(layers) });
        let required = json!({ "image_size": 6, "patch_size": 2, "attn_layers": layers });
        let spec = json!({ "class": "ViTransformerWrapper", "options": with(required, Json::Object(options)) });
        Case::new(spec, call)
    };
    (some(choices::stack(), 7), some(choices::vit(), 3), some(calls(&["return_embeddings"]), 1))
        .prop_map(make)
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn transformers_over_tokens(case in transformers(vec![("logits_dim".into(), json!(20))])) {
        trains(&case, 1, &token_inputs);
        to_f64(&case);
        agree_with_differences(&case, 1, &token_inputs);
        stays_in_bounds(&case, &token_inputs);
    }

    #[test]
    fn transformers_with_pools_and_several_heads(case in transformers(choices::pools())) {
        trains(&case, 1, &token_inputs);
        to_f64(&case);
        agree_with_differences(&case, 1, &token_inputs);
    }

    #[test]
    fn transformers_over_continuous_values(case in continuous_ones()) {
        trains(&case, 1, &vector_inputs);
        to_f64(&case);
        agree_with_differences(&case, 1, &vector_inputs);
        stays_in_bounds(&case, &vector_inputs);
    }

    #[test]
    fn transformers_over_images(case in vits()) {
        trains(&case, 1, &image_inputs);
        to_f64(&case);
        agree_with_differences(&case, 1, &image_inputs);
    }
}
