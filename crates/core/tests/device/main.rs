//! What happens between the host and the device that `XT_DEVICE` names: `cpu`, the default, or
//! `cuda`. Each copy between them waits for the GPU, so that their number is a part of its speed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/device.rs"]
mod device;

use device::device;
use serde_json::{json, Value as Json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use xt_core::training::{
    average, clip_grad_norm, clip_grad_value, swap_values, Optimizer, OptimizerKind,
};
use xt_core::{Args, Array, Ctx, DType, Device, EntryKind, Leaf, Model, Rng, Tensor, Value};
use xt_kernels::{transfers, Transfers};

/// One test at a time: the copies of all are counted together.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number of copies, which is 0 on the CPU.
fn counted(work: impl FnOnce()) -> Transfers {
    let before = transfers();
    work();
    let after = transfers();
    Transfers {
        downloads: after.downloads - before.downloads,
        uploads: after.uploads - before.uploads,
    }
}

/// `copies` on a GPU, none on the CPU.
fn expected(downloads: u64, uploads: u64) -> Transfers {
    match device() {
        Device::Cpu => Transfers::default(),
        _ => Transfers { downloads, uploads },
    }
}

/// The fields of both objects.
fn merged(mut one: Json, other: &Json) -> Json {
    one.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
    one
}

fn gpt(layers: Json, wrapper: Json) -> Arc<Model> {
    gpt_with(&layers, &wrapper, &json!({}))
}

/// A GPT with these options of its layers, of the net around them, and of the wrapper that trains.
fn gpt_with(layers: &Json, net: &Json, wrapper: &Json) -> Arc<Model> {
    let options = json!({ "dim": 16, "depth": 2, "heads": 2, "attn_dim_head": 8 });
    let layers = json!({ "class": "Decoder", "options": merged(options, layers) });
    let options = json!({ "num_tokens": 17, "max_seq_len": 24, "attn_layers": layers });
    let net = json!({ "class": "TransformerWrapper", "options": merged(options, net) });
    let options = merged(json!({ "net": net }), wrapper);
    let spec = json!({ "class": "AutoregressiveWrapper", "options": options });
    let model = Model::from_spec(&spec, 1).unwrap();
    model.move_to(&device()).unwrap();
    model
}

/// The models whose copies are counted: GPT-2's kind, and one with the parts of later ones.
fn models() -> [Arc<Model>; 3] {
    [
        gpt(json!({ "attn_dropout": 0.1, "ff_dropout": 0.1 }), json!({ "emb_dropout": 0.1 })),
        gpt(
            json!({
                "rotary_pos_emb": true, "use_rmsnorm": true, "ff_glu": true, "ff_swish": true,
                "attn_one_kv_head": true, "shift_tokens": 1, "attn_qk_norm": true,
            }),
            json!({ "use_abs_pos_emb": false }),
        ),
        gpt(
            json!({ "alibi_pos_bias": true, "alibi_num_heads": 2, "attn_sparse_topk": 3 }),
            json!({ "tie_embedding": true, "scaled_sinu_pos_emb": true }),
        ),
    ]
}

fn ids(batch: usize, n: usize, seed: u64) -> Tensor {
    let drawn = Rng::new(seed, 0).stream().below(17, batch * n);
    let drawn = drawn.into_iter().map(|id| id as i64).collect();
    Tensor::constant(Array::from_vec(drawn, (batch, n), &device()).unwrap())
}

/// Two documents in each row.
fn segments(batch: usize, n: usize) -> Tensor {
    let values = (0..batch * n).map(|at| i64::from(at % n >= n / 2) + 1).collect();
    Tensor::constant(Array::from_vec(values, (batch, n), &device()).unwrap())
}

fn parameters(model: &Model) -> Vec<Arc<Leaf>> {
    let entries = model.entries().iter().filter(|entry| entry.kind == EntryKind::Parameter);
    entries.map(|entry| entry.param.leaf().clone()).collect()
}

fn loss(model: &Model, ids: Tensor, call: u64) -> Tensor {
    let ids = [ids];
    let args = Args::new("forward", json!([{ "$tensor": 0 }]), &ids).unwrap();
    let rng = Rng::new(3, call);
    match model.call("forward", &args, &Ctx::new(&rng, &|| false)).unwrap() {
        Value::Tensor(loss) => loss,
        _ => panic!("no loss"),
    }
}

fn number(x: &Tensor) -> f32 {
    x.array().unwrap().to_scalar().unwrap()
}

#[test]
fn a_train_step_copies_the_ids_and_the_loss_and_the_norm_if_it_is_read() {
    let _alone = alone();
    for model in models() {
        model.train(true);
        let parameters = parameters(&model);
        let counts = vec![parameters.len()];
        let mut optimizer =
            Optimizer::new(OptimizerKind::AdamW, parameters.clone(), counts).unwrap();
        let mut step = |clip: bool, call: u64| {
            let loss = loss(&model, ids(2, 9, call), call);
            loss.backward(false, &|| false).unwrap();
            if clip {
                clip_grad_norm(&parameters, 0.5, &|| false).unwrap();
            }
            optimizer.step(&[json!({ "lr": 1e-3 })], &|| false).unwrap();
            optimizer.zero_grad().unwrap();
            assert!(number(&loss).is_finite());
        };
        // the first one makes states and tables
        step(true, 1);
        assert_eq!(counted(|| step(false, 2)), expected(1, 1));
        assert_eq!(counted(|| step(true, 3)), expected(2, 1));
    }
}

#[test]
fn muon_adafactor_averages_and_limits_of_gradients_copy_nothing() {
    let _alone = alone();
    let leaf = |shape: &[usize], seed: u64| {
        let values = Rng::new(seed, 0).stream().normal(shape.iter().product());
        let array = Array::from_vec(values, shape, &Device::Cpu).unwrap();
        let array = array.to_dtype(DType::F32).unwrap().to_device(&device()).unwrap();
        Arc::new(Leaf::new(array))
    };
    let leaves = || vec![leaf(&[6, 4], 1), leaf(&[3, 5], 2), leaf(&[5], 3)];
    let groups = [json!({}), json!({ "use_muon": false })];
    for (kind, sizes, groups) in [
        (OptimizerKind::Muon, vec![2, 1], &groups[..]),
        (OptimizerKind::Adafactor, vec![3], &groups[..1]),
    ] {
        let (own, averages) = (leaves(), leaves());
        let grads: Vec<_> = leaves().iter().map(|leaf| leaf.values().unwrap()).collect();
        let mut optimizer = Optimizer::new(kind, own.clone(), sizes).unwrap();
        let work = || {
            for (leaf, grad) in own.iter().zip(grads) {
                leaf.set_grad(Some(grad)).unwrap();
            }
            clip_grad_value(&own, 0.5, &|| false).unwrap();
            optimizer.step(groups, &|| false).unwrap();
            average(&averages, &own, 0.9).unwrap();
            swap_values(&own, &averages).unwrap();
        };
        assert_eq!(counted(work), Transfers::default(), "{kind:?}");
    }
}

#[test]
fn a_token_copies_its_logits_and_its_id() {
    let _alone = alone();
    for model in models() {
        model.train(false);
        let prompt = [ids(1, 5, 1)];
        let named = json!({ "temperature": 0.0 });
        let args = Args::new("generate", json!([{ "$tensor": 0 }, 12, named]), &prompt).unwrap();
        let mut generation = model.generation("generate", &args).unwrap();
        let rng = Rng::new(1, 1);
        let mut token = || {
            let logits = generation.logits(&Ctx::new(&rng, &|| false)).unwrap();
            generation.accept(&logits, false, &rng).unwrap();
        };
        token();
        token();
        assert_eq!(counted(token), expected(1, 1));
    }
}

/// Options of the layers that change what is computed, one at a time.
fn layer_options() -> Vec<Json> {
    let flags = [
        "alibi_pos_bias",
        "rel_pos_bias",
        "dynamic_pos_bias",
        "rotary_pos_emb",
        "rotary_xpos",
        "residual_attn",
        "macaron",
        "gate_residual",
        "scale_residual",
        "sandwich_norm",
        "use_scalenorm",
        "use_rmsnorm",
        "use_simple_rmsnorm",
        "norm_add_unit_offset",
        "pre_norm_has_final_norm",
        "pre_and_post_norm",
        "parallel_block",
        "use_layerscale",
        "weight_tie_layers",
        "add_value_residual",
        "ff_glu",
        "ff_relu_squared",
        "ff_swish",
        "ff_post_act_ln",
        "ff_no_bias",
        "ff_zero_init_output",
        "attn_talking_heads",
        "attn_head_scale",
        "attn_qk_norm",
        "attn_on_attn",
        "attn_gate_values",
        "attn_one_kv_head",
        "attn_qk_rmsnorm",
        "attn_k_rmsnorm",
        "attn_softclamp_logits",
        "attn_head_learned_sink",
        "attn_add_zero_kv",
        "attn_qkv_bias",
        "attn_out_bias",
        "attn_shared_kv",
        "attn_tensor_product",
        "attn_zero_init_output",
        "zero_init_branch_output",
        "deepnorm",
    ];
    let mut all: Vec<Json> = flags.iter().map(|name| json!({ *name: true })).collect();
    all.extend([
        json!({}),
        json!({ "pre_norm": false }),
        json!({ "norm_position": "branch", "branch_scale": 0.5 }),
        json!({ "norm_eps": 1e-6, "use_rmsnorm": true }),
        json!({ "norm_bias": false }),
        json!({ "wrapper_norm": false }),
        json!({ "rotary_pos_emb": true, "rotary_given_pos": true }),
        json!({ "norm_elementwise_affine": false }),
        json!({ "parallel_block": true, "parallel_block_shared_norm": true }),
        json!({ "shift_tokens": 1 }),
        json!({ "layer_dropout": 0.1 }),
        json!({ "attn_dropout": 0.1, "ff_dropout": 0.1 }),
        json!({ "alibi_pos_bias": true, "alibi_learned": true }),
        json!({ "alibi_pos_bias": true, "alibi_slopes": [0.5, 0.25], "alibi_given_pos": true }),
        json!({ "rotary_pos_emb": true, "disable_abs_pos_emb": false }),
        json!({ "depth_scale_residual": true }),
        json!({ "attn_qk_norm": true, "attn_qk_norm_groups": 2, "attn_qk_norm_dim_scale": true }),
        json!({ "ff_glu": true, "ff_swish": true, "ff_mult": 2 }),
        json!({ "ff_inner_dim": 10, "ff_activation": "gelu_tanh" }),
        json!({ "ff_glu": true, "ff_glu_bias": false, "ff_activation": "quick_gelu" }),
        json!({ "ff_glu": true, "ff_glu_mult_bias": true }),
        json!({ "attn_project_out": false }),
        json!({ "attn_num_mem_kv": 2 }),
        json!({ "attn_kv_heads": 1 }),
        json!({ "attn_qk_rmsnorm": true, "attn_qk_rmsnorm_across_heads": true }),
        json!({ "attn_qk_rmsnorm": true, "attn_qk_rmsnorm_shared": true }),
        json!({ "attn_sparse_topk": 3 }),
        json!({ "attn_max_attend_past": 3 }),
        json!({ "attn_value_dim_head": 4 }),
        json!({ "sandwich_coef": 1 }),
        json!({ "rotary_pos_emb": true, "rotary_interleaved": true, "rotary_values": false }),
        json!({ "rotary_pos_emb": true, "rotate_num_heads": 1 }),
        json!({ "rel_pos_bias": true, "rel_pos_scale": 1.0 }),
        json!({ "attn_qkv_clip": 0.5 }),
        json!({ "attn_sublayer_dropout": 0.1, "ff_sublayer_dropout": 0.1 }),
        json!({ "par_ratio": 2 }),
    ]);
    all
}

/// Options of the net around the layers.
fn net_options() -> Vec<Json> {
    vec![
        json!({ "num_memory_tokens": 2 }),
        json!({ "emb_dropout": 0.1 }),
        json!({ "emb_frac_gradient": 0.5 }),
        json!({ "emb_dim": 8 }),
        json!({ "tie_embedding": true }),
        json!({ "tie_embedding": true, "tie_embedding_scale": 0.3, "emb_scale": 2.5 }),
        json!({ "logits_scale": 0.5, "logits_bias": false }),
        json!({ "logits_scale": 0.5, "logit_softclamp_value": 0.7 }),
        json!({ "scaled_sinu_pos_emb": true }),
        json!({ "use_abs_pos_emb": false }),
        json!({ "abs_pos_emb_scale": 1.0 }),
        json!({ "l2norm_embed": true }),
        json!({ "post_emb_norm": true }),
    ]
}

/// The copies of a train step (one of each, and the ids and the loss) that an option adds, as the
/// list in docs/cuda.md says.
fn more_copies(options: &Json) -> (u64, u64) {
    let names = |name: &str| options.get(name).is_some();
    match () {
        () if names("rotary_xpos") => (1, 4),
        () if names("mask_prob") => (0, 1),
        () => (0, 0),
    }
}

#[test]
fn packed_documents_are_read_once_and_written_for_each_use() {
    let _alone = alone();
    // documents, positions and targets go to the GPU. In each step xPos reads its factors, and
    // writes four tables instead of positions; `attn_num_mem_kv` writes a mask for all attentions
    let cases = [
        (json!({}), 1, 3),
        (json!({ "rotary_pos_emb": true }), 1, 3),
        (json!({ "rotary_xpos": true }), 2, 6),
        (json!({ "attn_num_mem_kv": 2 }), 1, 4),
    ];
    for (layers, downloads, uploads) in cases {
        let model = gpt(layers, json!({}));
        let tensors = [ids(2, 9, 1), segments(2, 9)];
        let step = |call: u64| {
            let named = json!([{ "$tensor": 0 }, { "segment_ids": { "$tensor": 1 } }]);
            let args = Args::new("forward", named, &tensors).unwrap();
            let rng = Rng::new(1, call);
            let Value::Tensor(loss) =
                model.call("forward", &args, &Ctx::new(&rng, &|| false)).unwrap()
            else {
                panic!("no loss")
            };
            loss.backward(false, &|| false).unwrap();
        };
        step(1);
        assert_eq!(counted(|| step(2)), expected(downloads, uploads));
    }
}

#[test]
fn no_option_copies_more_but_those_that_are_listed() {
    let _alone = alone();
    let none = json!({});
    let layers = layer_options().into_iter().map(|o| (o, none.clone(), none.clone()));
    let nets = net_options().into_iter().map(|o| (none.clone(), o, none.clone()));
    let wrappers = [json!({ "mask_prob": 0.2 }), json!({ "pad_value": 3 })];
    let wrappers = wrappers.into_iter().map(|o| (none.clone(), none.clone(), o));
    let mut wrong = Vec::new();
    for (layers, net, wrapper) in layers.chain(nets).chain(wrappers) {
        let model = gpt_with(&layers, &net, &wrapper);
        model.train(true);
        let parameters = parameters(&model);
        let step = |call: u64| {
            let loss = loss(&model, ids(2, 9, call), call);
            loss.backward(false, &|| false).unwrap();
            parameters.iter().for_each(|leaf| leaf.set_grad(None).unwrap());
            assert!(number(&loss).is_finite());
        };
        // the first one makes tables
        step(1);
        let got = counted(|| step(2));
        let options = merged(merged(layers, &net), &wrapper);
        let (downloads, uploads) = more_copies(&options);
        if got != expected(1 + downloads, 1 + uploads) {
            wrong.push(format!("{options}: {got:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
