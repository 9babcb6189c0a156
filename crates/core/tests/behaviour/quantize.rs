//! Quantized weights: which weights, their results, and what is rejected.

use crate::common::{
    autoregressive, build, call_numbered, close, forward, gpt, tensor, tokens, transformer, values,
};
use crate::device::device;
use serde_json::{json, Value as Json};
use std::sync::Arc;
use xt_autograd::ops::{self, CrossEntropy};
use xt_core::generation::Generation;
use xt_core::models::parse_format;
use xt_core::training::{Optimizer, OptimizerKind};
use xt_core::{checkpoint, no_grad, Args, Array, Ctx, DType, Format, Model, Result, Rng};

/// A model whose matrices consist of whole blocks, except one.
fn wide(more: Json) -> Json {
    autoregressive(gpt(json!({ "dim": 32, "attn_dim_head": 16 }), more), json!({}))
}

fn logits(model: &Model) -> Vec<f64> {
    let net = model.child("net").unwrap();
    no_grad(|| values(&forward(&net, &tokens(2, 5, 1))))
}

fn quantized_names(model: &Model) -> Vec<&str> {
    let quantized = model.entries().iter().filter(|e| e.param.leaf().packed().is_some());
    quantized.map(|e| e.name.as_str()).collect()
}

/// The largest difference, relative to the largest value.
fn distance(got: &[f64], want: &[f64]) -> f64 {
    let most =
        |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, |most: f64, x| most.max(x.abs()));
    most(&mut got.iter().zip(want).map(|(g, w)| g - w)) / most(&mut want.iter().copied())
}

fn code<T>(result: Result<T>) -> &'static str {
    result.err().unwrap().code()
}

fn state(model: &Model) -> Vec<(String, Array)> {
    model.entries().iter().map(|e| (e.name.clone(), e.param.values().unwrap())).collect()
}

#[test]
fn only_weights_of_linear_layers_are_quantized() {
    let model = build(&wide(json!({})));
    let before = logits(&model);
    assert_eq!(model.quantization(), None);
    model.quantize(Format::Q8_0).unwrap();
    assert_eq!(model.quantization(), Some(Format::Q8_0));
    let names = quantized_names(&model);
    assert_eq!(names.len(), 2 * (4 + 2) + 1, "{names:?}");
    for part in ["to_q", "to_k", "to_v", "to_out", "ff.0.0", "ff.3", "to_logits"] {
        assert!(
            names.iter().any(|name| name.ends_with(&format!("{part}.weight"))),
            "{part}: {names:?}"
        );
    }
    for (format, most) in [(Format::Q8_0, 0.02), (Format::Q4_0, 0.3), (Format::Bf16, 0.3)] {
        model.quantize(format).unwrap();
        let off = distance(&logits(&model), &before);
        assert!(off > 0.0 && off < most, "{format:?}: {off}");
    }
    // the embedding is also the head
    let tied = build(&wide(json!({ "tie_embedding": true })));
    tied.quantize(Format::Q8_0).unwrap();
    assert!(quantized_names(&tied).iter().all(|name| name.contains("layers")));
    // rows of 16 are shorter than a block of 32
    let narrow = build(&autoregressive(gpt(json!({}), json!({})), json!({})));
    narrow.quantize(Format::Q4_0).unwrap();
    assert!(
        quantized_names(&narrow).iter().all(|name| name.ends_with("ff.3.weight")),
        "{:?}",
        quantized_names(&narrow)
    );
    narrow.quantize(Format::Bf16).unwrap();
    assert_eq!(quantized_names(&narrow).len(), 13);
}

#[test]
fn a_generation_uses_the_current_weights_and_keeps_a_valid_cache() {
    let model = build(&wide(json!({})));
    let generated = |cached: bool| {
        let named = json!({ "temperature": 0.0, "cache_kv": cached });
        let args = json!([{ "$tensor": 0 }, 8, named]);
        values(&tensor(call_numbered(&model, "generate", args, &[tokens(2, 4, 1)], 1).unwrap()))
    };
    let start = |cached: bool| {
        let tensors = [tokens(2, 4, 1)];
        let args = Args::new(
            "generate",
            json!([{ "$tensor": 0 }, 8, { "cache_kv": cached, "temperature": 0.0 }]),
            &tensors,
        )
        .unwrap();
        model.generation("generate", &args).unwrap()
    };
    let rng = Rng::new(1, 1);
    let ctx = Ctx::new(&rng, &|| false);
    let mut pair: [Generation; 2] = [start(true), start(false)];
    for format in [None, None, Some(Format::Bf16), None, Some(Format::Q4_0), None] {
        if let Some(format) = format {
            model.quantize(format).unwrap();
        }
        let [kept, plain] = pair.each_mut().map(|generation| generation.logits(&ctx).unwrap());
        assert!(distance(&values(&kept), &values(&plain)) < 1e-4);
        pair.iter_mut()
            .for_each(|generation| drop(generation.accept(&plain, false, &rng).unwrap()));
    }
    for format in Format::ALL {
        model.quantize(format).unwrap();
        assert_eq!(generated(true), generated(false), "{format:?}");
    }
}

#[test]
fn training_is_an_error_until_weights_are_loaded() {
    let model = build(&wide(json!({})));
    let leaves: Vec<_> = model.entries().iter().map(|e| e.param.leaf().clone()).collect();
    let mut optimizer =
        Optimizer::new(OptimizerKind::Sgd, leaves.clone(), vec![leaves.len()]).unwrap();
    let loss = |model: &Model| {
        call_numbered(model, "forward", json!([{ "$tensor": 0 }]), &[tokens(2, 5, 1)], 1)
    };
    let stale = tensor(loss(&model).unwrap());
    let weights = state(&model);
    model.quantize(Format::Q8_0).unwrap();
    assert_eq!(code(stale.backward(false, &|| false).map_err(Into::into)), "stale_parameters");
    let error = loss(&model).err().unwrap();
    assert_eq!(error.code(), "quantized");
    assert!(error.to_string().contains("q8_0") && error.to_string().contains("noGrad"), "{error}");
    let step = |optimizer: &mut Optimizer| optimizer.step(&[json!({ "lr": 0.1 })], &|| false);
    assert_eq!(code(step(&mut optimizer)), "quantized");
    no_grad(|| loss(&model)).unwrap();
    // without a graph the loss may be computed, and optimizers skip the weights
    leaves.iter().for_each(|leaf| leaf.set_requires_grad(false));
    loss(&model).unwrap();
    step(&mut optimizer).unwrap();
    leaves.iter().for_each(|leaf| leaf.set_requires_grad(true));
    model.load_state(&weights, true).unwrap();
    assert_eq!((model.quantization(), quantized_names(&model).len()), (None, 0));
    tensor(loss(&model).unwrap()).backward(false, &|| false).unwrap();
    step(&mut optimizer).unwrap();
    assert_ne!(logits(&model), logits(&build(&wide(json!({})))));
}

#[test]
fn a_checkpoint_has_the_rounded_values_as_f32() {
    let model = build(&wide(json!({})));
    model.quantize(Format::Q4_0).unwrap();
    let loaded = checkpoint::load(&checkpoint::save(&model).unwrap(), &device()).unwrap();
    assert_eq!(loaded.quantization(), None);
    assert!(state(&loaded).iter().all(|(_, array)| array.dtype() == DType::F32));
    assert!(distance(&logits(&loaded), &logits(&model)) < 1e-5);
    loaded.quantize(Format::Q4_0).unwrap();
    assert_eq!(logits(&loaded), logits(&model));
}

#[test]
fn models_that_share_weights_share_their_format() {
    let model = build(&wide(json!({})));
    let net = model.child("net").unwrap();
    net.child("attn_layers").unwrap().quantize(Format::Q8_0).unwrap();
    assert_eq!((quantized_names(&model).len(), quantized_names(&net).len()), (12, 12));
    model.quantize(Format::Bf16).unwrap();
    assert_eq!(net.quantization(), Some(Format::Bf16));
}

#[test]
fn initial_values_are_drawn_before_quantizing() {
    let (drawn, pending) = (build(&wide(json!({}))), build(&wide(json!({}))));
    logits(&drawn);
    [&drawn, &pending].iter().for_each(|model| model.quantize(Format::Q8_0).unwrap());
    assert_eq!(logits(&drawn), logits(&pending));
}

#[test]
fn weights_that_cannot_be_quantized_are_an_error_that_changes_nothing() {
    let message = parse_format("q8-0").unwrap_err().to_string();
    assert!(message.contains("did you mean `q8_0`") && message.contains("q4_0, bf16"), "{message}");
    let model = build(&wide(json!({})));
    let leaf: Arc<_> = model.entry("net.to_logits.weight").unwrap().param.leaf().clone();
    let weights = leaf.values().unwrap();
    leaf.set(xt_kernels::ops::elementwise::affine(&weights, f64::INFINITY, 0.0).unwrap()).unwrap();
    let error = model.quantize(Format::Q8_0).unwrap_err();
    assert_eq!(error.code(), "invalid_tensor");
    assert!(
        error.to_string().contains("`net.to_logits.weight`") && quantized_names(&model).is_empty(),
        "{error}"
    );
    leaf.set(weights).unwrap();
    leaf.move_to(&device(), DType::F64).unwrap();
    assert!(model
        .quantize(Format::Q8_0)
        .unwrap_err()
        .to_string()
        .contains("f32 weights on the CPU"));
    assert!(quantized_names(&model).is_empty());
}

#[test]
fn layers_of_every_kind_accept_quantized_weights() {
    let layers = |class: &str, more: Json| {
        let mut options = json!({ "dim": 64, "depth": 2, "heads": 2, "attn_dim_head": 32 });
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "class": class, "options": options })
    };
    let kinds = [
        json!({ "ff_glu": true, "ff_swish": true }),
        json!({ "ff_post_act_ln": true, "attn_gate_values": true, "attn_on_attn": true }),
        json!({ "attn_tensor_product": true, "attn_one_kv_head": true, "dynamic_pos_bias": true }),
    ];
    for kind in kinds {
        let model = build(&transformer(layers("Decoder", kind.clone()), json!({ "emb_dim": 32 })));
        let x = tokens(2, 12, 3);
        let before = no_grad(|| values(&forward(&model, &x)));
        model.quantize(Format::Q8_0).unwrap();
        // equals the same model with the rounded values as f32
        let rounded = checkpoint::load(&checkpoint::save(&model).unwrap(), &device()).unwrap();
        let got = no_grad(|| values(&forward(&model, &x)));
        assert!(distance(&got, &no_grad(|| values(&forward(&rounded, &x)))) < 1e-4, "{kind}");
        assert!(distance(&got, &before) > 1e-5, "{kind}");
    }
}

#[test]
fn quantized_heads_have_the_limit_too() {
    let options = json!({ "logit_softclamp_value": 0.7, "logits_scale": 2.0 });
    let layers = json!({ "dim": 32, "attn_dim_head": 32 });
    let model = build(&autoregressive(gpt(layers, options), json!({})));
    model.quantize(Format::Q8_0).unwrap();
    let x = tokens(2, 9, 1);
    let net = model.child("net").unwrap();
    let input = ops::narrow(&x, 1, 0, 8).unwrap();
    let (loss, logits) = no_grad(|| (forward(&model, &x), forward(&net, &input)));
    assert!(values(&logits).iter().all(|logit| logit.abs() < 0.7));
    let targets = ops::narrow(&x, 1, 1, 8).unwrap();
    let want = ops::cross_entropy(&logits, &targets, CrossEntropy::ignoring(-100)).unwrap();
    close(&values(&loss), &values(&want), 1e-5);
}
