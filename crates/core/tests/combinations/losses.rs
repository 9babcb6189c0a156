//! The wrappers with a loss, which also generate.

use crate::case::Case;
use crate::choices::{self, calls};
use crate::common::{call_numbered, tokens, values, with};
use crate::draw::{config, some, Options};
use crate::gradients::agree_with_differences;
use crate::inputs::{Inputs, BATCH, DIM, N};
use crate::run::{all_finite, flat, to_f64, trains};
use crate::wrappers::{class, continuous, emb_dim, transformer};
use proptest::prelude::*;
use serde_json::{json, Value as Json};
use xt_core::{DType, Tensor};

/// How many tokens or vectors are generated.
const NEW: usize = 4;
/// The last token.
const MASK_ID: usize = 16;

pub fn around(class: &str, net: Json, options: Options) -> Json {
    json!({ "class": class, "options": with(json!({ "net": net }), Json::Object(options)) })
}

/// Generates from the first `positional` tensors with the options of `sampling`.
fn generated(case: &Case, mut inputs: Inputs, positional: usize, sampling: &Options) -> Tensor {
    let filter = sampling.get("filter_logits_fn").and_then(Json::as_str).unwrap_or("top_k");
    // options of a filter that is not used are an error
    let used = |name: &str| match name {
        "filter_thres" | "temperature_first" => filter != "top_a",
        "min_p_pow" | "min_p_ratio" => filter == "top_a",
        _ => true,
    };
    let used = sampling.iter().filter(|(name, _)| used(name));
    used.for_each(|(name, value)| inputs.flag(name, value.clone()));
    let mut args: Vec<Json> = (0..positional).map(|i| json!({ "$tensor": i })).collect();
    args.extend([json!(NEW), inputs.named()]);
    let value = call_numbered(&case.model, "generate", json!(args), &inputs.tensors, 2);
    flat(value.unwrap_or_else(|e| panic!("{e}"))).swap_remove(0)
}

/// At most `NEW` tokens of the vocabulary in each row.
fn assert_tokens(new: &Tensor) {
    assert!(new.dim(0) == BATCH && new.dim(1) <= NEW, "{new:?}");
    assert!(values(new).iter().all(|id| (0.0..17.0).contains(id)), "{:?}", values(new));
}

/// The inputs of the loss over tokens: sequences one longer than the masks.
fn token_loss(case: &Case, dtype: DType) -> Inputs {
    let mut inputs = Inputs::new(vec![tokens(BATCH, N + 1, 1)], dtype);
    inputs.add_call(case, N, emb_dim(case));
    inputs
}

fn token_prompt(case: &Case) -> Inputs {
    let mut inputs = Inputs::new(vec![tokens(BATCH, 3, 2)], DType::F32);
    inputs.add_call(case, 3, emb_dim(case));
    inputs
}

fn width_in(case: &Case) -> usize {
    case.option("dim_in").map_or(DIM, |n| n.as_u64().unwrap() as usize)
}

pub fn vectors(case: &Case, dtype: DType, n: usize, covered: usize) -> Inputs {
    let mut inputs = Inputs::new(vec![], dtype);
    inputs.tensors.push(inputs.floats(&[BATCH, n, width_in(case)], 1));
    inputs.add_call(case, covered, DIM);
    inputs
}

pub fn pair(case: &Case, dtype: DType) -> Inputs {
    let mut inputs = Inputs::new(vec![tokens(BATCH, N, 1), tokens(BATCH, 5, 2)], dtype);
    if case.has("src_prepend_embeds") {
        let front = inputs.floats(&[BATCH, 2, DIM], 13);
        inputs.add("src_prepend_embeds", front);
    }
    inputs.add_source(case, N);
    inputs
}

fn token_models() -> impl Strategy<Value = Case> {
    let make = |(class, layers, net, options, call): (&str, Options, Options, Options, Options)| {
        Case::new(around("AutoregressiveWrapper", transformer(class, layers, net), options), call)
    };
    let call = [
        "mask",
        "context_mask",
        "context_pos",
        "sum_embeds",
        "mems",
        "mem_masks",
        "attn_mask_2",
        "pos",
    ];
    let call = calls(&call);
    let (layers, net) = (some(choices::layers(), 7), some(choices::transformer(), 3));
    (class(), layers, net, some(choices::autoregressive(), 2), some(call, 2)).prop_map(make)
}

pub fn vector_models() -> impl Strategy<Value = Case> {
    let make = |(class, layers, mut net, call): (&str, Options, Options, Options)| {
        // outputs are inputs of the next step
        let width = net.get("dim_in").cloned().unwrap_or(json!(DIM));
        net.insert("dim_out".into(), width);
        Case::new(
            around(
                "ContinuousAutoregressiveWrapper",
                continuous(class, layers, net),
                Options::new(),
            ),
            call,
        )
    };
    let call = calls(&["mask", "context_mask", "mems", "attn_mask_3"]);
    (class(), some(choices::layers(), 7), some(choices::continuous(), 3), some(call, 2))
        .prop_map(make)
}

pub fn pairs() -> impl Strategy<Value = Case> {
    let make = |(options, call): (Options, Options)| {
        let mut required = json!({ "dim": DIM });
        for half in ["enc", "dec"] {
            let sizes = [
                ("num_tokens", 17),
                ("max_seq_len", 12),
                ("depth", 2),
                ("heads", 2),
                ("attn_dim_head", 8),
            ];
            sizes.iter().for_each(|(name, size)| required[format!("{half}_{name}")] = json!(size));
        }
        let spec =
            json!({ "class": "XTransformer", "options": with(required, Json::Object(options)) });
        Case::new(spec, call)
    };
    let call = calls(&["mask", "attn_mask_2", "attn_mask_4", "src_prepend_embeds"]);
    (some(choices::x_transformer(), 12), some(call, 2)).prop_map(make)
}

fn masked_models() -> impl Strategy<Value = Case> {
    let make = |(layers, mut net, mut options): (Options, Options, Options)| {
        net.insert("max_seq_len".into(), json!(N + 1));
        options.insert("mask_id".into(), json!(MASK_ID));
        Case::new(
            around("NonAutoregressiveWrapper", transformer("Encoder", layers, net), options),
            Options::new(),
        )
    };
    (
        some(choices::stack(), 6),
        some(choices::transformer(), 3),
        some(choices::non_autoregressive(), 4),
    )
        .prop_map(make)
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn autoregressive_models_over_tokens(case in token_models(), sampling in some(choices::sampling(), 3)) {
        trains(&case, 1, &token_loss);
        let mut prompt = case.clone();
        // sizes of the other inputs change from step to step
        prompt.call.retain(|name, _| ["mask", "context_mask", "mems"].contains(&name.as_str()));
        assert_tokens(&generated(&prompt, token_prompt(&prompt), 1, &sampling));
        to_f64(&case);
        agree_with_differences(&case, 1, &token_loss);
    }

    #[test]
    fn autoregressive_models_over_continuous_values(case in vector_models()) {
        trains(&case, 1, &|case, dtype| vectors(case, dtype, N + 1, N));
        let mut start = case.clone();
        start.call.retain(|name, _| ["context_mask", "mems"].contains(&name.as_str()));
        let new = generated(&start, vectors(&start, DType::F32, 3, 3), 1, &Options::new());
        assert_eq!(new.dims(), [BATCH, NEW, width_in(&case)]);
        all_finite("what was generated", &[new]);
        to_f64(&case);
        agree_with_differences(&case, 1, &|case, dtype| vectors(case, dtype, N + 1, N));
    }

    #[test]
    fn encoders_with_decoders(case in pairs(), sampling in some(choices::sampling(), 3)) {
        trains(&case, 2, &pair);
        let mut inputs = pair(&case, DType::F32);
        inputs.tensors[1] = tokens(BATCH, 2, 3);
        assert_tokens(&generated(&case, inputs, 2, &sampling));
        to_f64(&case);
        agree_with_differences(&case, 2, &pair);
        masked_source_tokens_have_no_effect(&case);
    }

    #[test]
    fn masked_generation(case in masked_models(), batch in proptest::option::of(1_usize..3)) {
        trains(&case, 1, &token_loss);
        let args = json!([{ "batch_size": batch }]);
        let new = flat(call_numbered(&case.model, "generate", args, &[], 2).unwrap()).swap_remove(0);
        assert_eq!(new.dims(), batch.map_or(vec![N + 1], |n| vec![n, N + 1]));
        assert!(values(&new).iter().all(|id| (0.0..MASK_ID as f64).contains(id)), "a token is still masked");
        // with self-conditioning the first of two passes has no gradient, but depends on the
        // weights
        if !case.is_on("self_cond") || case.option("self_cond_train_prob") == Some(&json!(0.0)) {
            to_f64(&case);
            agree_with_differences(&case, 1, &token_loss);
        }
    }
}

fn masked_source_tokens_have_no_effect(case: &Case) {
    if !case.has("mask") || case.option("enc_shift_tokens").is_some() {
        return;
    }
    let loss = |change: i64| {
        let mut inputs = pair(case, DType::F64);
        let ids: Vec<i64> = values(&inputs.tensors[0]).iter().map(|id| *id as i64).collect();
        let hidden = |k: usize| crate::inputs::is_hidden(case, k / N, k % N);
        let changed: Vec<i64> = ids
            .iter()
            .enumerate()
            .map(|(k, id)| if hidden(k) { (id + change) % 17 } else { *id })
            .collect();
        inputs.tensors[0] = crate::common::ids(&changed, &[BATCH, N]);
        values(&xt_core::no_grad(|| crate::run::forward(case, &inputs, 2)).swap_remove(0))[0]
    };
    let (before, after) = (loss(0), loss(5));
    assert!(
        (before - after).abs() < 1e-9,
        "hidden tokens of the source change the loss by {}",
        after - before
    );
}
