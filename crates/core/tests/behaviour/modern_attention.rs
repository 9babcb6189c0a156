//! Options of attention that the Python package of version 1.9.2 does not have: each against its
//! formula, by single steps, and the fused kernel against explicit scores.

use crate::common::{
    build, close, float, forward, forward_with, layers, mask, normal, parameter, random, spec,
    taken_gradients, tensor, values, with,
};
use serde_json::{json, Value as Json};
use xt_autograd::ops;
use xt_core::{Array, Model, Tensor, Value};
use xt_kernels::ops::elementwise::affine;

const N: usize = 7;
const HEADS: usize = 4;
const WIDTH: usize = 8;

fn attention(more: Json) -> std::sync::Arc<Model> {
    let options = json!({ "dim": 16, "heads": HEADS, "dim_head": WIDTH, "causal": true });
    let model = build(&spec("Attention", with(options, more)));
    // no option hides behind its initial value
    for (seed, entry) in model.entries().iter().enumerate() {
        let shape = entry.param.leaf().shape().to_vec();
        entry.param.leaf().set(spread(&shape, seed as u64 + 5)).unwrap();
    }
    model
}

/// Normal numbers around 0.2 with a standard deviation of 0.4.
fn spread(shape: &[usize], seed: u64) -> Array {
    affine(&random(shape, seed), 0.4, 0.2).unwrap()
}

fn leaf(model: &Model, name: &str) -> Tensor {
    model.entry(name).unwrap().param.tensor()
}

/// A projection of `x` to heads of queries, keys or values, `(1, heads, N, WIDTH)`.
fn project(model: &Model, x: &Tensor, name: &str, heads: usize, bias: bool) -> Tensor {
    let bias = bias.then(|| leaf(model, &format!("{name}.bias")));
    let y = ops::linear(x, &leaf(model, &format!("{name}.weight")), bias.as_ref()).unwrap();
    let y = ops::reshape(&y, &[1, N, heads, WIDTH]).unwrap();
    ops::transpose(&y, 1, 2).unwrap()
}

/// RMSNorm of `x`, `(1, heads, N, WIDTH)`, over each head or over all of them.
fn rms(model: &Model, x: &Tensor, name: &str, (across, offset): (bool, f64)) -> Tensor {
    let heads = x.dim(1);
    let axes: &[usize] = if across { &[1, 3] } else { &[3] };
    let square = ops::mean(&ops::square(x).unwrap(), Some(axes), true).unwrap();
    let scale = ops::rsqrt(&ops::affine(&square, 1.0, 1e-2).unwrap()).unwrap();
    let weight = ops::affine(&leaf(model, &format!("{name}.weight")), 1.0, offset).unwrap();
    // one for each head, or one for all
    let own = if weight.rank() == 1 { 1 } else { heads };
    let weight = ops::reshape(&weight, &[1, own, 1, WIDTH]).unwrap();
    ops::mul(&ops::mul(x, &scale).unwrap(), &weight).unwrap()
}

/// Each key/value head for its group of neighbouring query heads.
fn for_queries(x: &Tensor) -> Tensor {
    let group = HEADS / x.dim(1);
    let heads: Vec<_> = (0..HEADS).map(|h| ops::narrow(x, 1, h / group, 1).unwrap()).collect();
    ops::cat(&heads.iter().collect::<Vec<_>>(), 1).unwrap()
}

/// What an attention with `options` computes, step by step.
fn explicit(model: &Model, x: &Tensor, options: &Json) -> Tensor {
    let on = |name: &str| options[name] == json!(true);
    let kv_heads = options["kv_heads"].as_u64().unwrap_or(HEADS as u64) as usize;
    let bias = on("qkv_bias");
    let mut q = project(model, x, "to_q", HEADS, bias);
    let mut k = project(model, x, "to_k", kv_heads, bias);
    let v = for_queries(&project(model, x, "to_v", kv_heads, bias));
    let clipped = |x: Tensor| match options["qkv_clip"].as_f64() {
        Some(limit) => ops::clamp(&x, Some(-limit), Some(limit)).unwrap(),
        None => x,
    };
    let v = clipped(v);
    (q, k) = (clipped(q), clipped(k));
    if on("qk_rmsnorm") || on("k_rmsnorm") {
        let offset = if on("qk_rmsnorm_add_unit_offset") { 1.0 } else { 0.0 };
        let across = (on("qk_rmsnorm_across_heads"), offset);
        k = rms(model, &k, "k_rmsnorm", across);
        if on("qk_rmsnorm") {
            q = rms(model, &q, "q_rmsnorm", across);
        }
    }
    let scale = options["scale"].as_f64().unwrap_or((WIDTH as f64).powf(-0.5));
    let keys = ops::transpose(&for_queries(&k), 2, 3).unwrap();
    let mut scores = ops::matmul(&q, &keys, scale).unwrap();
    if on("softclamp_logits") {
        let cap = options["logit_softclamp_value"].as_f64().unwrap_or(50.0);
        let t = ops::tanh(&ops::affine(&scores, 1.0 / cap, 0.0).unwrap()).unwrap();
        scores = ops::affine(&t, cap, 0.0).unwrap();
    }
    let later: Vec<f64> = (0..N * N).map(|p| if p % N > p / N { -1e9 } else { 0.0 }).collect();
    scores = ops::add(&scores, &Tensor::constant(float(&later, &[1, 1, N, N]))).unwrap();
    let mut columns = Vec::new();
    if on("head_learned_sink") {
        let sink = ops::reshape(&leaf(model, "attend.head_attn_sink"), &[1, HEADS, 1, 1]).unwrap();
        columns.push(ops::broadcast_to(&sink, &[1, HEADS, N, 1]).unwrap());
    }
    if on("add_zero_kv") {
        columns.push(Tensor::constant(float(&[0.0; HEADS * N], &[1, HEADS, N, 1])));
    }
    let count = columns.len();
    columns.push(scores);
    let all = ops::cat(&columns.iter().collect::<Vec<_>>(), 3).unwrap();
    let exp = ops::exp(&all).unwrap();
    let weights = ops::div(&exp, &ops::sum(&exp, Some(&[3]), true).unwrap()).unwrap();
    let y = ops::matmul(&ops::narrow(&weights, 3, count, N).unwrap(), &v, 1.0).unwrap();
    let y = ops::reshape(&ops::transpose(&y, 1, 2).unwrap(), &[1, N, HEADS * WIDTH]).unwrap();
    if options["project_out"] == json!(false) {
        return y;
    }
    let bias = on("out_bias").then(|| leaf(model, "to_out.bias"));
    ops::linear(&y, &leaf(model, "to_out.weight"), bias.as_ref()).unwrap()
}

/// The values of `y`, and the gradients of the sum of its squares.
fn results(model: &Model, y: &Tensor) -> (Vec<f64>, Vec<(String, Vec<f64>)>) {
    let loss = ops::sum(&ops::square(y).unwrap(), None, false).unwrap();
    loss.backward(false, &|| false).unwrap();
    (values(y), taken_gradients(model))
}

/// The output of an attention, which also gives its maps.
fn first(model: &Model, x: &Tensor) -> Tensor {
    match forward_with(model, std::slice::from_ref(x), json!({})).unwrap() {
        Value::List(mut all) => tensor(all.swap_remove(0)),
        _ => panic!("no list"),
    }
}

fn assert_formula(options: Json) {
    let (model, x) = (attention(options.clone()), normal(&[1, N, 16], 1));
    let (want, want_gradients) = results(&model, &explicit(&model, &x, &options));
    let (got, gradients) = results(&model, &first(&model, &x));
    close(&got, &want, 2e-5);
    let names = |all: &[(String, Vec<f64>)]| all.iter().map(|(n, _)| n.clone()).collect::<Vec<_>>();
    assert_eq!(names(&gradients), names(&want_gradients));
    assert_gradients(&gradients, &want_gradients, 1e-4);
}

/// Compares gradients, with a tolerance relative to the largest of all: that of a bias of the keys
/// is 0 but for rounding, as the softmax does not see what all keys have in common.
fn assert_gradients(got: &[(String, Vec<f64>)], want: &[(String, Vec<f64>)], tolerance: f64) {
    let size = want.iter().flat_map(|(_, all)| all).fold(1.0f64, |a, b| a.max(b.abs()));
    let scaled = |all: &[f64]| all.iter().map(|x| x / size).collect::<Vec<_>>();
    for ((name, got), (_, want)) in got.iter().zip(want) {
        assert!(want.iter().any(|g| *g != 0.0), "{name}");
        assert_eq!(got.len(), want.len(), "{name}");
        close(&scaled(got), &scaled(want), tolerance);
    }
}

#[test]
fn attn_kv_heads_are_shared_by_neighbouring_query_heads() {
    assert_formula(json!({ "kv_heads": 2 }));
    assert_formula(json!({ "kv_heads": 1 }));
}

#[test]
fn attn_qk_rmsnorm_and_attn_qk_rmsnorm_across_heads_with_attn_qk_rmsnorm_eps() {
    for across in [false, true] {
        assert_formula(json!({
            "qk_rmsnorm": true, "qk_rmsnorm_across_heads": across, "qk_rmsnorm_eps": 1e-2,
            "kv_heads": 2,
        }));
    }
}

#[test]
fn attn_k_rmsnorm_is_of_the_keys_alone() {
    assert_formula(json!({ "k_rmsnorm": true, "qk_rmsnorm_eps": 1e-2, "kv_heads": 2 }));
    let both = json!({ "attn_k_rmsnorm": true, "attn_qk_rmsnorm": true });
    let error = Model::from_spec(&layers("Decoder", both), 1).err().unwrap().to_string();
    assert!(error.contains("attn_k_rmsnorm: does not go with"), "{error}");
}

#[test]
fn attn_project_out_off_leaves_the_heads_side_by_side() {
    assert_formula(json!({ "project_out": false, "dim_out": HEADS * WIDTH }));
    let plain = json!({ "attn_project_out": false });
    let model = build(&layers("Decoder", plain.clone()));
    assert!(model.entries().iter().all(|entry| !entry.name.contains("to_out")));
    let refused = |more: Json, part: &str| {
        let options = layers("Decoder", with(plain.clone(), more));
        let error = Model::from_spec(&options, 1).err().unwrap().to_string();
        assert!(error.contains(part), "{error}");
    };
    refused(json!({ "attn_dim_head": 4 }), "attn_project_out: must be true: all heads together");
    refused(json!({ "attn_on_attn": true }), "attn_on_attn: is about the output projection");
    refused(json!({ "attn_out_bias": true }), "attn_out_bias: is about the output projection");
    for name in ["zero_init_branch_output", "depth_scale_residual"] {
        refused(json!({ name: true }), &format!("{name}: is about the last layer of a branch"));
    }
}

#[test]
fn attn_qk_rmsnorm_add_unit_offset_stores_scales_less_one() {
    assert_formula(json!({
        "qk_rmsnorm": true, "qk_rmsnorm_add_unit_offset": true, "qk_rmsnorm_eps": 1e-2,
    }));
    let options = json!({ "attn_qk_rmsnorm": true, "attn_qk_rmsnorm_add_unit_offset": true });
    let fresh = build(&layers("Decoder", options));
    assert!(parameter(&fresh, "layers.0.1.q_rmsnorm.weight").iter().all(|scale| *scale == 0.0));
}

#[test]
fn attn_qk_rmsnorm_shared_has_one_scale_per_feature_for_all_heads() {
    for offset in [false, true] {
        assert_formula(json!({
            "qk_rmsnorm": true, "qk_rmsnorm_shared": true, "qk_rmsnorm_eps": 1e-2, "kv_heads": 2,
            "qk_rmsnorm_add_unit_offset": offset,
        }));
    }
    let options = json!({ "attn_qk_rmsnorm": true, "attn_qk_rmsnorm_shared": true });
    let model = build(&layers("Decoder", options.clone()));
    for name in ["q_rmsnorm", "k_rmsnorm"] {
        assert_eq!(parameter(&model, &format!("layers.0.1.{name}.weight")).len(), 8);
    }
    let both = with(options, json!({ "attn_qk_rmsnorm_across_heads": true }));
    let error = Model::from_spec(&layers("Decoder", both), 1).err().unwrap().to_string();
    assert!(error.contains("attn_qk_rmsnorm_shared: does not go with"), "{error}");
}

#[test]
fn attn_qkv_clip_limits_queries_keys_and_values() {
    assert_formula(json!({ "qkv_clip": 0.4 }));
    assert_formula(json!({ "qkv_clip": 0.4, "qk_rmsnorm": true, "qk_rmsnorm_eps": 1e-2 }));
}

#[test]
fn attn_softclamp_logits_limit_scores_to_attn_logit_softclamp_value() {
    assert_formula(json!({ "softclamp_logits": true, "logit_softclamp_value": 1.5 }));
    assert_formula(json!({ "softclamp_logits": true }));
}

#[test]
fn attn_head_learned_sink_and_attn_add_zero_kv_take_a_part_of_the_weights() {
    assert_formula(json!({ "head_learned_sink": true }));
    assert_formula(json!({ "add_zero_kv": true }));
    assert_formula(json!({ "head_learned_sink": true, "add_zero_kv": true, "kv_heads": 2 }));
}

#[test]
fn attn_scale_attn_qkv_bias_and_attn_out_bias() {
    assert_formula(json!({ "scale": 0.07 }));
    assert_formula(json!({ "qkv_bias": true }));
    assert_formula(json!({ "out_bias": true, "qkv_bias": true, "kv_heads": 2, "scale": 1.0 }));
}

/// All of them, in layers with what else changes scores and heads.
fn all_in_layers(more: Json) -> Json {
    let all = json!({
        "heads": 4, "attn_kv_heads": 2, "attn_qk_rmsnorm": true, "attn_softclamp_logits": true,
        "attn_logit_softclamp_value": 2.0, "attn_head_learned_sink": true,
        "attn_add_zero_kv": true, "attn_scale": 0.5, "attn_qkv_bias": true, "attn_out_bias": true,
    });
    with(all, more)
}

#[test]
fn explicit_scores_give_what_the_fused_kernel_gives() {
    let variants = [
        json!({}),
        json!({ "alibi_pos_bias": true, "attn_num_mem_kv": 2 }),
        json!({ "rotary_pos_emb": true, "attn_max_attend_past": 2, "attn_tensor_product": true }),
        json!({ "attn_head_scale": true, "attn_gate_values": true, "attn_value_dim_head": 6 }),
        json!({ "attn_shared_kv": true, "attn_on_attn": true, "attn_dropout": 0.3 }),
    ];
    for more in variants {
        let fused = build(&layers("Decoder", all_in_layers(more.clone())));
        // more keys than there are: all count, and the scores are explicit
        let options = all_in_layers(with(more.clone(), json!({ "attn_sparse_topk": 99 })));
        let plain = build(&layers("Decoder", options));
        let state: Vec<_> = fused
            .entries()
            .iter()
            .enumerate()
            .map(|(seed, e)| (e.name.clone(), spread(e.param.leaf().shape(), seed as u64)))
            .collect();
        fused.load_state(&state, true).unwrap();
        plain.load_state(&state, true).unwrap();
        let x = normal(&[2, N, 16], 3);
        let (got, gradients) = results(&fused, &forward(&fused, &x));
        let (want, want_gradients) = results(&plain, &forward(&plain, &x));
        close(&got, &want, 1e-4);
        assert_gradients(&gradients, &want_gradients, 2e-4);
    }
}

#[test]
fn a_sink_alone_is_left_where_no_key_is_allowed() {
    let (x, context) = (normal(&[1, 4, 16], 1), normal(&[1, 3, 16], 2));
    let output = |options: Json| {
        let model = attention(with(options, json!({ "causal": false })));
        let inputs = [x.clone(), context.clone(), mask(&[0; 3], &[1, 3])];
        let named = json!({ "context": { "$tensor": 1 }, "context_mask": { "$tensor": 2 } });
        match forward_with(&model, &inputs, named).unwrap() {
            Value::List(mut all) => values(&tensor(all.swap_remove(0))),
            _ => panic!("no list"),
        }
    };
    // all keys have the same weight without a sink
    assert!(output(json!({})).iter().all(|v| *v != 0.0));
    for sink in ["head_learned_sink", "add_zero_kv"] {
        assert_eq!(output(json!({ sink: true })), [0.0; 4 * 16], "{sink}");
    }
}
