//! Options of ALiBi that the Python package of version 1.9.2 does not have, and which positions a
//! wrapper has besides those of its layers.

use crate::common::{
    build, close, copy_weights, forward, forward_with, gpt, ids, layers, mask, normal,
    taken_gradients, tensor, tokens, transformer, values, with,
};
use serde_json::{json, Value as Json};
use xt_autograd::no_grad;
use xt_autograd::ops;
use xt_core::{Model, Result, Tensor};

const DIM: usize = 16;

/// A decoder with ALiBi.
fn alibi(more: Json) -> Json {
    layers("Decoder", with(json!({ "alibi_pos_bias": true }), more))
}

/// A decoder with ALiBi by given positions, and the weights of `plain`.
fn given(more: Json, plain: &Model) -> std::sync::Arc<Model> {
    let model = build(&alibi(with(json!({ "alibi_given_pos": true }), more)));
    copy_weights(plain, &model);
    model
}

fn at(model: &Model, x: &Tensor, pos: &[i64], dims: &[usize]) -> Result<Tensor> {
    let named = json!({ "pos": { "$tensor": 1 } });
    forward_with(model, &[x.clone(), ids(pos, dims)], named).map(tensor)
}

#[test]
fn alibi_slopes_are_those_of_the_heads() {
    let x = normal(&[1, 6, DIM], 1);
    // those of the paper for two heads
    let usual = build(&alibi(json!({})));
    let same = build(&alibi(json!({ "alibi_slopes": [0.0625, 0.00390625] })));
    copy_weights(&usual, &same);
    close(&values(&forward(&same, &x)), &values(&forward(&usual, &x)), 1e-6);
    let one = json!({ "alibi_num_heads": 1, "alibi_slopes": [0.5] });
    let zero = build(&alibi(json!({ "alibi_slopes": [0.5, 0.0] })));
    let [one, learned] =
        [one.clone(), with(one, json!({ "alibi_learned": true }))].map(|options| {
            let model = build(&alibi(options));
            for entry in model.entries().iter().filter(|entry| zero.entry(&entry.name).is_ok()) {
                entry
                    .param
                    .leaf()
                    .set(zero.entry(&entry.name).unwrap().param.values().unwrap())
                    .unwrap();
            }
            model
        });
    let want = values(&forward(&zero, &x));
    assert_ne!(want, values(&forward(&usual, &x)));
    close(&values(&forward(&one, &x)), &want, 1e-6);
    close(&values(&forward(&learned, &x)), &want, 1e-6);
}

#[test]
fn alibi_given_pos_has_the_distances_of_the_call() {
    let x = normal(&[2, 6, DIM], 1);
    for more in [
        json!({}),
        json!({ "alibi_num_heads": 1, "attn_kv_heads": 1, "gradient_checkpointing": true }),
        json!({ "residual_attn": true, "attn_softclamp_logits": true }),
        json!({ "attn_talking_heads": true, "attn_max_attend_past": 3 }),
    ] {
        let slopes = |all: [f64; 2]| match more["alibi_num_heads"].is_number() {
            true => json!({ "alibi_slopes": [all[0]] }),
            false => json!({ "alibi_slopes": all }),
        };
        let plain = build(&alibi(with(slopes([0.5, 0.25]), more.clone())));
        let half = given(with(slopes([0.25, 0.125]), more.clone()), &plain);
        let want = values(&forward(&plain, &x));
        // twice as far and half as steep
        let row: Vec<i64> = (0..6).map(|i| 2 * i + 100).collect();
        close(&values(&at(&half, &x, &row, &[6]).unwrap()), &want, 2e-5);
        let rows = [row.clone(), (0..6).map(|i| 2 * i - 7).collect()].concat();
        close(&values(&at(&half, &x, &rows, &[2, 6]).unwrap()), &want, 2e-5);
        let far: Vec<i64> = (0..6).map(|i| 2 * i + (1 << 40)).collect();
        close(&values(&at(&half, &x, &far, &[6]).unwrap()), &want, 2e-5);
        // without positions those of the sequence
        let same = given(with(slopes([0.5, 0.25]), more.clone()), &plain);
        close(&values(&forward(&same, &x)), &want, 2e-5);
    }
}

#[test]
fn alibi_given_pos_may_differ_between_heads() {
    let x = normal(&[2, 5, DIM], 1);
    let plain = build(&alibi(json!({ "alibi_slopes": [0.5, 0.25] })));
    let model = given(json!({ "alibi_slopes": [0.5, 0.125] }), &plain);
    let head = |step: i64| (0..5).map(move |i| step * i).collect::<Vec<i64>>();
    let rows = [head(1), head(2), head(1), head(2)].concat();
    let got = at(&model, &x, &rows, &[2, 2, 5]).unwrap();
    close(&values(&got), &values(&forward(&plain, &x)), 2e-5);
}

/// Positions with a hole are those of a longer row in which the hole is masked.
#[test]
fn alibi_given_pos_may_have_holes() {
    let plain = build(&alibi(json!({ "alibi_slopes": [0.5, 0.25] })));
    let model = given(json!({ "alibi_slopes": [0.5, 0.25] }), &plain);
    let long = normal(&[1, 5, DIM], 1);
    let parts = [ops::narrow(&long, 1, 0, 2).unwrap(), ops::narrow(&long, 1, 3, 2).unwrap()];
    let short = ops::cat(&[&parts[0], &parts[1]], 1).unwrap();
    let named = json!({ "self_attn_context_mask": { "$tensor": 1 } });
    let seen = mask(&[1, 1, 0, 1, 1], &[1, 5]);
    let want = values(&tensor(forward_with(&plain, &[long, seen], named).unwrap()));
    let want = [&want[..2 * DIM], &want[3 * DIM..]].concat();
    close(&values(&at(&model, &short, &[0, 1, 3, 4], &[4]).unwrap()), &want, 2e-5);
}

#[test]
fn alibi_given_pos_goes_with_learned_slopes_keys_and_memory_tokens() {
    let options = json!({ "alibi_given_pos": true, "alibi_learned": true, "attn_num_mem_kv": 2 });
    let model = build(&alibi(options.clone()));
    let x = normal(&[1, 5, DIM], 1);
    let at_5 = at(&model, &x, &[5, 6, 9, 10, 11], &[5]).unwrap();
    let at_0 = at(&model, &x, &[0, 1, 4, 5, 6], &[1, 5]).unwrap();
    close(&values(&at_5), &values(&at_0), 2e-5);
    let loss = ops::sum(&ops::square(&at_5).unwrap(), None, false).unwrap();
    loss.backward(false, &|| false).unwrap();
    let gradients = taken_gradients(&model);
    let slopes = gradients.iter().find(|(name, _)| name.ends_with("learned_logslopes")).unwrap();
    assert!(slopes.1.iter().all(|gradient| *gradient != 0.0));
    // memory tokens come before the positions, and a cache goes on with them
    let around = json!({ "num_memory_tokens": 2, "use_abs_pos_emb": false });
    let model = build(&transformer(alibi(options), around));
    model.train(false);
    let (x, pos) = (tokens(1, 5, 2), ids(&[0, 1, 4, 5, 6], &[5]));
    let whole = no_grad(|| {
        let named = json!({ "pos": { "$tensor": 1 } });
        values(&tensor(forward_with(&model, &[x.clone(), pos.clone()], named).unwrap()))
    });
    let (first, last) = (ops::narrow(&x, 1, 0, 4).unwrap(), ops::narrow(&x, 1, 4, 1).unwrap());
    no_grad(|| {
        let named = json!({ "pos": { "$tensor": 1 }, "return_cache": true });
        let pos_first = ops::narrow(&pos, 0, 0, 4).unwrap();
        let Ok(xt_core::Value::List(mut both)) = forward_with(&model, &[first, pos_first], named)
        else {
            panic!("no list")
        };
        let Some(xt_core::Value::List(cache)) = both.pop() else { panic!("no cache") };
        let mut tensors = vec![last, pos.clone()];
        tensors.extend(cache.into_iter().map(tensor));
        let list: Vec<Json> = (2..tensors.len()).map(|i| json!({ "$tensor": i })).collect();
        let named = json!({ "pos": { "$tensor": 1 }, "cache": list });
        let got = tensor(forward_with(&model, &tensors, named).unwrap());
        close(&values(&got), &whole[4 * 17..], 1e-4);
    });
}

#[test]
fn positions_that_do_not_fit_are_refused() {
    let model = build(&alibi(json!({ "alibi_given_pos": true })));
    let x = normal(&[2, 4, DIM], 1);
    for dims in [&[5][..], &[3, 4], &[2, 3, 4], &[1, 1, 2, 4]] {
        let pos = vec![1; dims.iter().product()];
        let message = at(&model, &x, &pos, dims).err().unwrap().to_string();
        assert!(message.contains("(2, 2, 4) with ALiBi"), "{message}");
    }
    let refused = |options: Json, part: &str| {
        let spec = layers("Decoder", options);
        let message = Model::from_spec(&spec, 1).err().unwrap().to_string();
        assert!(message.contains(part), "{message}");
    };
    refused(json!({ "alibi_given_pos": true }), "needs `alibi_pos_bias`");
    refused(json!({ "alibi_slopes": [0.5, 0.25] }), "needs `alibi_pos_bias`");
    refused(json!({ "alibi_pos_bias": true, "alibi_slopes": [0.5] }), "has 1 entries, but 2 heads");
    let learned = json!({ "alibi_pos_bias": true, "alibi_slopes": [0, 1], "alibi_learned": true });
    refused(learned, "must be positive");
}

#[test]
fn disable_abs_pos_emb_says_whether_a_wrapper_has_positions() {
    let has = |options: Json| {
        let model = build(&gpt(options, json!({})));
        model.entries().iter().any(|entry| entry.name.starts_with("pos_emb"))
    };
    let rotary = |disable: Json| {
        has(with(json!({ "rotary_pos_emb": true }), json!({ "disable_abs_pos_emb": disable })))
    };
    assert_eq!(
        [rotary(json!(null)), rotary(json!(true)), rotary(json!(false))],
        [false, false, true]
    );
    assert!(!has(json!({ "disable_abs_pos_emb": true })));
    assert!(has(json!({})));
}
