//! Options of norms and residual connections that the Python package of version 1.9.2 does not
//! have: each against its formula, with the blocks as layers of their own.

use crate::common::{
    build, close, forward, forward_with, gpt, layers, normal, parameter, random, seeded, spec,
    taken_gradients, tensor, tokens, values, with,
};
use serde_json::{json, Value as Json};
use std::sync::Arc;
use xt_autograd::ops;
use xt_core::{Model, Tensor, Value};
use xt_kernels::ops::elementwise::affine;

const DIM: usize = 16;

/// A decoder with values that hide no option.
fn decoder(more: Json) -> Arc<Model> {
    let model = build(&layers("Decoder", more));
    for (seed, entry) in model.entries().iter().enumerate() {
        let shape = entry.param.leaf().shape().to_vec();
        let values = affine(&random(&shape, seed as u64 + 5), 0.4, 0.3).unwrap();
        entry.param.leaf().set(values).unwrap();
    }
    model
}

/// The block of sub-layer `index` as a model of its own, with the same values. `fns` is the number
/// of levels that wrap it.
fn block(model: &Model, index: usize, fns: usize) -> Arc<Model> {
    let alone = match index % 2 {
        0 => build(&spec(
            "Attention",
            json!({ "dim": DIM, "heads": 2, "dim_head": 8, "causal": true }),
        )),
        _ => build(&spec("FeedForward", json!({ "dim": DIM }))),
    };
    for entry in alone.entries() {
        let name = format!("layers.{index}.1.{}{}", "fn.".repeat(fns), entry.name);
        let values = model.entry(&name).unwrap().param.values().unwrap();
        entry.param.leaf().set(values).unwrap();
    }
    alone
}

/// The output of a block; an attention also gives its maps.
fn output(block: &Model, x: &Tensor) -> Tensor {
    match forward_with(block, std::slice::from_ref(x), json!({})).unwrap() {
        Value::List(mut all) => tensor(all.swap_remove(0)),
        value => tensor(value),
    }
}

/// LayerNorm or RMSNorm of `x` as the options say, with the weights under `name`.
fn norm(model: &Model, x: &Tensor, name: &str, options: &Json) -> Tensor {
    let on = |name: &str| options[name] == json!(true);
    let simple = on("use_simple_rmsnorm");
    let rms = on("use_rmsnorm") || simple;
    let eps = options["norm_eps"].as_f64().unwrap_or(if rms { 0.0 } else { 1e-5 });
    let mean = ops::mean(x, Some(&[2]), true).unwrap();
    let x = if rms { x.clone() } else { ops::sub(x, &mean).unwrap() };
    let square = ops::mean(&ops::square(&x).unwrap(), Some(&[2]), true).unwrap();
    let factor = ops::rsqrt(&ops::affine(&square, 1.0, eps).unwrap()).unwrap();
    let mut y = ops::mul(&x, &factor).unwrap();
    let leaf =
        |part: &str| model.entry(&format!("{name}.{part}")).ok().map(|entry| entry.param.tensor());
    if options["norm_elementwise_affine"] == json!(false) || simple {
        assert!(leaf("weight").is_none() && leaf("bias").is_none() && leaf("g").is_none());
        return y;
    }
    let offset = if on("norm_add_unit_offset") { 1.0 } else { 0.0 };
    let weight = leaf(if rms { "g" } else { "weight" }).unwrap();
    y = ops::mul(&y, &ops::affine(&weight, 1.0, offset).unwrap()).unwrap();
    match leaf("bias") {
        Some(bias) => ops::add(&y, &bias).unwrap(),
        None => {
            assert!(rms || options["norm_bias"] == json!(false));
            y
        }
    }
}

/// What a decoder of one block with `options` computes, step by step.
fn explicit(model: &Model, x: &Tensor, options: &Json) -> Tensor {
    let on = |name: &str| options[name] == json!(true);
    let position = options["norm_position"].as_str().unwrap_or("pre");
    let (mut stream, start) = (x.clone(), x.clone());
    for index in 0..2 {
        let normed =
            |place: &str, x: &Tensor| norm(model, x, &format!("layers.{index}.0.{place}"), options);
        let input = if on("parallel_block") { &start } else { &stream };
        let mut y = match position {
            _ if on("parallel_block_shared_norm") => norm(model, input, "layers.0.0.0", options),
            "pre" | "sandwich" => normed("0", input),
            _ => input.clone(),
        };
        let layer_scale = model.entry(&format!("layers.{index}.1.gamma")).ok();
        y = output(&block(model, index, usize::from(layer_scale.is_some())), &y);
        if let Some(factors) = layer_scale {
            y = ops::mul(&y, &factors.param.tensor()).unwrap();
        }
        if ["branch", "sandwich"].contains(&position) {
            y = normed("1", &y);
        }
        if let Some(factor) = options["branch_scale"].as_f64() {
            y = ops::affine(&y, factor, 0.0).unwrap();
        }
        stream = ops::add(&stream, &y).unwrap();
        let last = index == 1;
        if (position == "post" || on("pre_and_post_norm")) && !last {
            stream = normed("2", &stream);
        }
    }
    if on("pre_norm_has_final_norm") {
        stream = norm(model, &stream, "final_norm", options);
    }
    stream
}

fn assert_formula(options: Json) {
    let one = with(json!({ "depth": 1 }), options.clone());
    let (model, x) = (decoder(one), normal(&[1, 5, DIM], 1));
    let got = forward(&model, &x);
    close(&values(&got), &values(&explicit(&model, &x, &options)), 3e-5);
    // every parameter counts
    let loss = ops::sum(&ops::square(&got).unwrap(), None, false).unwrap();
    loss.backward(false, &|| false).unwrap();
    let gradients = taken_gradients(&model);
    assert_eq!(gradients.len(), model.entries().len());
    for (name, gradient) in gradients {
        assert!(gradient.iter().any(|g| *g != 0.0), "{name}");
    }
}

#[test]
fn norm_eps_is_added_to_the_variance_or_the_mean_square() {
    for rms in [false, true] {
        assert_formula(json!({ "norm_eps": 0.3, "use_rmsnorm": rms }));
    }
    let scale = |eps: f64| {
        let options = json!({ "depth": 1, "use_scalenorm": true, "norm_eps": eps });
        values(&forward(&decoder(options), &normal(&[1, 5, DIM], 1)))
    };
    assert!(scale(1e-6) == scale(1e-4) && scale(1e-6) != scale(100.0));
}

#[test]
fn norm_bias_norm_elementwise_affine_and_use_simple_rmsnorm_leave_out_what_norms_learn() {
    assert_formula(json!({ "norm_bias": false }));
    for rms in [false, true] {
        assert_formula(json!({ "norm_elementwise_affine": false, "use_rmsnorm": rms }));
    }
    assert_formula(json!({ "use_simple_rmsnorm": true, "norm_eps": 1e-6 }));
}

#[test]
fn norm_add_unit_offset_stores_weights_less_one() {
    for rms in [false, true] {
        assert_formula(json!({ "norm_add_unit_offset": true, "use_rmsnorm": rms }));
        let options = json!({ "norm_add_unit_offset": true, "use_rmsnorm": rms, "depth": 1 });
        let fresh = build(&layers("Decoder", options));
        let name = if rms { "layers.0.0.0.g" } else { "layers.0.0.0.weight" };
        assert_eq!(parameter(&fresh, name), [0.0; DIM]);
    }
}

#[test]
fn norm_position_pre_and_post_norm_and_pre_norm_has_final_norm_place_the_norms() {
    for position in ["pre", "post", "branch", "sandwich"] {
        for end in [false, true] {
            let options = json!({ "norm_position": position, "pre_norm_has_final_norm": end });
            assert_formula(with(options.clone(), json!({ "use_rmsnorm": true })));
            assert_formula(options);
        }
    }
    assert_formula(json!({ "pre_and_post_norm": true }));
    assert_formula(json!({ "pre_and_post_norm": true, "pre_norm_has_final_norm": true }));
}

#[test]
fn parallel_block_and_parallel_block_shared_norm_start_from_the_input_of_the_block() {
    for options in [
        json!({ "parallel_block": true }),
        json!({ "parallel_block": true, "norm_position": "sandwich" }),
        json!({ "parallel_block": true, "norm_position": "branch" }),
        json!({ "parallel_block": true, "parallel_block_shared_norm": true }),
    ] {
        assert_formula(options);
    }
}

#[test]
fn branch_scale_use_layerscale_and_layerscale_init_value_multiply_what_a_branch_adds() {
    assert_formula(json!({ "branch_scale": 0.3 }));
    assert_formula(json!({ "use_layerscale": true, "branch_scale": 0.7 }));
    let options = json!({ "use_layerscale": true, "layerscale_init_value": 0.25, "macaron": true });
    let fresh = build(&layers("Decoder", with(options, json!({ "shift_tokens": 1 }))));
    assert_eq!(parameter(&fresh, "layers.0.1.gamma"), [0.25; DIM]);
    assert!(fresh.entry("layers.0.1.fn.fn.fn.ff.0.0.weight").is_ok());
}

#[test]
fn a_wrapper_has_the_norms_that_its_layers_say() {
    let model = |options: Json| build(&gpt(options, json!({ "post_emb_norm": true })));
    let names = |options: Json| {
        let model = model(options);
        let all = model.entries().iter().map(|e| e.name.clone());
        all.filter(|name| name.contains("norm")).collect::<Vec<_>>()
    };
    assert_eq!(names(json!({})).len(), 4);
    assert_eq!(names(json!({ "norm_bias": false })), ["post_emb_norm.weight", "norm.weight"]);
    assert_eq!(
        names(json!({ "pre_norm_has_final_norm": true, "use_rmsnorm": true })),
        ["post_emb_norm.weight", "post_emb_norm.bias", "attn_layers.final_norm.g"]
    );
    let output = |options: Json| values(&forward(&model(options), &tokens(1, 6, 2)));
    let changed = |options: Json| output(json!({})) != output(options);
    assert!(changed(json!({ "norm_eps": 0.1 })) && !changed(json!({ "norm_eps": 1e-5 })));
}

#[test]
fn checkpointing_knows_blocks_that_run_side_by_side() {
    let all = json!({
        "parallel_block": true, "parallel_block_shared_norm": true, "use_layerscale": true,
        "layerscale_init_value": 0.5, "norm_bias": false, "pre_norm_has_final_norm": true,
        "shift_tokens": 1,
    });
    let x = normal(&[2, 5, DIM], 3);
    let gradients = |checkpointing: bool| {
        let more = json!({ "gradient_checkpointing": checkpointing });
        let model = decoder(with(all.clone(), more));
        let loss = ops::sum(&ops::square(&forward(&model, &x)).unwrap(), None, false).unwrap();
        loss.backward(false, &|| false).unwrap();
        taken_gradients(&model)
    };
    let (kept, again) = (gradients(false), gradients(true));
    assert_eq!(kept.len(), again.len());
    for ((name, kept), (_, again)) in kept.iter().zip(&again) {
        assert!(kept == again, "{name}");
    }
}

#[test]
fn wrapper_norm_false_leaves_out_the_last_norm() {
    let embeddings = |layers: Json| {
        let model = seeded(&gpt(layers, json!({})), 3);
        let named = json!({ "return_embeddings": true });
        let y = tensor(forward_with(&model, &[tokens(1, 4, 1)], named).unwrap());
        (values(&y), y.dim(2), model.entry("norm.weight").is_ok())
    };
    let (bare, width, with_norm) = embeddings(json!({ "wrapper_norm": false }));
    let (normed, _, usual) = embeddings(json!({}));
    assert!(usual && !with_norm);
    let mut want = Vec::new();
    for row in bare.chunks(width) {
        let mean = row.iter().sum::<f64>() / width as f64;
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
        want.extend(row.iter().map(|x| (x - mean) / (variance + 1e-5).sqrt()));
    }
    close(&normed, &want, 1e-5);
    let own = json!({ "wrapper_norm": false, "pre_norm_has_final_norm": true });
    let named = |name| seeded(&gpt(own.clone(), json!({})), 3).entry(name).is_ok();
    assert!(named("attn_layers.final_norm.weight") && !named("norm.weight"));
}
