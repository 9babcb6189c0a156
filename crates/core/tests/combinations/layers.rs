//! Stacks of layers alone, and the bare attention.

use crate::case::Case;
use crate::choices;
use crate::draw::{config, some, Options};
use crate::gradients::agree_with_differences;
use crate::influence::stays_in_bounds;
use crate::inputs::{Inputs, BATCH, DIM, N};
use crate::run::{to_f64, trains};
use proptest::prelude::*;
use serde_json::{json, Value as Json};
use xt_core::DType;

/// The options of a small stack, overridden by `more`.
pub fn small(more: Options) -> Json {
    crate::common::with(
        json!({ "dim": DIM, "depth": 2, "heads": 2, "attn_dim_head": 8 }),
        Json::Object(more),
    )
}

pub const LAYER_CALLS: [&str; 9] = [
    "mem_masks",
    "context_pos",
    "mask",
    "context_mask",
    "self_attn_context_mask",
    "attn_mask_2",
    "attn_mask_3",
    "attn_mask_4",
    "mems",
];

fn calls() -> Vec<choices::Choice> {
    choices::calls(&[&LAYER_CALLS[..], &["return_hiddens"]].concat())
}

fn inputs(case: &Case, dtype: DType) -> Inputs {
    let mut inputs = Inputs::new(vec![], dtype);
    inputs.tensors.push(inputs.floats(&[BATCH, N, DIM], 1));
    inputs.add_call(case, N, DIM);
    inputs
}

/// Stacks of `class`, and calls of them.
fn stacks(class: &'static str, choices: Vec<choices::Choice>) -> impl Strategy<Value = Case> {
    let make = move |(options, call): (Options, Options)| {
        Case::new(json!({ "class": class, "options": small(options) }), call)
    };
    (some(choices, 9), some(calls(), 4)).prop_map(make)
}

fn attentions() -> impl Strategy<Value = Case> {
    let make = |(mut options, call, causal): (Options, Options, bool)| {
        options.insert("causal".into(), json!(causal));
        let options = crate::common::with(
            json!({ "dim": DIM, "heads": 2, "dim_head": 8 }),
            Json::Object(options),
        );
        Case::new(json!({ "class": "Attention", "options": options }), call)
    };
    let call = some(choices::calls(&["mask", "attn_mask_2", "attn_mask_4"]), 2);
    (some(choices::attention(), 6), call, any::<bool>()).prop_map(make)
}

fn check(case: &Case) {
    trains(case, 1, &inputs);
    to_f64(case);
    agree_with_differences(case, 1, &inputs);
    stays_in_bounds(case, &inputs);
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn encoders(case in stacks("Encoder", choices::layers())) {
        check(&case);
    }

    #[test]
    fn decoders(case in stacks("Decoder", choices::layers())) {
        check(&case);
    }

    #[test]
    fn cross_attenders(case in stacks("CrossAttender", choices::stack())) {
        check(&case);
    }

    #[test]
    fn bare_attentions(case in attentions()) {
        trains(&case, 1, &inputs);
        to_f64(&case);
        agree_with_differences(&case, 1, &inputs);
    }
}
