//! Packed rows: several documents in one row give what a call for each of them gives.

use crate::common::{
    array_values, autoregressive, build, call_numbered, close, forward, forward_with, gpt, ids,
    layers, normal, taken_gradients, tensor, transformer, values, with,
};
use serde_json::{json, Value as Json};
use xt_autograd::ops;
use xt_core::{Model, Tensor, Value};

/// The lengths of the documents of two rows.
const ROWS: [&[usize]; 2] = [&[3, 6, 2], &[5, 6]];
const N: usize = 11;

/// The documents of [`ROWS`], with ids that do not grow.
fn segment_ids() -> Tensor {
    let row = |lengths: &&[usize]| {
        let documents = lengths.iter().zip([7i64, 2, 5]);
        documents.flat_map(|(length, id)| vec![id; *length]).collect::<Vec<_>>()
    };
    ids(&ROWS.iter().flat_map(row).collect::<Vec<_>>(), &[2, N])
}

/// The row, the first position and the length of each document.
fn documents() -> Vec<[usize; 3]> {
    let of = |(row, lengths): (usize, &&[usize])| {
        let mut at = 0;
        let place = |length: &usize| {
            at += length;
            [row, at - length, *length]
        };
        lengths.iter().map(place).collect::<Vec<_>>()
    };
    ROWS.iter().enumerate().flat_map(of).collect()
}

/// The part of `x`, `(2, n, ..)`, that is in one row, from a position on.
fn part(x: &Tensor, [row, at, length]: [usize; 3]) -> Tensor {
    ops::narrow(&ops::narrow(x, 0, row, 1).unwrap(), 1, at, length).unwrap()
}

fn packed(model: &Model, x: &Tensor) -> Tensor {
    let tensors = [x.clone(), segment_ids()];
    tensor(forward_with(model, &tensors, json!({ "segment_ids": { "$tensor": 1 } })).unwrap())
}

/// Adds the gradients of the sum of squares of `y`.
fn backward(y: &Tensor) {
    let squares = ops::mul(y, y).unwrap();
    ops::sum(&squares, None, false).unwrap().backward(false, &|| false).unwrap();
}

/// Compares outputs and gradients of packed rows with those of separate calls.
fn assert_equals_separate_calls(spec: &Json, x: &Tensor) {
    let model = build(spec);
    let all = packed(&model, x);
    backward(&all);
    let gradients = taken_gradients(&model);
    for document in documents() {
        let alone = forward(&model, &part(x, document));
        close(&values(&part(&all, document)), &values(&alone), 2e-5);
        backward(&alone);
    }
    for ((name, got), (other, want)) in gradients.iter().zip(&taken_gradients(&model)) {
        assert_eq!(name, other);
        close(got, want, 2e-4);
    }
}

fn tokens() -> Tensor {
    crate::common::tokens(2, N, 5)
}

/// Options of layers that see positions, neighbours, or other keys, one by one.
fn options() -> Vec<Json> {
    vec![
        json!({}),
        json!({ "rotary_pos_emb": true }),
        json!({ "rotary_xpos": true, "rotary_xpos_scale_base": 4 }),
        json!({ "alibi_pos_bias": true, "alibi_learned": true }),
        json!({ "rel_pos_bias": true, "attn_one_kv_head": true }),
        json!({ "dynamic_pos_bias": true, "dynamic_pos_bias_log_distance": true }),
        json!({ "shift_tokens": 1 }),
        json!({ "shift_tokens": 2, "rotary_pos_emb": true, "sandwich_norm": true }),
        json!({ "attn_num_mem_kv": 2, "rotary_pos_emb": true }),
        json!({ "attn_num_mem_kv": 2, "attn_talking_heads": true }),
        json!({ "attn_talking_heads": true, "alibi_pos_bias": true }),
        json!({ "attn_sparse_topk": 2 }),
        json!({ "attn_max_attend_past": 2, "rotary_pos_emb": true }),
        json!({ "attn_qk_norm": true, "residual_attn": true, "rotary_pos_emb": true }),
    ]
}

#[test]
fn segment_ids_give_a_decoder_what_separate_calls_give() {
    for more in options() {
        assert_equals_separate_calls(&gpt(more, json!({})), &tokens());
    }
    let sines = json!({ "scaled_sinu_pos_emb": true });
    assert_equals_separate_calls(&gpt(json!({}), sines), &tokens());
}

#[test]
fn segment_ids_give_an_encoder_what_separate_calls_give() {
    let causal_alone = |more: &Json| more.get("rotary_xpos").is_some();
    for more in options().into_iter().filter(|more| !causal_alone(more)) {
        let spec = transformer(layers("Encoder", more), json!({}));
        assert_equals_separate_calls(&spec, &tokens());
    }
}

#[test]
fn segment_ids_give_vectors_and_layers_alone_what_separate_calls_give() {
    let x = normal(&[2, N, 16], 4);
    let rotary = json!({ "rotary_pos_emb": true });
    assert_equals_separate_calls(&layers("Decoder", rotary.clone()), &x);
    let options = json!({ "max_seq_len": 12, "attn_layers": layers("Decoder", json!({})) });
    assert_equals_separate_calls(&crate::common::spec("ContinuousTransformerWrapper", options), &x);
}

/// The losses of documents without their first token, weighted by how many they predict.
fn mean_of_losses(model: &Model, x: &Tensor, last: usize) -> f64 {
    let (mut total, mut count) = (0.0, 0);
    for [row, at, length] in documents() {
        // the last column is a target alone; padding has no loss
        let length = length.min(last + 1 - at);
        if length > 1 && !(row == 1 && at > 0) {
            let loss = forward(model, &part(x, [row, at, length]));
            total += values(&loss)[0] * (length - 1) as f64;
            count += length - 1;
        }
    }
    total / f64::from(u32::try_from(count).unwrap())
}

#[test]
fn segment_ids_leave_padding_and_the_first_tokens_out_of_losses() {
    // the second document of the second row is padding
    let row = |documents: &[(usize, i64)]| {
        documents.iter().flat_map(|(length, id)| vec![*id; *length]).collect::<Vec<_>>()
    };
    let documents = [row(&[(3, 1), (6, 2), (2, 3)]), row(&[(5, 1), (6, 0)])].concat();
    let named = json!({ "segment_ids": { "$tensor": 1 } });
    let loss = |model: &Model, x: &Tensor| {
        let tensors = [x.clone(), ids(&documents, &[2, N])];
        values(&tensor(forward_with(model, &tensors, named.clone()).unwrap()))[0]
    };
    let model = build(&autoregressive(gpt(json!({ "shift_tokens": 1 }), json!({})), json!({})));
    let x = tokens();
    close(&[loss(&model, &x)], &[mean_of_losses(&model, &x, N)], 1e-5);
    let options = json!({ "max_seq_len": 12, "attn_layers": layers("Decoder", json!({})) });
    let net = crate::common::spec("ContinuousTransformerWrapper", options);
    let model =
        build(&crate::common::spec("ContinuousAutoregressiveWrapper", json!({ "net": net })));
    let x = normal(&[2, N, 16], 4);
    close(&[loss(&model, &x)], &[mean_of_losses(&model, &x, N)], 1e-5);
}

#[test]
fn segment_ids_are_refused_where_they_make_no_sense() {
    let refused = |spec: Json, named: Json, tensors: Vec<Tensor>, says: &str| {
        let all = [vec![tokens()], tensors].concat();
        let error = forward_with(&build(&spec), &all, named).err().unwrap().to_string();
        assert!(error.contains(says), "{error}");
    };
    let by = json!({ "segment_ids": { "$tensor": 1 } });
    let plain = || gpt(json!({}), json!({}));
    let one = |values: &[i64], dims: &[usize]| vec![ids(values, dims)];
    refused(plain(), by.clone(), one(&[1; 4], &[2, 2]), "segment_ids must have shape [2, 11]");
    refused(plain(), by.clone(), one(&[1; 11], &[11]), "segment_ids must be i64 of shape");
    let mut twice = vec![1; 22];
    twice[13] = 4;
    refused(plain(), by.clone(), one(&twice, &[2, 11]), "has 1 again at [1, 3]");
    let fits = || one(&[1; 22], &[2, 11]);
    let memory = gpt(json!({}), json!({ "num_memory_tokens": 2 }));
    refused(memory, by.clone(), fits(), "`num_memory_tokens`");
    let far = gpt(json!({ "attn_num_mem_kv": 2, "alibi_pos_bias": true }), json!({}));
    refused(far, by.clone(), fits(), "`attn_num_mem_kv`");
    let front = with(by.clone(), json!({ "prepend_embeds": { "$tensor": 2 } }));
    refused(plain(), front, [fits(), vec![normal(&[2, 1, 16], 1)]].concat(), "prepend_embeds");
    let cross = gpt(json!({ "cross_attend": true }), json!({}));
    let context = with(by.clone(), json!({ "context": { "$tensor": 2 } }));
    refused(cross, context, [fits(), vec![normal(&[2, 3, 16], 1)]].concat(), "a context");
    let recurrent = gpt(json!({}), json!({ "max_mem_len": 4 }));
    let mems = with(by, json!({ "mems": [{ "$tensor": 2 }, { "$tensor": 2 }] }));
    refused(recurrent, mems, [fits(), vec![normal(&[2, 3, 16], 1)]].concat(), "mems");
}

#[test]
fn segment_ids_go_with_masks_and_returned_maps() {
    let model = build(&gpt(json!({}), json!({})));
    let mut there = vec![1u8; 22];
    there[4] = 0;
    let tensors = [tokens(), segment_ids(), crate::common::mask(&there, &[2, N])];
    let named = json!({
        "segment_ids": { "$tensor": 1 }, "mask": { "$tensor": 2 }, "return_attn": true,
    });
    let Value::List(all) = forward_with(&model, &tensors, named).unwrap() else {
        panic!("no list")
    };
    let Value::List(maps) = &all[1] else { panic!("no maps") };
    let Value::Tensor(map) = &maps[0] else { panic!("no map") };
    let weights = array_values(&map.array().unwrap());
    let weight = |row: usize, i: usize, j: usize| weights[((row * 2) * N + i) * N + j];
    // the second document of the first row starts at 3; position 4 is masked
    assert_eq!([weight(0, 5, 2), weight(0, 5, 4), weight(0, 5, 6)], [0.0; 3]);
    assert!(weight(0, 5, 3) > 0.0 && weight(0, 5, 5) > 0.0 && weight(1, 4, 0) > 0.0);
}

#[test]
fn segment_ids_and_mask_prob_keep_documents_apart_and_the_future_hidden() {
    let net = || gpt(json!({}), json!({}));
    let model = build(&autoregressive(net(), json!({ "mask_prob": 0.6 })));
    let documents = ids(&[4, 4, 2, 2, 2, 2, 2], &[1, 7]);
    let named = json!({ "segment_ids": { "$tensor": 1 } });
    let loss = |row: &[i64], number: u64| {
        let tensors = [ids(row, &[1, 7]), documents.clone()];
        let args = json!([{ "$tensor": 0 }, named]);
        values(&tensor(call_numbered(&model, "forward", args, &tensors, number).unwrap()))[0]
    };
    // of the first document, only its own prediction counts, which its second token is a target of
    let of_first = |first: [i64; 2], number: u64| {
        let tensors = [ids(&first, &[1, 2]), ids(&[4, 4], &[1, 2])];
        let args = json!([{ "$tensor": 0 }, named]);
        values(&tensor(call_numbered(&model, "forward", args, &tensors, number).unwrap()))[0]
    };
    for number in 0..12 {
        let (a, b) = ([1, 2], [9, 8]);
        let rest = [3, 4, 5, 6, 7];
        let change =
            loss(&[&a[..], &rest].concat(), number) - loss(&[&b[..], &rest].concat(), number);
        // one of five predictions is that of the first document
        let want = (of_first(a, number) - of_first(b, number)) / 5.0;
        close(&[change], &[want], 1e-5);
    }
}

#[test]
fn segment_ids_of_one_document_hide_the_keys_that_mask_prob_hides_without() {
    let net = gpt(json!({}), json!({}));
    let model = build(&autoregressive(net, json!({ "mask_prob": 0.5 })));
    let loss = |named: Json, number: u64| {
        let tensors = [tokens(), ids(&[3; 2 * N], &[2, N])];
        let args = json!([{ "$tensor": 0 }, named]);
        values(&tensor(call_numbered(&model, "forward", args, &tensors, number).unwrap()))[0]
    };
    for number in 0..4 {
        let packed = loss(json!({ "segment_ids": { "$tensor": 1 } }), number);
        close(&[packed], &[loss(json!({}), number)], 1e-6);
    }
}

#[test]
fn segment_ids_may_have_padding_between_documents() {
    let (x, model) = (tokens(), build(&gpt(json!({ "rotary_pos_emb": true }), json!({}))));
    let row = [1, 1, 0, 2, 2, 2, 2, 0, 0, 3, 0];
    let tensors = [x.clone(), ids(&[row, row].concat(), &[2, N])];
    let named = json!({ "segment_ids": { "$tensor": 1 } });
    let all = tensor(forward_with(&model, &tensors, named).unwrap());
    for row in 0..2 {
        // padding sees only what is beside it
        for [at, length] in [[0, 2], [2, 1], [3, 4], [7, 2], [9, 1], [10, 1]] {
            let document = [row, at, length];
            let alone = forward(&model, &part(&x, document));
            close(&values(&part(&all, document)), &values(&alone), 2e-5);
        }
    }
}
