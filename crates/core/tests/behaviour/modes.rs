//! Training mode: what it enables, and where.

use crate::common::{
    autoregressive, build, call_numbered, forward_numbered, gpt, layers, normal, tensor, tokens,
    values,
};
use crate::device::device;
use serde_json::{json, Value as Json};
use std::sync::Arc;
use xt_core::{Model, Rng};

/// Whether two calls give different results.
fn varies(model: &Model) -> bool {
    let x = if model.class() == "Decoder" { normal(&[2, 8, 16], 5) } else { tokens(2, 8, 5) };
    values(&forward_numbered(model, &x, 1)) != values(&forward_numbered(model, &x, 2))
}

fn every_dropout() -> [(Json, Json); 4] {
    [
        (json!({}), json!({ "emb_dropout": 0.3 })),
        (json!({ "attn_dropout": 0.3 }), json!({})),
        (json!({ "ff_dropout": 0.3 }), json!({})),
        (json!({ "layer_dropout": 0.5 }), json!({})),
    ]
}

#[test]
fn new_models_are_in_training_mode_and_eval_disables_every_dropout() {
    for (layers, wrapper) in every_dropout() {
        let net = gpt(layers.clone(), wrapper.clone());
        let plain = gpt(json!({}), json!({}));
        for (spec, plain) in [
            (net.clone(), plain.clone()),
            (autoregressive(net, json!({})), autoregressive(plain, json!({}))),
        ] {
            let model = build(&spec);
            assert!(varies(&model), "{layers} {wrapper}: no dropout in a new model");
            model.train(false);
            assert!(!varies(&model), "{layers} {wrapper}: dropout in eval");
            let x = tokens(2, 8, 5);
            let same = values(&forward_numbered(&build(&plain), &x, 7));
            assert_eq!(
                values(&forward_numbered(&model, &x, 1)),
                same,
                "eval is not the model without dropout"
            );
            model.train(true);
            assert!(varies(&model), "{layers} {wrapper}: train() does not turn dropout on again");
        }
    }
}

#[test]
fn eval_leaves_the_forgetful_mask_on() {
    let model = build(&autoregressive(gpt(json!({}), json!({})), json!({ "mask_prob": 0.4 })));
    model.train(false);
    assert!(varies(&model));
}

/// Layers, the transformer around them, and its loss wrapper, with shared weights.
fn nested() -> [Arc<Model>; 3] {
    let make = |class: &str, options: Json, inner: &[Arc<Model>], call| {
        let model = Model::build(class, &options, inner, Rng::new(1, call)).unwrap();
        model.move_to(&device()).unwrap();
        Arc::new(model)
    };
    let decoder = build(&layers("Decoder", json!({ "ff_dropout": 0.3 })));
    let options = json!({ "num_tokens": 17, "max_seq_len": 12, "emb_dropout": 0.3, "attn_layers": { "$module": 0 } });
    let net = make("TransformerWrapper", options, std::slice::from_ref(&decoder), 2);
    let outer = make(
        "AutoregressiveWrapper",
        json!({ "net": { "$module": 0 } }),
        std::slice::from_ref(&net),
        3,
    );
    [decoder, net, outer]
}

#[test]
fn the_mode_of_a_wrapper_applies_to_the_models_inside() {
    let [decoder, net, outer] = nested();
    outer.train(false);
    assert!(!varies(&decoder) && !varies(&net) && !varies(&outer));
    outer.train(true);
    assert!(varies(&decoder) && varies(&net) && varies(&outer));
}

#[test]
fn a_model_inside_may_have_a_mode_of_its_own() {
    let [decoder, net, outer] = nested();
    outer.train(false);
    decoder.train(true);
    assert!(
        varies(&decoder) && varies(&net) && varies(&outer),
        "the layers drop, the embeddings do not"
    );
    outer.train(true);
    net.train(false);
    assert!(!varies(&decoder) && !varies(&outer), "eval of the net reaches its layers");
}

#[test]
fn generation_runs_without_dropout_and_does_not_change_the_mode() {
    let [_, net, outer] = nested();
    let generate = |number| {
        let args = json!([{ "$tensor": 0 }, 6, { "temperature": 0.0 }]);
        values(&tensor(
            call_numbered(&outer, "generate", args, &[tokens(1, 3, 1)], number).unwrap(),
        ))
    };
    assert_eq!(generate(1), generate(2));
    assert!(varies(&net) && varies(&outer));
}
