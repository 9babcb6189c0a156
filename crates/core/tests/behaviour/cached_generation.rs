//! `cache_kv`: cached keys and values during generation, and when the cache is discarded.

use crate::common::{
    autoregressive, build, call_numbered, fill, gpt, layers, plain, spec, tensor, tokens,
    transformer, values, with,
};
use serde_json::{json, Value as Json};
use std::sync::atomic::{AtomicUsize, Ordering};
use xt_core::generation::Generation;
use xt_core::{Args, Ctx, Model, Rng, Tensor};

fn start(model: &Model, prompt: &Tensor, count: usize, named: Json) -> Generation {
    let tensors = [prompt.clone()];
    let args = Args::new("generate", json!([{ "$tensor": 0 }, count, named]), &tensors).unwrap();
    model.generation("generate", &args).unwrap()
}

fn logits(generation: &mut Generation) -> Tensor {
    generation.logits(&Ctx::new(&Rng::new(1, 1), &|| false)).unwrap()
}

#[track_caller]
fn near(got: &Tensor, want: &Tensor) {
    for (got, want) in values(got).iter().zip(values(want)) {
        assert!((got - want).abs() < 1e-4, "{got}, not {want}");
    }
}

/// Two generations, with and without `cache_kv`.
fn both(model: &Model) -> [Generation; 2] {
    [true, false].map(|kept| {
        start(model, &tokens(2, 4, 1), 8, json!({ "cache_kv": kept, "temperature": 0.0 }))
    })
}

/// One step of both, which accept the same token.
fn step([kept, plain]: &mut [Generation; 2]) {
    let (got, want) = (logits(kept), logits(plain));
    near(&got, &want);
    let rng = Rng::new(1, 1);
    kept.accept(&want, false, &rng).unwrap();
    plain.accept(&want, false, &rng).unwrap();
}

#[test]
fn cache_kv_gives_the_same_tokens_and_can_be_turned_off() {
    let model = build(&plain());
    let tokens = |named: Json| {
        let args = json!([{ "$tensor": 0 }, 8, named]);
        values(&tensor(
            call_numbered(&model, "generate", args, &[crate::common::tokens(2, 4, 1)], 1).unwrap(),
        ))
    };
    let kept = tokens(json!({ "temperature": 0.0 }));
    assert_eq!(kept, tokens(json!({ "temperature": 0.0, "cache_kv": false })));
    // beams change places in the cache
    let beams = tokens(json!({ "num_beams": 3 }));
    assert_eq!(beams, tokens(json!({ "num_beams": 3, "cache_kv": false })));
}

#[test]
fn changing_weights_between_two_steps_discards_the_cache() {
    let model = build(&plain());
    let mut pair = both(&model);
    step(&mut pair);
    fill(&model, "net.attn_layers.layers.0.1.to_v.weight", 0.3);
    step(&mut pair);
    step(&mut pair);
    assert!(pair[0].is_cached() && !pair[1].is_cached());
}

#[test]
fn an_abort_within_a_step_leaves_the_cache_consistent() {
    let model = build(&plain());
    let mut pair = both(&model);
    step(&mut pair);
    for after in 1..5 {
        let asked = AtomicUsize::new(0);
        let aborted = || asked.fetch_add(1, Ordering::SeqCst) >= after;
        assert!(pair[0].logits(&Ctx::new(&Rng::new(1, 1), &aborted)).is_err());
        step(&mut pair);
    }
}

#[test]
fn models_that_cannot_cache_say_why_and_still_generate() {
    let cases = [
        (json!({}), None),
        (json!({ "rotary_pos_emb": true, "attn_max_attend_past": 3, "shift_tokens": 1 }), None),
        (json!({ "rotary_xpos": true }), Some("rotary_xpos")),
    ];
    let not_cacheable =
        |model: &Model| model.describe()["not_cacheable"].as_str().map(str::to_string);
    for (options, reason) in cases {
        let model = build(&autoregressive(gpt(options, json!({})), json!({})));
        assert_eq!(not_cacheable(&model).is_some(), reason.is_some());
        assert!(reason.is_none_or(|word| not_cacheable(&model).unwrap().contains(word)));
        step(&mut both(&model));
    }
    let encoder = transformer(layers("Encoder", json!({})), json!({}));
    let model = build(&autoregressive(encoder, json!({})));
    assert!(not_cacheable(&model).unwrap().contains("Decoder"));
    let mut pair = both(&model);
    step(&mut pair);
    step(&mut pair);
    assert!(!pair[0].is_cached());
    let shifting = layers("Encoder", json!({ "custom_layers": ["f", "f"], "shift_tokens": 1 }));
    let model = build(&autoregressive(transformer(shifting, json!({})), json!({})));
    assert!(not_cacheable(&model).unwrap().contains("shift_tokens"));
    let mut pair = both(&model);
    (0..3).for_each(|_| step(&mut pair));
    // a model that generates nothing has nothing to say of it
    assert_eq!(not_cacheable(&build(&spec("Encoder", json!({ "dim": 16, "depth": 1 })))), None);
}

#[test]
fn keys_and_values_are_computed_anew_where_rotary_angles_change() {
    let scaled = |scaling: Json| {
        let length = json!({ "factor": 2.0, "original_max_position_embeddings": 7 });
        let rotary = json!({ "rotary_pos_emb": true, "rotary_scaling": with(scaling, length) });
        build(&autoregressive(gpt(rotary, json!({ "num_memory_tokens": 1 })), json!({})))
    };
    let lists = json!({ "short_factor": [1, 1, 1, 1], "long_factor": [2, 3, 4, 5] });
    for model in [
        scaled(json!({ "rope_type": "dynamic" })),
        scaled(with(json!({ "rope_type": "longrope" }), lists)),
    ] {
        let mut pair = both(&model);
        for _ in 0..8 {
            step(&mut pair);
            assert!(pair[0].is_cached() && !pair[1].is_cached());
        }
        // rows of different lengths, beams, and scores
        let mask = crate::common::mask(&[0, 1, 1, 1, 1, 1, 1, 1], &[2, 4]);
        let [kept, plain] = [true, false].map(|kept| {
            let named = json!({ "cache_kv": kept, "num_beams": 2, "mask": { "$tensor": 1 } });
            let args = json!([{ "$tensor": 0 }, 8, named]);
            let tensors = [tokens(2, 4, 1), mask.clone()];
            values(&tensor(call_numbered(&model, "generate", args, &tensors, 1).unwrap()))
        });
        assert_eq!(kept, plain);
    }
}

#[test]
fn hundreds_of_tokens_behind_a_short_prompt_outgrow_the_first_buffers() {
    let rng = Rng::new(1, 1);
    for options in
        [json!({}), json!({ "rotary_pos_emb": true, "shift_tokens": 1, "attn_one_kv_head": true })]
    {
        let model = build(&autoregressive(gpt(options, json!({ "max_seq_len": 400 })), json!({})));
        for named in [json!({ "temperature": 0 }), json!({ "num_beams": 2 })] {
            let [mut kept, mut plain] = [true, false].map(|kept| {
                start(
                    &model,
                    &tokens(2, 2, 1),
                    300,
                    with(named.clone(), json!({ "cache_kv": kept })),
                )
            });
            while !plain.done() {
                let (got, want) = (logits(&mut kept), logits(&mut plain));
                near(&got, &want);
                assert!(kept.is_cached());
                let chosen = plain.accept(&want, false, &rng).unwrap();
                assert_eq!(kept.accept(&want, false, &rng).unwrap(), chosen);
            }
            let rows = [kept, plain].map(|generation| values(&generation.tokens().unwrap()));
            assert_eq!((rows[0].len(), &rows[0]), (600, &rows[1]));
        }
    }
}
