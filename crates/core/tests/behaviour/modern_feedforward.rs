//! Options of the feed-forward that the Python package of version 1.9.2 does not have: each against
//! its formula, by single steps.

use crate::common::{
    build, close, float, forward, normal, parameter, random, spec, taken_gradients, values, with,
};
use serde_json::{json, Value as Json};
use xt_autograd::ops;
use xt_core::{Model, Tensor};

const DIM: usize = 12;

fn feedforward(more: Json) -> std::sync::Arc<Model> {
    let model = build(&spec("FeedForward", with(json!({ "dim": DIM }), more)));
    for (seed, entry) in model.entries().iter().enumerate() {
        let shape = entry.param.leaf().shape().to_vec();
        entry.param.leaf().set(random(&shape, seed as u64 + 5)).unwrap();
    }
    model
}

/// `1 / (1 + exp(-factor x))`, as `(1 + tanh(factor x / 2)) / 2`.
fn sigmoid(x: &Tensor, factor: f64) -> Tensor {
    let tanh = ops::tanh(&ops::affine(x, factor / 2.0, 0.0).unwrap()).unwrap();
    ops::affine(&tanh, 0.5, 0.5).unwrap()
}

/// The activation by its formula.
fn activated(x: &Tensor, name: &str) -> Tensor {
    let zero = Tensor::constant(float(&[0.0], &[1]));
    let relu = || ops::maximum(x, &zero).unwrap();
    match name {
        "gelu_tanh" => {
            let cube = ops::mul(&ops::square(x).unwrap(), x).unwrap();
            let inner = ops::add(x, &ops::affine(&cube, 0.044715, 0.0).unwrap()).unwrap();
            let root = (2.0 / std::f64::consts::PI).sqrt();
            let tanh = ops::tanh(&ops::affine(&inner, root, 0.0).unwrap()).unwrap();
            ops::mul(x, &ops::affine(&tanh, 0.5, 0.5).unwrap()).unwrap()
        }
        "quick_gelu" => ops::mul(x, &sigmoid(x, 1.702)).unwrap(),
        "silu" => ops::mul(x, &sigmoid(x, 1.0)).unwrap(),
        "sigmoid" => sigmoid(x, 1.0),
        "relu" => relu(),
        "relu_squared" => ops::square(&relu()).unwrap(),
        other => panic!("no formula of {other}"),
    }
}

fn linear(model: &Model, x: &Tensor, name: &str) -> Tensor {
    let leaf = |part: &str| Some(model.entry(&format!("{name}.{part}")).ok()?.param.tensor());
    ops::linear(x, &leaf("weight").unwrap(), leaf("bias").as_ref()).unwrap()
}

/// What a feed-forward with `options` computes, step by step.
fn explicit(model: &Model, x: &Tensor, options: &Json, hidden: usize) -> Tensor {
    let name = options["activation"].as_str().unwrap();
    let inner = match options["glu"].as_bool() {
        Some(true) => {
            let up = linear(model, x, "ff.0.proj");
            let half = |from: usize| ops::narrow(&up, 2, from, hidden).unwrap();
            let y = ops::mul(&half(0), &activated(&half(hidden), name)).unwrap();
            match model.entry("ff.0.mult_bias") {
                Ok(entry) => ops::mul(&y, &entry.param.tensor()).unwrap(),
                Err(_) => y,
            }
        }
        _ => activated(&linear(model, x, "ff.0.0"), name),
    };
    linear(model, &inner, "ff.3")
}

/// The values of `y`, and the gradients of the sum of its squares.
fn results(model: &Model, y: &Tensor) -> (Vec<f64>, Vec<(String, Vec<f64>)>) {
    ops::sum(&ops::square(y).unwrap(), None, false).unwrap().backward(false, &|| false).unwrap();
    (values(y), taken_gradients(model))
}

fn assert_formula(options: Json, hidden: usize) {
    let (model, x) = (feedforward(options.clone()), normal(&[2, 20, DIM], 1));
    let (want, want_gradients) = results(&model, &explicit(&model, &x, &options, hidden));
    let (got, gradients) = results(&model, &forward(&model, &x));
    close(&got, &want, 1e-5);
    assert_eq!(gradients.len(), want_gradients.len());
    for ((name, got), (_, want)) in gradients.iter().zip(&want_gradients) {
        let size = want.iter().fold(1.0f64, |a, b| a.max(b.abs()));
        let scaled = |all: &[f64]| all.iter().map(|x| x / size).collect::<Vec<_>>();
        assert!(size > 1.0, "{name}");
        close(&scaled(got), &scaled(want), 1e-5);
    }
}

#[test]
fn ff_activation_is_that_of_its_name_with_and_without_a_gate() {
    for name in ["gelu_tanh", "quick_gelu", "silu", "relu", "relu_squared", "sigmoid"] {
        assert_formula(json!({ "activation": name }), 4 * DIM);
        assert_formula(json!({ "activation": name, "glu": true, "no_bias": true }), 4 * DIM);
    }
}

#[test]
fn the_older_flags_are_names_of_activations() {
    let x = normal(&[1, 3, DIM], 1);
    for (flag, name) in [("swish", "silu"), ("relu_squared", "relu_squared")] {
        let [flag, name] = [json!({ flag: true }), json!({ "activation": name })];
        assert_eq!(
            values(&forward(&feedforward(flag), &x)),
            values(&forward(&feedforward(name), &x))
        );
    }
    let gelu = feedforward(json!({ "activation": "gelu" }));
    let plain = feedforward(json!({}));
    assert_eq!(values(&forward(&gelu, &x)), values(&forward(&plain, &x)));
}

#[test]
fn ff_inner_dim_is_the_width_of_the_hidden_layer_whatever_the_multiple() {
    assert_formula(json!({ "activation": "silu", "inner_dim": 7, "glu": true }), 7);
    let model = feedforward(json!({ "inner_dim": 7, "mult": 3 }));
    assert_eq!(model.entry("ff.0.0.weight").unwrap().param.leaf().shape(), [7, DIM]);
    assert_eq!(model.entry("ff.3.weight").unwrap().param.leaf().shape(), [DIM, 7]);
}

#[test]
fn ff_glu_mult_bias_multiplies_the_features_of_the_hidden_layer() {
    let options = json!({ "activation": "silu", "glu": true, "glu_mult_bias": true });
    assert_formula(options.clone(), 4 * DIM);
    let fresh = build(&spec("FeedForward", with(json!({ "dim": DIM }), options.clone())));
    assert!(parameter(&fresh, "ff.0.mult_bias").iter().all(|factor| *factor == 1.0));
    // with few rows they multiply the features, with many the weight behind
    let model = feedforward(options.clone());
    let rows = normal(&[1, 40, DIM], 1);
    let whole = values(&forward(&model, &rows));
    for row in 0..40 {
        let alone = forward(&model, &ops::narrow(&rows, 1, row, 1).unwrap());
        close(&values(&alone), &whole[row * DIM..][..DIM], 1e-5);
    }
    let spec = spec("FeedForward", json!({ "dim": DIM, "glu_mult_bias": true }));
    let error = Model::from_spec(&spec, 1).err().unwrap().to_string();
    assert!(error.contains("glu_mult_bias: needs `glu`"), "{error}");
}

#[test]
fn ff_glu_bias_is_of_the_gated_projection_alone() {
    let names = |options: Json| {
        let model = feedforward(with(json!({ "glu": true }), options));
        let biases = model.entries().iter().filter(|entry| entry.name.ends_with("bias"));
        biases.map(|entry| entry.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(json!({ "glu_bias": false })), ["ff.3.bias"]);
    assert_eq!(names(json!({ "no_bias": true })), ["ff.0.proj.bias"]);
    assert!(names(json!({ "glu_bias": false, "no_bias": true })).is_empty());
    assert_formula(json!({ "activation": "silu", "glu": true, "glu_bias": false }), 4 * DIM);
}
