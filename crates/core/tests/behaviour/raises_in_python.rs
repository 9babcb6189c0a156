//! Options that raise in the Python package and work here as their name and paper say: heads,
//! masks, embeddings.

use crate::common::{
    array_values, autoregressive, build, call_numbered, close, float, forward, forward_with, gpt,
    ids, layers, mask, normal, parameter, spec, tensor, tokens, transformer, values,
};
use serde_json::{json, Value as Json};
use std::sync::Arc;
use xt_autograd::ops;
use xt_core::{Leaf, Model, Tensor, Value};

const N: usize = 6;

/// The tensors of a result, in order.
fn list(value: Value) -> Vec<Tensor> {
    match value {
        Value::Tensor(t) => vec![t],
        Value::List(values) => values.into_iter().flat_map(list).collect(),
        Value::Fields(fields) => fields.into_iter().flat_map(|(_, v)| list(v)).collect(),
        Value::Null => vec![],
    }
}

fn named(names: &[&str]) -> Json {
    names
        .iter()
        .enumerate()
        .map(|(i, name)| (name.to_string(), json!({ "$tensor": i + 1 })))
        .collect()
}

/// `forward` of the first tensor; `names` are those of the others.
fn run(model: &Model, tensors: &[Tensor], names: &[&str]) -> Vec<f64> {
    values(&list(forward_with(model, tensors, named(names)).unwrap())[0])
}

/// Copies those weights of `from` that `to` has too.
fn copy(from: &Model, to: &Model) {
    let state: Vec<_> = from
        .entries()
        .iter()
        .map(|e| (e.name.clone(), e.param.values().unwrap().copy().unwrap()))
        .collect();
    to.load_state(&state, false).unwrap();
}

#[test]
fn tie_embedding_uses_the_token_embedding_as_the_head() {
    for more in
        [json!({ "tie_embedding": true }), json!({ "tie_embedding": true, "l2norm_embed": true })]
    {
        let model = build(&gpt(json!({}), more));
        assert!(model.entries().iter().all(|e| !e.name.starts_with("to_logits")));
        let wanted = json!({ "return_logits_and_embeddings": true });
        let out = list(forward_with(&model, &[tokens(2, N, 1)], wanted).unwrap());
        let table = model.entry("token_emb.emb.weight").unwrap().param.tensor();
        close(&values(&out[0]), &values(&ops::linear(&out[1], &table, None).unwrap()), 1e-6);
        ops::sum(&out[0], None, false).unwrap().backward(false, &|| false).unwrap();
        let grad = array_values(&table.as_leaf().unwrap().grad().unwrap().unwrap());
        // tokens that the input lacks get their gradient through the head alone
        assert!(grad.chunks_exact(16).all(|row| row.iter().any(|g| *g != 0.0)));
    }
}

#[test]
fn attn_one_kv_head_with_attn_num_mem_kv_equals_identical_heads() {
    let model = |one: bool| {
        build(&layers(
            "Decoder",
            json!({ "depth": 1, "attn_num_mem_kv": 3, "attn_one_kv_head": one }),
        ))
    };
    let (one, many) = (model(true), model(false));
    copy_but_heads(&one, &many);
    let x = normal(&[2, N, 16], 1);
    close(&values(&forward(&many, &x)), &values(&forward(&one, &x)), 1e-5);
}

/// Copies the weights of `one`, with its keys and values repeated for each of the two heads.
fn copy_but_heads(one: &Model, many: &Model) {
    for entry in many.entries() {
        let single = array_values(&one.entry(&entry.name).unwrap().param.values().unwrap());
        let count: usize = entry.param.leaf().shape().iter().product();
        let dims = entry.param.leaf().shape().to_vec();
        entry.param.leaf().set(float(&single.repeat(count / single.len()), &dims)).unwrap();
    }
}

/// Which keys are real, (2, N), and which pairs may attend, (N, N).
fn masks() -> (Vec<u8>, Vec<u8>) {
    let keys = vec![1, 0, 1, 1, 0, 1, 1, 1, 1, 0, 1, 0];
    (keys, (0..N * N).map(|k| u8::from(k % N == 0 || k % 3 != 1)).collect())
}

/// `rows` of `bits`, each preceded by `count` ones.
fn prepend_ones(bits: &[u8], count: usize) -> Vec<u8> {
    bits.chunks_exact(N).flat_map(|row| [&vec![1; count], row].concat()).collect()
}

#[test]
fn masks_with_mem_equal_masks_extended_with_ones() {
    let model = build(&spec("Attention", json!({ "dim": 16, "heads": 2, "dim_head": 8 })));
    let (x, mem) = (normal(&[2, N, 16], 1), normal(&[2, 3, 16], 2));
    let whole = ops::cat(&[&mem, &x], 1).unwrap();
    let (keys, pairs) = masks();
    let short = (mask(&keys, &[2, N]), mask(&pairs, &[N, N]));
    let long =
        (mask(&prepend_ones(&keys, 3), &[2, N + 3]), mask(&prepend_ones(&pairs, 3), &[N, N + 3]));
    let by_mem =
        run(&model, &[x.clone(), mem, short.0, short.1], &["mem", "context_mask", "attn_mask"]);
    let by_hand =
        run(&model, &[x, whole, long.0, long.1], &["context", "context_mask", "attn_mask"]);
    close(&by_mem, &by_hand, 1e-6);
}

#[test]
fn masks_with_attn_num_mem_kv_do_not_hide_the_memory_keys() {
    let of = |count: usize| json!({ "dim": 16, "heads": 2, "dim_head": 8, "num_mem_kv": count });
    let (model, plain) = (build(&spec("Attention", of(3))), build(&spec("Attention", of(0))));
    copy(&model, &plain);
    let x = normal(&[2, N, 16], 1);
    let (keys, pairs) = masks();
    // a mask over keys equals the same mask written over pairs
    let by_pair: Vec<u8> = keys.chunks_exact(N).flat_map(|row| row.repeat(N)).collect();
    let keys = mask(&keys, &[2, N]);
    let got = run(&model, &[x.clone(), mask(&by_pair, &[2, 1, N, N])], &["attn_mask"]);
    close(&got, &run(&model, &[x.clone(), keys], &["context_mask"]), 1e-6);
    let pairs = mask(&pairs, &[N, N]);
    assert_ne!(
        run(&model, &[x.clone(), pairs.clone()], &["attn_mask"]),
        run(&plain, &[x.clone(), pairs], &["attn_mask"])
    );
    // with every key of the sequence masked all weight is on the memory: no position sees another
    // one
    let none = mask(&[0; N * N], &[N, N]);
    let first = ops::narrow(&x, 1, 0, 1).unwrap();
    let moved = ops::cat(&[&first, &normal(&[2, N - 1, 16], 9)], 1).unwrap();
    let of = |x: &Tensor| run(&model, &[x.clone(), none.clone()], &["attn_mask"]);
    close(&of(&moved)[..16], &of(&x)[..16], 1e-6);
    assert_ne!(of(&moved)[16..32], of(&x)[16..32]);
    assert!(list(forward_with(&model, &[x], json!({})).unwrap())[2].dim(3) == N + 3);
}

#[test]
fn masks_with_num_memory_tokens_equal_masks_over_prepended_vectors() {
    let net = |class: &str, count: usize| {
        build(&transformer(layers(class, json!({})), json!({ "num_memory_tokens": count })))
    };
    let (keys, pairs) = masks();
    let square = |count: usize| {
        let rows = prepend_ones(&pairs, count);
        [vec![1; count * (N + count)], rows].concat()
    };
    for class in ["Encoder", "Decoder"] {
        let (with, without) = (net(class, 2), net(class, 0));
        copy(&with, &without);
        let front =
            ops::broadcast_to(&with.entry("memory_tokens").unwrap().param.tensor(), &[2, 2, 16])
                .unwrap();
        let x = tokens(2, N, 1);
        for name in ["mask", "self_attn_context_mask"] {
            let got = run(&with, &[x.clone(), mask(&keys, &[2, N])], &[name]);
            let long = mask(&prepend_ones(&keys, 2), &[2, N + 2]);
            let want = run(&without, &[x.clone(), long, front.clone()], &[name, "prepend_embeds"]);
            close(&got, &without_first(&want, 2), 1e-5);
        }
        let got = run(&with, &[x.clone(), mask(&pairs, &[N, N])], &["attn_mask"]);
        let long = mask(&square(2), &[N + 2, N + 2]);
        let want = run(&without, &[x, long, front], &["attn_mask", "prepend_embeds"]);
        close(&got, &without_first(&want, 2), 1e-5);
    }
}

/// The logits of two rows without those of the first `count` positions.
fn without_first(logits: &[f64], count: usize) -> Vec<f64> {
    logits.chunks_exact((N + count) * 17).flat_map(|row| row[count * 17..].to_vec()).collect()
}

#[test]
fn l2norm_embed_with_scaled_sinu_pos_emb_adds_positions_to_unit_token_vectors() {
    let model =
        build(&gpt(json!({}), json!({ "l2norm_embed": true, "scaled_sinu_pos_emb": true })));
    let wanted = json!({ "return_intermediates": true });
    let got = values(&list(forward_with(&model, &[ids(&[3, 5, 3], &[1, 3])], wanted).unwrap())[1]);
    let table = parameter(&model, "token_emb.emb.weight");
    let scale = parameter(&model, "pos_emb.scale")[0];
    for (position, id) in [3, 5, 3].into_iter().enumerate() {
        let row = &table[id * 16..(id + 1) * 16];
        let length = row.iter().map(|v| v * v).sum::<f64>().sqrt();
        let wave = |i: usize| {
            let angle = position as f64 * 10_000f64.powf(-((i % 8) as f64) / 8.0);
            if i < 8 {
                angle.sin()
            } else {
                angle.cos()
            }
        };
        let want: Vec<f64> = (0..16).map(|i| row[i] / length + scale * wave(i)).collect();
        close(&got[position * 16..(position + 1) * 16], &want, 1e-5);
    }
}

#[test]
fn return_intermediates_alone_gives_the_logits_with_hiddens_and_maps() {
    let model = build(&gpt(json!({}), json!({})));
    let x = tokens(2, N, 1);
    let value =
        forward_with(&model, std::slice::from_ref(&x), json!({ "return_intermediates": true }))
            .unwrap();
    let Value::List(pair) = &value else { panic!("no pair") };
    let Value::Fields(fields) = &pair[1] else { panic!("no fields") };
    assert_eq!(
        fields.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        ["hiddens", "attn_intermediates"]
    );
    let all = list(value);
    // returning maps takes an unfused path, which rounds differently
    close(&values(&all[0]), &values(&forward(&model, &x)), 1e-6);
    let dims: Vec<&[usize]> = all.iter().map(Tensor::dims).collect();
    let (hidden, map): (&[usize], &[usize]) = (&[2, N, 16], &[2, 2, N, N]);
    assert_eq!(dims[1..], [hidden, hidden, map, map, map, map]);
    for after in [&all[4], &all[6]] {
        values(after).chunks_exact(N).for_each(|row| close(&[row.iter().sum()], &[1.0], 1e-5));
    }
}

#[test]
fn mask_prob_with_num_memory_tokens_masks_tokens_of_the_sequence_only() {
    const BATCH: usize = 16;
    let net = gpt(json!({ "custom_layers": ["a"] }), json!({ "num_memory_tokens": 2 }));
    let model = build(&autoregressive(net, json!({ "mask_prob": 0.5, "ignore_index": 0 })));
    let embeds = Arc::new(Leaf::new(float(&[0.0; BATCH * 11 * 16], &[BATCH, 11, 16])));
    let row = [vec![0; 11], vec![1]].concat();
    let inputs = [ids(&row.repeat(BATCH), &[BATCH, 12]), Tensor::leaf(embeds.clone())];
    let args = json!([{ "$tensor": 0 }, { "sum_embeds": { "$tensor": 1 } }]);
    let loss = tensor(call_numbered(&model, "forward", args, &inputs, 1).unwrap());
    loss.backward(false, &|| false).unwrap();
    let silent = |grad: &[f64]| grad.iter().all(|g| *g == 0.0);
    for row in array_values(&embeds.grad().unwrap().unwrap()).chunks_exact(11 * 16) {
        let hidden: Vec<bool> = row.chunks_exact(16).take(10).map(silent).collect();
        assert!(!hidden[0]);
        // 6 of the 12 positions, which may include the last of the input
        assert!(matches!(hidden.iter().filter(|h| **h).count(), 5 | 6), "{hidden:?}");
    }
    let memory = model.entry("net.memory_tokens").unwrap().param.leaf().grad().unwrap().unwrap();
    assert!(array_values(&memory).chunks_exact(16).all(|row| !silent(row)));
}
