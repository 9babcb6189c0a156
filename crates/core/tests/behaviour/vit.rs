//! Options of a transformer over images that the Python package of version 1.9.2 does not have:
//! each against its steps, with layers of the same weights.

use crate::common::{
    build, close, forward, forward_with, layers, normal, spec, tensor, values, with,
};
use serde_json::{json, Value as Json};
use std::sync::Arc;
use xt_autograd::ops;
use xt_core::{Error, Model, Tensor};

const DIM: usize = 16;

/// A model over images of 2 by 3 patches of 4 pixels each, of one channel.
fn model(options: Json) -> Arc<Model> {
    let required = json!({
        "image_size": 6, "patch_size": 2, "channels": 1,
        "attn_layers": layers("Encoder", json!({})),
    });
    build(&spec("ViTransformerWrapper", with(required, options)))
}

fn leaf(model: &Model, name: &str) -> Tensor {
    model.entry(name).unwrap().param.tensor()
}

fn linear(model: &Model, x: &Tensor, name: &str) -> Tensor {
    let bias = leaf(model, &format!("{name}.bias"));
    ops::linear(x, &leaf(model, &format!("{name}.weight")), Some(&bias)).unwrap()
}

fn norm(model: &Model, x: &Tensor, name: &str) -> Tensor {
    let [weight, bias] = ["weight", "bias"].map(|part| leaf(model, &format!("{name}.{part}")));
    ops::layer_norm(x, &weight, &bias, 1e-5).unwrap()
}

/// The layers alone, with the weights of `model`.
fn stack(model: &Model) -> Arc<Model> {
    let stack = build(&layers("Encoder", json!({})));
    let state: Vec<_> = stack
        .entries()
        .iter()
        .map(|entry| {
            let own = model.entry(&format!("attn_layers.{}", entry.name)).unwrap();
            (entry.name.clone(), own.param.values().unwrap())
        })
        .collect();
    stack.load_state(&state, true).unwrap();
    stack
}

/// The embeddings of an image (2, 1, 4, 6) by single steps: class token and patches.
fn explicit(model: &Model, image: &Tensor, options: &Json) -> Tensor {
    let split = ops::reshape(image, &[2, 1, 2, 2, 3, 2]).unwrap();
    let split = ops::permute(&split, &[0, 2, 4, 3, 5, 1]).unwrap();
    let mut x = ops::reshape(&split, &[2, 6, 4]).unwrap();
    let normed = options["patch_norm"] != json!(false);
    if normed {
        x = norm(model, &x, "patch_to_embedding.0");
    }
    x = linear(model, &x, "patch_to_embedding.1");
    if normed {
        x = norm(model, &x, "patch_to_embedding.2");
    }
    if options["use_cls_token"] == json!(true) {
        let token = ops::broadcast_to(&leaf(model, "cls_token"), &[2, 1, DIM]).unwrap();
        x = ops::cat(&[&token, &x], 1).unwrap();
    }
    let n = x.dim(1);
    let places = ops::narrow(&leaf(model, "pos_embedding"), 1, 0, n).unwrap();
    x = ops::add(&x, &places).unwrap();
    if let Some(count) = options["num_register_tokens"].as_u64() {
        let dims = [2, count as usize, DIM];
        let registers = ops::broadcast_to(&leaf(model, "register_tokens"), &dims).unwrap();
        x = ops::cat(&[&x, &registers], 1).unwrap();
    }
    let y = norm(model, &forward(&stack(model), &x), "norm");
    ops::narrow(&y, 1, 0, n).unwrap()
}

fn embeddings(model: &Model, image: &Tensor) -> Tensor {
    let named = json!({ "return_embeddings": true });
    tensor(forward_with(model, std::slice::from_ref(image), named).unwrap())
}

#[test]
fn use_cls_token_num_register_tokens_and_patch_norm_follow_their_steps() {
    let image = normal(&[2, 1, 4, 6], 1);
    for options in [
        json!({}),
        json!({ "use_cls_token": true }),
        json!({ "num_register_tokens": 3 }),
        json!({ "patch_norm": false }),
        json!({ "use_cls_token": true, "num_register_tokens": 2, "patch_norm": false }),
    ] {
        let model = model(options.clone());
        let (got, want) = (embeddings(&model, &image), explicit(&model, &image, &options));
        assert_eq!(got.dims(), want.dims());
        close(&values(&got), &values(&want), 1e-5);
    }
}

#[test]
fn pool_is_the_mean_over_the_patches_or_the_class_token() {
    let image = normal(&[2, 1, 4, 6], 1);
    let mean = |x: &Tensor, from: usize| {
        let patches = ops::narrow(x, 1, from, x.dim(1) - from).unwrap();
        ops::mean(&patches, Some(&[1]), false).unwrap()
    };
    let cases = [
        (json!({}), 0, false),
        (json!({ "use_cls_token": true }), 1, false),
        (json!({ "use_cls_token": true, "pool": "cls", "num_register_tokens": 2 }), 1, true),
    ];
    for (options, from, class) in cases {
        let model = model(with(json!({ "num_classes": 5 }), options));
        let all = embeddings(&model, &image);
        let pooled = match class {
            true => ops::reshape(&ops::narrow(&all, 1, 0, 1).unwrap(), &[2, DIM]).unwrap(),
            false => mean(&all, from),
        };
        let want = linear(&model, &pooled, "mlp_head");
        close(&values(&forward(&model, &image)), &values(&want), 1e-5);
    }
}

#[test]
fn names_are_those_of_python_and_of_hugging_face() {
    let options = json!({ "use_cls_token": true, "num_register_tokens": 2, "patch_norm": false });
    let model = model(options);
    let names: Vec<_> = model.entries().iter().map(|entry| entry.name.as_str()).collect();
    let front = [
        "pos_embedding",
        "cls_token",
        "register_tokens",
        "patch_to_embedding.1.weight",
        "patch_to_embedding.1.bias",
    ];
    assert_eq!(names[..5], front);
    assert_eq!(model.entry("cls_token").unwrap().param.leaf().shape(), [1, 1, DIM]);
    assert_eq!(model.entry("register_tokens").unwrap().param.leaf().shape(), [2, DIM]);
}

/// With a class token, all positions are taken by the patches of the largest image.
#[test]
fn a_class_token_takes_a_position() {
    let wide = normal(&[1, 1, 4, 10], 1);
    let named = json!({ "return_embeddings": true });
    let seen = |options: Json| {
        let model = model(options);
        forward_with(&model, std::slice::from_ref(&wide), named.clone())
    };
    assert_eq!(tensor(seen(json!({})).unwrap()).dims(), [1, 10, DIM]);
    match seen(json!({ "use_cls_token": true })) {
        Err(Error::Shape(text)) => assert!(text.contains("at most 9 patches"), "{text}"),
        _ => panic!("an image that is too large was accepted"),
    }
}
