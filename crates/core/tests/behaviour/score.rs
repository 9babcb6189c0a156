//! The score of sequences: log-probabilities by token.

use crate::common::{
    autoregressive, build, call_numbered, close, forward, forward_with, gpt, ids, mask, normal,
    plain, spec, tensor, tokens, values, with,
};
use serde_json::{json, Value as Json};
use xt_core::{Model, Result, Tensor, Value};

fn score_of(model: &Model, tensors: &[Tensor], args: Json) -> Result<[Tensor; 2]> {
    let Value::Fields(fields) = call_numbered(model, "score", args, tensors, 1)? else {
        panic!("fields")
    };
    assert_eq!(
        fields.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        ["log_probs", "perplexity"]
    );
    let [log_probs, perplexity]: [Tensor; 2] = fields
        .into_iter()
        .map(|(_, value)| tensor(value))
        .collect::<Vec<_>>()
        .try_into()
        .ok()
        .unwrap();
    assert!(!log_probs.requires_grad() && !perplexity.requires_grad());
    Ok([log_probs, perplexity])
}

fn score(model: &Model, tensors: &[Tensor], named: Json) -> [Tensor; 2] {
    score_of(model, tensors, json!([{ "$tensor": 0 }, named])).unwrap()
}

#[test]
fn a_score_is_the_log_softmax_of_each_token_and_its_mean_is_the_loss() {
    let model = build(&plain());
    let net = build(&gpt(json!({}), json!({})));
    let state: Vec<_> = model
        .entries()
        .iter()
        .map(|e| (e.name.replacen("net.", "", 1), e.param.values().unwrap()))
        .collect();
    net.load_state(&state, true).unwrap();
    let x = tokens(3, 8, 4);
    let [log_probs, perplexity] = score(&model, std::slice::from_ref(&x), json!({}));
    assert_eq!((log_probs.dims(), perplexity.dims()), ([3, 7].as_slice(), [3].as_slice()));
    let (logits, x_values) = (values(&forward(&net, &x)), values(&x));
    let mut want = vec![];
    for row in 0..3 {
        for i in 1..8 {
            let logits = &logits[(row * 8 + i - 1) * 17..][..17];
            let sum: f64 = logits.iter().map(|x| x.exp()).sum();
            want.push(logits[x_values[row * 8 + i] as usize] - sum.ln());
        }
    }
    close(&values(&log_probs), &want, 1e-5);
    let means: Vec<f64> =
        want.chunks_exact(7).map(|row| (-row.iter().sum::<f64>() / 7.0).exp()).collect();
    close(&values(&perplexity), &means, 1e-5);
    let loss = values(&forward(&model, &x))[0];
    close(&[-want.iter().sum::<f64>() / 21.0], &[loss], 1e-5);
}

#[test]
fn tokens_without_a_batch_axis_give_a_score_without_one() {
    let model = build(&plain());
    let [log_probs, perplexity] = score(&model, &[ids(&[1, 2, 3, 4], &[4])], json!({}));
    assert_eq!((log_probs.dims(), perplexity.dims()), ([3].as_slice(), [].as_slice()));
    let [batch, ppl] = score(&model, &[ids(&[1, 2, 3, 4], &[1, 4])], json!({}));
    assert_eq!((values(&log_probs), values(&perplexity)), (values(&batch), values(&ppl)));
}

#[test]
fn padding_on_either_side_is_ignored_and_changes_nothing() {
    let kinds = [
        json!({}),
        json!({ "rotary_pos_emb": true, "shift_tokens": 1 }),
        json!({ "alibi_pos_bias": true }),
    ];
    for (own, more) in kinds.into_iter().map(|own| (own, json!({ "num_memory_tokens": 2 }))) {
        let model = build(&autoregressive(gpt(own, more), json!({})));
        let [want, ppl] = score(&model, &[ids(&[3, 1, 4, 1], &[1, 4])], json!({}));
        let both = ids(&[9, 9, 3, 1, 4, 1, 3, 1, 4, 1, 9, 9], &[2, 6]);
        let real = mask(&[0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0], &[2, 6]);
        let [got, both_ppl] = score(&model, &[both, real], json!({ "mask": { "$tensor": 1 } }));
        let want = values(&want);
        let zeros = [0.0; 2];
        close(&values(&got), &[&zeros, &want[..], &want[..], &zeros].concat(), 1e-5);
        close(&values(&both_ppl), &[values(&ppl), values(&ppl)].concat(), 1e-5);
    }
}

/// Checks that rows padded on either side have the score that each has alone.
#[track_caller]
fn assert_scored_as_alone(model: &Model, also: &[(&str, Tensor)]) {
    let rows: [&[i64]; 4] = [&[3, 1, 4, 8, 5], &[2, 7], &[1, 8, 2], &[6, 10, 3, 2, 9, 4]];
    for left in [true, false] {
        let (mut padded, mut real) = (vec![], vec![]);
        for row in rows {
            let (mut ids, mut bits) = ([0i64; 7], [0u8; 7]);
            let from = if left { 7 - row.len() } else { 0 };
            ids[from..][..row.len()].copy_from_slice(row);
            bits[from..][..row.len()].fill(1);
            padded.extend(ids);
            real.extend(bits);
        }
        let named = |first: usize| {
            let one = move |(i, (name, _)): (usize, &(&str, Tensor))| {
                (name.to_string(), json!({ "$tensor": first + i }))
            };
            also.iter().enumerate().map(one)
        };
        let all = |i: usize| {
            Json::Object(named(i).chain([("mask".into(), json!({ "$tensor": 1 }))]).collect())
        };
        let mut tensors = vec![ids(&padded, &[4, 7]), mask(&real, &[4, 7])];
        tensors.extend(also.iter().map(|(_, t)| t.clone()));
        let [together, perplexities] = score(model, &tensors, all(2));
        let (together, perplexities) = (values(&together), values(&perplexities));
        for (i, row) in rows.iter().enumerate() {
            let own = also.iter().map(|(_, t)| xt_autograd::ops::narrow(t, 0, i, 1).unwrap());
            let tensors: Vec<Tensor> = [ids(row, &[1, row.len()])].into_iter().chain(own).collect();
            let named = Json::Object(named(1).collect());
            let [alone, perplexity] = score(model, &tensors, named);
            let from = if left { 7 - row.len() } else { 0 };
            close(&together[6 * i + from..][..row.len() - 1], &values(&alone), 1e-5);
            close(&perplexities[i..=i], &values(&perplexity), 1e-5);
            let others = together[6 * i..][..6].iter().enumerate();
            assert!(others
                .filter(|(c, _)| *c < from || *c >= from + row.len() - 1)
                .all(|(_, x)| *x == 0.0));
        }
    }
}

#[test]
fn padded_rows_have_the_score_of_each_alone_with_every_kind_of_position() {
    let positions = [
        json!({}),
        json!({ "rotary_pos_emb": true }),
        json!({ "rotary_xpos": true, "rotary_xpos_scale_base": 8 }),
        json!({ "alibi_pos_bias": true, "alibi_learned": true }),
        json!({ "rel_pos_bias": true, "rel_pos_num_buckets": 8, "rel_pos_max_distance": 16 }),
        json!({ "dynamic_pos_bias": true }),
    ];
    let beside = [
        json!({}),
        json!({ "shift_tokens": 1 }),
        json!({ "attn_num_mem_kv": 2, "attn_max_attend_past": 2 }),
        json!({ "attn_sparse_topk": 2, "residual_attn": true }),
    ];
    let around = [
        json!({}),
        json!({ "num_memory_tokens": 2 }),
        json!({ "scaled_sinu_pos_emb": true, "post_emb_norm": true }),
        json!({ "use_abs_pos_emb": false, "l2norm_embed": true }),
    ];
    for own in &positions {
        for more in &beside {
            let [own, more] = [own, more].map(|options| options.as_object().unwrap());
            // memory keys have no distance: the options reject the two together
            if own.contains_key("dynamic_pos_bias") && more.contains_key("attn_num_mem_kv") {
                continue;
            }
            let both: serde_json::Map<String, Json> =
                own.iter().chain(more).map(|(name, value)| (name.clone(), value.clone())).collect();
            for around in &around {
                let model = gpt(Json::Object(both.clone()), around.clone());
                assert_scored_as_alone(&build(&autoregressive(model, json!({}))), &[]);
            }
        }
    }
}

#[test]
fn a_context_stays_with_its_padded_row() {
    for own in [json!({ "rotary_xpos": true }), json!({ "attn_max_attend_past": 3 }), json!({})] {
        let mut own = own.as_object().unwrap().clone();
        own.insert("cross_attend".into(), true.into());
        let model = build(&autoregressive(gpt(Json::Object(own.clone()), json!({})), json!({})));
        let dim = values_of_context_dim(&model);
        let context = normal(&[4, 5, dim], 7);
        for bits in [[1; 20], std::array::from_fn(|i| u8::from(i % 3 != 0))] {
            assert_scored_as_alone(
                &model,
                &[("context", context.clone()), ("context_mask", mask(&bits, &[4, 5]))],
            );
        }
    }
}

fn values_of_context_dim(model: &Model) -> usize {
    let table = model.entries().iter().find(|e| e.name.contains("token_emb")).unwrap();
    table.param.values().unwrap().dims()[1]
}

#[test]
fn tokens_equal_to_ignore_index_do_not_count() {
    let model = build(&autoregressive(gpt(json!({}), json!({})), json!({ "ignore_index": 5 })));
    let x = ids(&[1, 5, 2, 5, 5, 5], &[2, 3]);
    let [log_probs, perplexity] = score(&model, std::slice::from_ref(&x), json!({}));
    let got = values(&log_probs);
    assert_eq!([got[0], got[2], got[3]], [0.0; 3]);
    assert!(got[1] < 0.0);
    let perplexity = values(&perplexity);
    close(&perplexity[..1], &[(-got[1]).exp()], 1e-6);
    assert!(perplexity[1].is_nan(), "a row in which nothing counts");
    close(&[-got[1]], &[values(&forward(&model, &x))[0]], 1e-5);
}

#[test]
fn ignore_pad_excludes_the_tokens_after_an_end() {
    let model = build(&autoregressive(gpt(json!({}), json!({})), json!({ "pad_value": 0 })));
    let x = [ids(&[1, 7, 0, 0], &[1, 4])];
    let [all, _] = score(&model, &x, json!({}));
    let [some, perplexity] = score(&model, &x, json!({ "ignore_pad": true }));
    let (all, some) = (values(&all), values(&some));
    assert!(all.iter().all(|x| *x < 0.0));
    assert_eq!(some, [all[0], 0.0, 0.0]);
    close(&values(&perplexity), &[(-all[0]).exp()], 1e-6);
}

#[test]
fn dropout_and_the_forgetful_mask_are_off() {
    let dropping = json!({ "attn_dropout": 0.5, "ff_dropout": 0.5, "layer_dropout": 0.5 });
    let model = build(&autoregressive(
        gpt(dropping, json!({ "emb_dropout": 0.5 })),
        json!({ "mask_prob": 0.5 }),
    ));
    let x = [tokens(2, 6, 1)];
    model.train(true);
    let [training, _] = score(&model, &x, json!({}));
    model.train(false);
    let [evaluating, _] = score(&model, &x, json!({}));
    assert_eq!(values(&training), values(&evaluating));
}

#[test]
fn ignored_tokens_need_not_be_in_the_vocabulary() {
    for own in [json!({}), json!({ "rotary_pos_emb": true, "shift_tokens": 1 })] {
        let model = build(&autoregressive(gpt(own, json!({})), json!({})));
        let [want, ppl] = score(&model, &[ids(&[3, 4, 5], &[1, 3])], json!({}));
        let (want, ppl) = (values(&want), values(&ppl)[0]);
        let [got, same] = score(&model, &[ids(&[3, 4, 5, -100, -100], &[1, 5])], json!({}));
        close(&values(&got), &[&want[..], &[0.0; 2]].concat(), 1e-5);
        close(&values(&same), &[ppl], 1e-5);
        let tokens = ids(&[-1, -1, 3, 4, 5, 3, 4, 5, 17, 17], &[2, 5]);
        let real = mask(&[0, 0, 1, 1, 1, 1, 1, 1, 0, 0], &[2, 5]);
        let [got, same] = score(&model, &[tokens, real], json!({ "mask": { "$tensor": 1 } }));
        close(&values(&got), &[&[0.0; 2], &want[..], &want[..], &[0.0; 2]].concat(), 1e-5);
        close(&values(&same), &[ppl, ppl], 1e-5);
    }
    let message = |model: &Model, x: Tensor| {
        score_of(model, &[x], json!([{ "$tensor": 0 }])).err().unwrap().to_string()
    };
    // an ignored token that is input to later ones must be in the vocabulary
    assert!(message(&build(&plain()), ids(&[3, -100, 4], &[3])).contains("-100"));
    // an encoder sees the ignored tokens at the end
    let encoder =
        crate::common::transformer(crate::common::layers("Encoder", json!({})), json!({}));
    assert!(message(&build(&autoregressive(encoder, json!({}))), ids(&[3, 4, -100, -100], &[4]))
        .contains("-100"));
}

#[test]
fn tokens_without_a_batch_axis_take_masks_without_one() {
    let model = build(&plain());
    let x = ids(&[3, 1, 4, 9], &[4]);
    let named = || json!({ "mask": { "$tensor": 1 }, "self_attn_context_mask": { "$tensor": 1 } });
    let [got, ppl] = score(&model, &[x.clone(), mask(&[1, 1, 1, 0], &[4])], named());
    let [want, other] = score(&model, &[x, mask(&[1, 1, 1, 0], &[1, 4])], named());
    assert_eq!(
        (got.dims(), values(&got), values(&ppl)),
        ([3].as_slice(), values(&want), values(&other))
    );
}

fn encoder_decoder(more: Json) -> std::sync::Arc<Model> {
    let half = |name: &str| {
        json!({ format!("{name}_num_tokens"): 17, format!("{name}_max_seq_len"): 12, format!("{name}_depth"): 1,
                format!("{name}_heads"): 2, format!("{name}_attn_dim_head"): 8 })
    };
    build(&spec(
        "XTransformer",
        with(with(with(json!({ "dim": 16 }), half("enc")), half("dec")), more),
    ))
}

#[test]
fn an_encoder_with_decoder_scores_the_target_given_the_source() {
    let model = encoder_decoder(json!({ "ignore_index": 3 }));
    let inputs = [tokens(2, 5, 1), tokens(2, 6, 2), mask(&[1, 1, 1, 0, 0, 1, 1, 1, 1, 1], &[2, 5])];
    let args = || json!([{ "$tensor": 0 }, { "$tensor": 1 }, { "mask": { "$tensor": 2 } }]);
    let [log_probs, perplexity] = score_of(&model, &inputs, args()).unwrap();
    assert_eq!((log_probs.dims(), perplexity.dims()), ([2, 5].as_slice(), [2].as_slice()));
    let loss = values(&tensor(call_numbered(&model, "forward", args(), &inputs, 1).unwrap()))[0];
    let counted: Vec<f64> = values(&log_probs).into_iter().filter(|x| *x != 0.0).collect();
    close(&[-counted.iter().sum::<f64>() / counted.len() as f64], &[loss], 1e-5);
}

#[test]
fn inputs_that_cannot_be_scored_are_errors() {
    let model = build(&plain());
    let message = |tensors: &[Tensor], named: Json| {
        score_of(&model, tensors, json!([{ "$tensor": 0 }, named])).err().unwrap().to_string()
    };
    let x = tokens(2, 4, 1);
    let cases = [
        (message(&[ids(&[1], &[1])], json!({})), "length at least 2"),
        (message(&[ids(&[], &[0])], json!({})), "length at least 2"),
        (message(&[normal(&[2, 3], 1)], json!({})), "i64"),
        (message(&[ids(&[1, 17], &[2])], json!({})), "17"),
        (
            message(&[x.clone(), mask(&[1; 6], &[2, 3])], json!({ "mask": { "$tensor": 1 } })),
            "one for each token",
        ),
        (
            message(&[x, normal(&[2, 1, 5], 1)], json!({ "prepend_embeds": { "$tensor": 1 } })),
            "prepend_embeds must have shape",
        ),
    ];
    for (message, words) in cases {
        assert!(message.contains(words), "`{words}` is not in: {message}");
    }
    let net = build(&gpt(json!({}), json!({})));
    assert!(forward_with(&net, &[tokens(1, 2, 1)], json!({})).is_ok());
    assert!(
        score_of(&net, &[tokens(1, 2, 1)], json!([{ "$tensor": 0 }])).is_err(),
        "logits have no score"
    );
}
