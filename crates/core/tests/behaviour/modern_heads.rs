//! Options of embeddings and heads that the Python package of version 1.9.2 does not have: each
//! against a plain model with the same weights, in logits, losses, scores and generation.

use crate::common::{
    array_values, autoregressive, build, call_numbered, close, copy_weights, forward, gpt, layers,
    mask, spec, taken_gradients, tensor, tokens, transformer, values, with,
};
use serde_json::{json, Value as Json};
use std::sync::Arc;
use xt_autograd::ops::{self, CrossEntropy};
use xt_core::{Model, Tensor, Value};
use xt_kernels::ops::elementwise::affine;

/// Options of a head, by which the logits of a plain one change as [`changed`] says.
fn heads() -> Vec<Json> {
    vec![
        json!({ "logits_scale": 0.4 }),
        json!({ "logits_scale": 3.0, "logit_softclamp_value": 0.7 }),
        json!({ "logit_softclamp_value": 1.5 }),
        json!({ "tie_embedding": true, "tie_embedding_scale": 0.25 }),
        json!({
            "tie_embedding": true, "tie_embedding_scale": 0.25, "logits_scale": 1.6,
            "logit_softclamp_value": 0.7,
        }),
    ]
}

/// `logits` of a plain head as those of a head with `options`.
fn changed(logits: &Tensor, options: &Json) -> Tensor {
    let number = |name: &str| options[name].as_f64();
    let scale =
        number("logits_scale").unwrap_or(1.0) * number("tie_embedding_scale").unwrap_or(1.0);
    let scaled = ops::affine(logits, scale, 0.0).unwrap();
    let Some(limit) = number("logit_softclamp_value") else { return scaled };
    let tanh = ops::tanh(&ops::affine(&scaled, 1.0 / limit, 0.0).unwrap()).unwrap();
    ops::affine(&tanh, limit, 0.0).unwrap()
}

/// The same model without the options of the head, apart from tied weights.
fn plain(options: &Json) -> Json {
    json!({ "tie_embedding": options["tie_embedding"] == json!(true) })
}

/// A model with `options` of its net, and one without them that has the same weights.
fn both(of: impl Fn(Json) -> Json, options: &Json) -> [Arc<Model>; 2] {
    let models = [build(&of(options.clone())), build(&of(plain(options)))];
    copy_weights(&models[0], &models[1]);
    models
}

fn assert_same_gradients(got: &Model, want: &Model) {
    let (got, want) = (taken_gradients(got), taken_gradients(want));
    assert_eq!(got.len(), want.len());
    for ((name, got), (_, want)) in got.iter().zip(&want) {
        assert!(want.iter().any(|g| g.abs() > 1e-4), "{name}");
        close(got, want, 1e-5);
    }
}

#[test]
fn logits_scale_tie_embedding_scale_and_logit_softclamp_value_change_the_logits() {
    let x = tokens(2, 9, 1);
    for options in heads() {
        let [model, plain] = both(|options| gpt(json!({}), options), &options);
        let (got, want) = (forward(&model, &x), changed(&forward(&plain, &x), &options));
        close(&values(&got), &values(&want), 1e-6);
        assert!(values(&got) != values(&forward(&plain, &x)), "{options}");
        for logits in [got, want] {
            ops::sum(&ops::exp(&logits).unwrap(), None, false)
                .unwrap()
                .backward(false, &|| false)
                .unwrap();
        }
        assert_same_gradients(&model, &plain);
    }
}

#[test]
fn losses_and_scores_are_those_of_the_changed_logits() {
    let x = tokens(2, 9, 1);
    let targets = ops::narrow(&x, 1, 1, 8).unwrap();
    let input = ops::narrow(&x, 1, 0, 8).unwrap();
    let how = CrossEntropy { ignore_index: -100, label_smoothing: 0.1 };
    for options in heads() {
        let of = |options| autoregressive(gpt(json!({}), options), json!({}));
        let [model, plain] = both(of, &options);
        let args = json!([{ "$tensor": 0 }, { "label_smoothing": 0.1 }]);
        let loss =
            tensor(call_numbered(&model, "forward", args, std::slice::from_ref(&x), 1).unwrap());
        let logits = changed(&forward(&plain.child("net").unwrap(), &input), &options);
        let want = ops::cross_entropy(&logits, &targets, how).unwrap();
        close(&values(&loss), &values(&want), 1e-5);
        loss.backward(false, &|| false).unwrap();
        want.backward(false, &|| false).unwrap();
        assert_same_gradients(&model, &plain);
        let places = ops::reshape(&targets, &[2, 8, 1]).unwrap();
        let log_probs = ops::gather(&ops::log_softmax(&logits, 2).unwrap(), &places, 2).unwrap();
        close(&log_probs_of(&model, &x), &values(&log_probs), 1e-5);
    }
}

fn log_probs_of(model: &Model, x: &Tensor) -> Vec<f64> {
    let args = json!([{ "$tensor": 0 }]);
    let Value::Fields(fields) =
        call_numbered(model, "score", args, std::slice::from_ref(x), 1).unwrap()
    else {
        panic!("fields")
    };
    let log_probs = fields.into_iter().find(|(name, _)| *name == "log_probs").unwrap().1;
    values(&tensor(log_probs))
}

/// A quantized head gives logits, not blocks of them.
/// With a negative factor, the most likely token is that of the least logit of the plain head.
#[test]
fn generation_takes_the_scaled_logits_with_and_without_a_cache() {
    let options = json!({ "logits_scale": -2.0, "logit_softclamp_value": 5.0 });
    let of = |options| autoregressive(gpt(json!({}), options), json!({}));
    let [model, plain] = both(of, &options);
    let net = plain.child("net").unwrap();
    let start = tokens(1, 3, 2);
    let mut want = values(&start);
    for n in 3..8 {
        let so_far: Vec<i64> = want.iter().map(|id| *id as i64).collect();
        let logits = values(&forward(&net, &crate::common::ids(&so_far, &[1, n])));
        let last = &logits[(n - 1) * 17..];
        let least = (0..17).min_by(|a, b| last[*a].total_cmp(&last[*b])).unwrap();
        want.push(least as f64);
    }
    for cache_kv in [true, false] {
        let args = json!([{ "$tensor": 0 }, 5, { "temperature": 0.0, "cache_kv": cache_kv }]);
        let got = call_numbered(&model, "generate", args, std::slice::from_ref(&start), 1).unwrap();
        assert_eq!(values(&tensor(got)), want[3..]);
    }
}

#[test]
fn emb_scale_multiplies_the_token_embeddings_and_not_the_positions() {
    let x = tokens(2, 9, 1);
    for more in [json!({}), json!({ "post_emb_norm": true }), json!({ "l2norm_embed": true })] {
        let scaled = build(&gpt(json!({}), with(json!({ "emb_scale": 2.5 }), more.clone())));
        let plain = build(&gpt(json!({}), more.clone()));
        copy_weights(&scaled, &plain);
        if more["l2norm_embed"] == json!(true) {
            // the factor comes after the norm: a larger table changes nothing
            assert!(values(&forward(&scaled, &x)) != values(&forward(&plain, &x)));
            continue;
        }
        let table = plain.entry("token_emb.emb.weight").unwrap().param.leaf().clone();
        table.set(affine(&table.values().unwrap(), 2.5, 0.0).unwrap()).unwrap();
        let (got, want) = (forward(&scaled, &x), forward(&plain, &x));
        close(&values(&got), &values(&want), 1e-6);
        for logits in [got, want] {
            let square = ops::sum(&ops::square(&logits).unwrap(), None, false).unwrap();
            square.backward(false, &|| false).unwrap();
        }
        let factor = |name: &str| if name == "token_emb.emb.weight" { 2.5 } else { 1.0 };
        for ((name, got), (_, want)) in
            taken_gradients(&scaled).iter().zip(&taken_gradients(&plain))
        {
            let want: Vec<f64> = want.iter().map(|g| g * factor(name)).collect();
            close(got, &want, 1e-4);
        }
    }
}

/// The table of positions times the factor is what the plain one has times 1 / sqrt(width).
#[test]
fn abs_pos_emb_scale_is_the_factor_of_the_positions() {
    let x = tokens(2, 9, 1);
    let scaled = build(&gpt(json!({}), json!({ "abs_pos_emb_scale": 0.75 })));
    let plain = build(&gpt(json!({}), json!({})));
    copy_weights(&scaled, &plain);
    let table = plain.entry("pos_emb.emb.weight").unwrap().param.leaf().clone();
    let width = table.shape()[1] as f64;
    table.set(affine(&table.values().unwrap(), 0.75 * width.sqrt(), 0.0).unwrap()).unwrap();
    close(&values(&forward(&scaled, &x)), &values(&forward(&plain, &x)), 1e-5);
    let normed = |scale| gpt(json!({}), with(json!({ "l2norm_embed": true }), scale));
    let [one, usual] = [json!({ "abs_pos_emb_scale": 1.0 }), json!({})].map(|o| build(&normed(o)));
    copy_weights(&one, &usual);
    assert_eq!(values(&forward(&one, &x)), values(&forward(&usual, &x)));
}

#[test]
fn logits_bias_is_a_parameter_of_the_head() {
    let x = tokens(2, 9, 1);
    let without = build(&gpt(json!({}), json!({ "logits_bias": false })));
    assert!(without.entry("to_logits.bias").is_err());
    let plain = build(&gpt(json!({}), json!({})));
    let mut state: Vec<_> = without
        .entries()
        .iter()
        .map(|entry| (entry.name.clone(), entry.param.values().unwrap()))
        .collect();
    let bias = plain.entry("to_logits.bias").unwrap().param.values().unwrap();
    state.push(("to_logits.bias".into(), affine(&bias, 0.0, 0.0).unwrap()));
    plain.load_state(&state, true).unwrap();
    close(&values(&forward(&without, &x)), &values(&forward(&plain, &x)), 1e-6);
}

/// The decoder of an `XTransformer` takes the options of a head, both halves the factor of the
/// embeddings.
#[test]
fn an_x_transformer_has_the_options_of_the_wrapper_in_its_halves() {
    let halves = json!({
        "dim": 16, "enc_num_tokens": 17, "enc_max_seq_len": 12, "enc_depth": 1, "enc_heads": 2,
        "dec_num_tokens": 17, "dec_max_seq_len": 12, "dec_depth": 1, "dec_heads": 2,
        "tie_token_emb": true, "enc_emb_scale": 2.5, "dec_emb_scale": 0.4,
    });
    let options = json!({
        "dec_tie_embedding": true, "dec_tie_embedding_scale": 0.25, "dec_logits_scale": 1.6,
        "dec_logit_softclamp_value": 0.7,
    });
    let model = build(&spec("XTransformer", with(halves, options)));
    assert!(model.entry("decoder.net.to_logits.weight").is_err());
    let nets = [
        ("Encoder", json!({ "emb_scale": 2.5 }), "encoder."),
        ("Decoder", json!({ "emb_scale": 0.4, "tie_embedding": true }), "decoder.net."),
    ];
    let [encoder, decoder] = nets.map(|(class, options, prefix)| {
        let more = json!({ "depth": 1, "attn_dim_head": 64, "cross_attend": class == "Decoder" });
        let net = build(&transformer(layers(class, more), options));
        let state: Vec<_> = net
            .entries()
            .iter()
            .map(|entry| {
                let own = model.entry(&format!("{prefix}{}", entry.name)).unwrap();
                (entry.name.clone(), own.param.values().unwrap())
            })
            .collect();
        net.load_state(&state, true).unwrap();
        net
    });
    let (src, tgt) = (tokens(2, 5, 1), tokens(2, 7, 2));
    let args = json!([{ "$tensor": 0 }, { "$tensor": 1 }]);
    let loss =
        tensor(call_numbered(&model, "forward", args, &[src.clone(), tgt.clone()], 1).unwrap());
    let named = json!([{ "$tensor": 0 }, { "return_embeddings": true }]);
    let context = tensor(call_numbered(&encoder, "forward", named, &[src], 1).unwrap());
    let named = json!([{ "$tensor": 0 }, { "context": { "$tensor": 1 } }]);
    let input = ops::narrow(&tgt, 1, 0, 6).unwrap();
    let logits = tensor(call_numbered(&decoder, "forward", named, &[input, context], 1).unwrap());
    let head = json!({
        "tie_embedding_scale": 0.25, "logits_scale": 1.6, "logit_softclamp_value": 0.7,
    });
    let targets = ops::narrow(&tgt, 1, 1, 6).unwrap();
    let want = ops::cross_entropy(&changed(&logits, &head), &targets, CrossEntropy::ignoring(-100))
        .unwrap();
    close(&array_values(&loss.array().unwrap()), &array_values(&want.array().unwrap()), 1e-5);
}

/// The loss without the last logits, whose token the target does not have, is that of the model.
#[test]
fn return_logits_of_an_x_transformer_are_those_of_its_loss() {
    let options = json!({
        "dim": 16, "enc_num_tokens": 17, "enc_max_seq_len": 12, "enc_depth": 1, "enc_heads": 2,
        "dec_num_tokens": 19, "dec_max_seq_len": 12, "dec_depth": 1, "dec_heads": 2,
    });
    let model = build(&spec("XTransformer", options.clone()));
    let real = mask(&[1, 1, 1, 0, 0, 1, 1, 1, 1, 1], &[2, 5]);
    let tensors = [tokens(2, 5, 1), tokens(2, 7, 2), real];
    let forward = |model: &Model, named: Json| {
        let args = json!([{ "$tensor": 0 }, { "$tensor": 1 }, named]);
        tensor(call_numbered(model, "forward", args, &tensors, 1).unwrap())
    };
    let masked = json!({ "mask": { "$tensor": 2 } });
    let loss = forward(&model, masked.clone());
    let logits = forward(&model, with(masked.clone(), json!({ "return_logits": true })));
    assert_eq!(logits.dims(), [2, 7, 19]);
    let guesses = ops::narrow(&logits, 1, 0, 6).unwrap();
    let targets = ops::narrow(&tensors[1], 1, 1, 6).unwrap();
    let want = ops::cross_entropy(&guesses, &targets, CrossEntropy::ignoring(-100)).unwrap();
    close(&values(&loss), &values(&want), 1e-6);
    let without = with(options, json!({ "enc_return_only_embed": true }));
    let headless = build(&spec("XTransformer", without));
    assert!(headless.entry("encoder.to_logits.weight").is_err());
    copy_weights(&model, &headless);
    assert_eq!(values(&forward(&headless, masked)), values(&loss));
}
