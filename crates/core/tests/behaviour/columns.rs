//! Positions and kinds of tokens, and positions of a context, in losses, scores and generation.

use crate::common::{
    autoregressive, build, call_numbered, close, forward_with, gpt, ids, mask, normal, tensor,
    values, with,
};
use serde_json::{json, Value as Json};
use std::sync::Arc;
use xt_autograd::ops;
use xt_core::{Model, Result, Tensor, Value};

const NEW: usize = 5;

/// Models that read positions and kinds in different ways.
fn models() -> Vec<Arc<Model>> {
    let kinds = json!({ "embed_num_tokens": { "kind": 3 }, "max_seq_len": 24 });
    [
        (json!({}), json!({})),
        (json!({ "rotary_pos_emb": true, "rotary_given_pos": true }), json!({})),
        (json!({ "alibi_pos_bias": true, "alibi_given_pos": true }), json!({})),
        (json!({ "shift_tokens": 1 }), json!({ "num_memory_tokens": 2 })),
    ]
    .into_iter()
    .map(|(layers, more)| build(&autoregressive(gpt(layers, with(kinds.clone(), more)), json!({}))))
    .collect()
}

fn generate(model: &Model, tensors: &[Tensor], named: Json) -> Result<Tensor> {
    let named = with(json!({ "temperature": 0 }), named);
    let args = json!([{ "$tensor": 0 }, NEW, named]);
    call_numbered(model, "generate", args, tensors, 1).map(tensor)
}

/// The names of the tensors that follow the tokens: positions and kinds.
fn both() -> Json {
    json!({ "pos": { "$tensor": 1 }, "embed_ids": { "kind": { "$tensor": 2 } } })
}

/// The tokens that a row of tokens gets one by one, each from a call with all columns. Positions go
/// on by 1, kinds stay.
fn one_by_one(model: &Model, row: &[i64], pos: &[i64], kinds: &[i64]) -> Vec<f64> {
    let net = model.child("net").unwrap();
    let (mut row, mut pos, mut kinds) = (row.to_vec(), pos.to_vec(), kinds.to_vec());
    let mut found = vec![];
    for _ in 0..NEW {
        let all = [&row, &pos, &kinds].map(|numbers| ids(numbers, &[1, numbers.len()]));
        let logits = values(&tensor(forward_with(&net, &all, both()).unwrap()));
        let last = &logits[logits.len() - 17..];
        let best = (0..17).max_by(|a, b| last[*a].total_cmp(&last[*b])).unwrap();
        found.push(best as f64);
        row.push(best as i64);
        pos.push(pos[pos.len() - 1] + 1);
        kinds.push(kinds[kinds.len() - 1]);
    }
    found
}

const ROWS: [[&[i64]; 3]; 2] =
    [[&[3, 1, 4, 1], &[2, 3, 5, 6], &[0, 2, 1, 1]], [&[9, 2], &[7, 8], &[1, 2]]];

#[test]
fn generated_tokens_follow_the_given_positions_and_have_the_last_kind() {
    for model in models() {
        model.train(false);
        let want: Vec<Vec<f64>> =
            ROWS.iter().map(|[row, pos, kinds]| one_by_one(&model, row, pos, kinds)).collect();
        for cache_kv in [true, false] {
            for ([row, pos, kinds], want) in ROWS.iter().zip(&want) {
                let all = [row, pos, kinds].map(|numbers| ids(numbers, &[numbers.len()]));
                let named = with(both(), json!({ "cache_kv": cache_kv }));
                assert_eq!(&values(&generate(&model, &all, named).unwrap()), want);
            }
            // together, padded on the left and on the right
            for left in [2, 0] {
                let padded = |index: usize, fill: i64| {
                    let mut second = [fill; 4];
                    second[left..left + 2].copy_from_slice(ROWS[1][index]);
                    ids(&[ROWS[0][index], &second].concat(), &[2, 4])
                };
                let mut real = [1, 1, 1, 1, 0, 0, 0, 0];
                real[4 + left..6 + left].fill(1);
                let all = [padded(0, 16), padded(1, 0), padded(2, 0), mask(&real, &[2, 4])];
                let named = json!({ "cache_kv": cache_kv, "mask": { "$tensor": 3 } });
                let got = generate(&model, &all, with(both(), named)).unwrap();
                assert_eq!(values(&got), want.concat());
            }
        }
    }
}

#[test]
fn several_sequences_and_beams_keep_the_positions_and_kinds_of_their_prompt() {
    for model in models() {
        model.train(false);
        let row = [3, 1, 4, 1, 3, 1, 4, 1];
        let all = |pos: &[i64], kinds: &[i64]| {
            [ids(&row, &[2, 4]), ids(pos, &[2, 4]), ids(kinds, &[2, 4])]
        };
        let alone = |from: usize, pos: &[i64], kinds: &[i64], named: Json| {
            let own = all(pos, kinds).map(|all| ops::narrow(&all, 0, from, 1).unwrap());
            values(&generate(&model, &own, with(both(), named)).unwrap())
        };
        let (pos, kinds) = ([2, 3, 5, 6, 0, 1, 2, 3], [0, 2, 1, 1, 2, 2, 2, 2]);
        let named = json!({ "num_beams": 3, "num_return_sequences": 2 });
        let got =
            values(&generate(&model, &all(&pos, &kinds), with(both(), named.clone())).unwrap());
        let want = [0, 1].map(|row| alone(row, &pos, &kinds, named.clone())).concat();
        assert_eq!(got, want);
    }
}

/// Past the window, positions that count from 0 are those that rows have without any.
#[test]
fn learned_positions_move_down_with_the_window() {
    let net = gpt(json!({}), json!({ "max_seq_len": 4 }));
    let model = build(&autoregressive(net, json!({})));
    let x = ids(&[3, 1, 4], &[1, 3]);
    let want = values(&generate(&model, std::slice::from_ref(&x), json!({})).unwrap());
    let pos = ids(&[0, 1, 2], &[3]);
    let got = generate(&model, &[x.clone(), pos], json!({ "pos": { "$tensor": 1 } })).unwrap();
    assert_eq!(values(&got), want);
    // those that begin later move as soon as the table ends
    let far = ids(&[1, 2, 3], &[3]);
    let later = generate(&model, &[x.clone(), far], json!({ "pos": { "$tensor": 1 } })).unwrap();
    let net = model.child("net").unwrap();
    let mut row = vec![3, 1, 4];
    for (step, token) in values(&later).into_iter().enumerate() {
        let seen = ids(&row[row.len().saturating_sub(4)..], &[1, row.len().min(4)]);
        let first = i64::from(step == 0);
        let pos = (0..seen.dim(1) as i64).map(|place| first + place).collect::<Vec<_>>();
        let all = [seen, ids(&pos, &[pos.len()])];
        let named = json!({ "pos": { "$tensor": 1 } });
        let logits = values(&tensor(forward_with(&net, &all, named).unwrap()));
        let last = &logits[logits.len() - 17..];
        assert!(last.iter().all(|logit| *logit <= last[token as usize]), "{step}");
        row.push(token as i64);
    }
    let low = ids(&[-3, 1, i64::MIN], &[3]);
    let message = generate(&model, &[x.clone(), low], json!({ "pos": { "$tensor": 1 } }));
    assert!(message.err().unwrap().to_string().contains("positions go from 0 to 3"));
    let far = [x, ids(&[2, 3, 4], &[3])];
    let message = generate(&model, &far, json!({ "pos": { "$tensor": 1 } })).err().unwrap();
    assert!(message.to_string().contains("positions go from 0 to 3"), "{message}");
}

/// Positions for each head, which ALiBi takes, go on too.
#[test]
fn positions_by_head_go_on() {
    let layers = json!({ "alibi_pos_bias": true, "alibi_given_pos": true, "alibi_num_heads": 2 });
    let net = gpt(layers, json!({ "use_abs_pos_emb": false }));
    let model = build(&autoregressive(net, json!({})));
    let x = ids(&[3, 1, 4], &[1, 3]);
    let pos = ids(&[0, 1, 2, 0, 4, 9], &[1, 2, 3]);
    let named = json!({ "pos": { "$tensor": 1 } });
    let got = values(&generate(&model, &[x.clone(), pos], named.clone()).unwrap());
    let (mut row, mut near, mut far) = (vec![3, 1, 4], vec![0, 1, 2], vec![0, 4, 9]);
    for token in &got {
        let all =
            [ids(&row, &[1, row.len()]), ids(&[&near[..], &far].concat(), &[1, 2, row.len()])];
        let token_alone = call_numbered(
            &model,
            "generate",
            json!([{ "$tensor": 0 }, 1, with(named.clone(), json!({ "temperature": 0 }))]),
            &all,
            1,
        );
        assert_eq!(values(&tensor(token_alone.unwrap())), [*token]);
        row.push(*token as i64);
        near.push(near[near.len() - 1] + 1);
        far.push(far[far.len() - 1] + 1);
    }
    let several = json!({ "num_return_sequences": 2, "num_beams": 2, "pos": { "$tensor": 1 } });
    let pos = ids(&[0, 1, 2, 0, 4, 9], &[1, 2, 3]);
    assert_eq!(generate(&model, &[x, pos], several).unwrap().dims(), [2, NEW]);
}

/// The log-probabilities of a score.
fn scored(model: &Model, tensors: &[Tensor], named: Json) -> Vec<f64> {
    let args = json!([{ "$tensor": 0 }, named]);
    match call_numbered(model, "score", args, tensors, 1).unwrap() {
        Value::Fields(fields) => values(&tensor(fields.into_iter().next().unwrap().1)),
        _ => panic!("fields"),
    }
}

#[test]
fn losses_and_scores_take_positions_and_kinds_of_all_tokens_or_of_the_inputs() {
    for model in models() {
        let row = ids(&[3, 1, 4, 1, 5], &[1, 5]);
        let (pos, kinds) = ([2, 3, 5, 6, 7], [0, 2, 1, 1, 0]);
        let all = |n: usize| [row.clone(), ids(&pos[..n], &[n]), ids(&kinds[..n], &[1, n])];
        let loss = |n: usize| values(&tensor(forward_with(&model, &all(n), both()).unwrap()))[0];
        let score = |n: usize| scored(&model, &all(n), both());
        assert_eq!(loss(5), loss(4));
        assert_eq!(score(5), score(4));
        close(&[-score(5).iter().sum::<f64>() / 4.0], &[loss(5)], 1e-5);
        let message = forward_with(&model, &all(3), both()).err().unwrap().to_string();
        assert!(message.contains("embed_ids.kind must be i64 of shape (5)"), "{message}");
        // a row with padding on either side is scored as alone
        for (at, rest) in [(0, 4..6), (2, 0..2)] {
            let mut real = [1u8; 7];
            let padded = |numbers: &[i64]| {
                let mut row = [0i64; 7];
                row[at..at + 5].copy_from_slice(numbers);
                ids(&row, &[1, 7])
            };
            real[..at].fill(0);
            real[at + 5..].fill(0);
            let all =
                [padded(&[3, 1, 4, 1, 5]), padded(&pos), padded(&kinds), mask(&real, &[1, 7])];
            let got = scored(&model, &all, with(both(), json!({ "mask": { "$tensor": 3 } })));
            close(&got[at..at + 4], &score(5), 1e-5);
            assert!(got[rest].iter().all(|p| *p == 0.0));
        }
    }
}

/// What is given for padding does not matter: neither in the table of positions, nor where the
/// window moves.
#[test]
fn positions_and_kinds_of_padding_may_be_anything() {
    let kinds = json!({ "embed_num_tokens": { "kind": 3 }, "max_seq_len": 6 });
    let model = build(&autoregressive(gpt(json!({}), kinds), json!({})));
    let row = [ids(&[3, 1], &[1, 2]), ids(&[0, 1], &[1, 2]), ids(&[1, 2], &[1, 2])];
    let alone = values(&generate(&model, &row, both()).unwrap());
    let last = i64::MAX;
    for (left, pos) in [(2, [-1, last, 0, 1]), (0, [0, 1, 2, 3]), (0, [0, 1, 99, -7])] {
        let (mut tokens, mut given, mut real) = ([16; 4], [-1; 4], [0; 4]);
        tokens[left..left + 2].copy_from_slice(&[3, 1]);
        given[left..left + 2].copy_from_slice(&[1, 2]);
        real[left..left + 2].fill(1);
        let all =
            [ids(&tokens, &[1, 4]), ids(&pos, &[4]), ids(&given, &[1, 4]), mask(&real, &[1, 4])];
        let named = with(both(), json!({ "mask": { "$tensor": 3 } }));
        assert_eq!(values(&generate(&model, &all, named.clone()).unwrap()), alone, "{pos:?}");
        let score = scored(&model, &all, named);
        close(&score[left..=left], &scored(&model, &row, both()), 1e-6);
    }
}

/// Between real tokens they stay as they are: token shift moves what a mask hides too.
#[test]
fn kinds_between_real_tokens_count() {
    let kinds = json!({ "embed_num_tokens": { "kind": 3 } });
    let model = build(&autoregressive(gpt(json!({ "shift_tokens": 1 }), kinds), json!({})));
    model.train(false);
    let net = model.child("net").unwrap();
    let named = json!({ "embed_ids": { "kind": { "$tensor": 1 } }, "mask": { "$tensor": 2 } });
    let mut differ = 0;
    for (a, b) in (0..17).flat_map(|a| [(a, 1), (a, 2)]) {
        let all = [ids(&[3, a, 5], &[1, 3]), ids(&[0, b, 1], &[1, 3]), mask(&[1, 0, 1], &[1, 3])];
        let logits = values(&tensor(forward_with(&net, &all, named.clone()).unwrap()));
        let token = values(&generate(&model, &all, named.clone()).unwrap())[0];
        assert!(logits[34..].iter().all(|logit| *logit <= logits[34 + token as usize]));
        let plain = [all[0].clone(), ids(&[0, 0, 1], &[1, 3]), all[2].clone()];
        let other = values(&tensor(forward_with(&net, &plain, named.clone()).unwrap()));
        differ += usize::from(other[34..] != logits[34..]);
    }
    assert_eq!(differ, 34);
}

/// Tensors with a column for each token are cut where rows of a length go alone.
#[test]
fn embeddings_and_masks_of_pairs_are_cut_with_the_padding() {
    let layers = json!({ "rotary_pos_emb": true });
    let net = gpt(layers, json!({ "num_memory_tokens": 2, "max_seq_len": 24 }));
    let model = build(&autoregressive(net, json!({})));
    model.train(false);
    let pairs = |n: usize| -> Vec<u8> {
        (0..n * n).map(|at| u8::from(at % n == at / n || (at % n + at / n) % 3 != 1)).collect()
    };
    let one = |x: Tensor, sums: Tensor, bits: Tensor, real: Option<Tensor>| {
        let mut named = json!({
            "temperature": 0, "sum_embeds": { "$tensor": 1 }, "attn_mask": { "$tensor": 2 },
        });
        let mut all = vec![x, sums, bits];
        if let Some(real) = real {
            named["mask"] = json!({ "$tensor": 3 });
            all.push(real);
        }
        let args = json!([{ "$tensor": 0 }, 1, named]);
        values(&tensor(call_numbered(&model, "generate", args, &all, 1).unwrap()))
    };
    for seed in 0..12 {
        let (x, sums) = (crate::common::tokens(1, 5, seed), normal(&[1, 5, 16], seed));
        let all = pairs(5);
        let real = mask(&[0, 0, 1, 1, 1], &[1, 5]);
        let got = one(x.clone(), sums.clone(), mask(&all, &[5, 5]), Some(real));
        let own: Vec<u8> = (0..9).map(|at| all[(at / 3 + 2) * 5 + at % 3 + 2]).collect();
        let (x, sums) = (ops::narrow(&x, 1, 2, 3).unwrap(), ops::narrow(&sums, 1, 2, 3).unwrap());
        assert_eq!(got, one(x, sums, mask(&own, &[3, 3]), None), "{seed}");
    }
}

#[test]
fn positions_and_kinds_that_do_not_fit_are_refused() {
    let model = &models()[1];
    let refused = |pos: &[i64], kinds: &[i64], part: &str| {
        let all = [ids(&[3, 1, 4], &[1, 3]), ids(pos, &[pos.len()]), ids(kinds, &[kinds.len()])];
        let message = generate(model, &all, both()).err().unwrap().to_string();
        assert!(message.contains(part), "{message}");
    };
    refused(&[0, 1], &[0, 0, 0], "pos must be i64 of shape (3)");
    refused(&[0, 1, 2], &[0, 0, 0, 0], "embed_ids.kind must be i64 of shape (3)");
    refused(&[0, 1, i64::MAX], &[0, 0, 0], "too far");
    refused(&[0, 1, 2], &[0, 0, 3], "embed_ids.kind");
}

/// A context with positions of its own: rotary positions are those of cross attention too.
#[test]
fn context_pos_of_a_wrapper_is_that_of_its_net() {
    for rotary_values in [true, false] {
        let layers = json!({
            "rotary_pos_emb": true, "cross_attend": true, "rotary_values": rotary_values,
        });
        assert_context_pos(&build(&autoregressive(gpt(layers, json!({})), json!({}))));
    }
}

fn assert_context_pos(model: &Model) {
    model.train(false);
    let net = model.child("net").unwrap();
    let x = ids(&[3, 1, 4, 1, 5, 9, 2, 6], &[2, 4]);
    let context = normal(&[2, 3, 16], 2);
    let places = ids(&[4, 0, 7, 1, 2, 3], &[2, 3]);
    let named = json!({ "context": { "$tensor": 1 }, "context_pos": { "$tensor": 2 } });
    let tensors = [x.clone(), context, places];
    let row_of = |t: &Tensor, row: usize| ops::narrow(t, 0, row, 1).unwrap();
    for cache_kv in [true, false] {
        let mut row = tensors.clone().map(|t| row_of(&t, 1));
        let named_too = with(named.clone(), json!({ "cache_kv": cache_kv }));
        let got = values(&generate(model, &tensors, named_too).unwrap());
        for token in &got[NEW..] {
            let logits = values(&tensor(forward_with(&net, &row, named.clone()).unwrap()));
            let last = &logits[logits.len() - 17..];
            assert!(last.iter().all(|logit| *logit <= last[*token as usize]));
            row[0] = ops::cat(&[&row[0], &ids(&[*token as i64], &[1, 1])], 1).unwrap();
        }
    }
    let loss = values(&tensor(forward_with(model, &tensors, named.clone()).unwrap()))[0];
    let score = scored(model, &tensors, named.clone());
    close(&[-score.iter().sum::<f64>() / 6.0], &[loss], 1e-5);
    let moved = [x, tensors[1].clone(), ids(&[4, 0, 7, 1, 2, 4], &[2, 3])];
    assert!(scored(model, &moved, named.clone()) != score);
    // rows of different lengths, each with its context
    let right = mask(&[1, 1, 1, 1, 1, 1, 0, 0], &[2, 4]);
    let masks = json!({ "mask": { "$tensor": 3 }, "context_mask": { "$tensor": 4 } });
    let masked = with(with(named.clone(), masks), json!({ "num_beams": 2 }));
    let all = [&tensors[..], &[right, mask(&[1; 6], &[2, 3])]].concat();
    let got = values(&generate(model, &all, masked).unwrap());
    let mut second = tensors.clone().map(|t| row_of(&t, 1));
    second[0] = ops::narrow(&second[0], 1, 0, 2).unwrap();
    let beams = with(named, json!({ "num_beams": 2 }));
    assert_eq!(got[NEW..], values(&generate(model, &second, beams).unwrap())[..]);
}
