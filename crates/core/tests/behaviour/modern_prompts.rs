//! Rows of different lengths by their lengths and starts, and losses behind prepended embeddings.

use crate::common::{
    autoregressive, build, call_numbered, close, forward, forward_with, gpt, ids, mask, normal,
    taken_gradients, tensor, tokens, values, with,
};
use serde_json::{json, Value as Json};
use std::sync::Arc;
use xt_autograd::ops::{self, CrossEntropy};
use xt_core::{Ctx, Error, Model, Result, Rng, Tensor, Value};

fn model(options: Json) -> Arc<Model> {
    build(&autoregressive(gpt(json!({}), json!({})), options))
}

fn generate(model: &Model, start: Json, tensors: &[Tensor], more: Json) -> Result<Value> {
    let args = json!([start, 5, with(json!({ "temperature": 0.0 }), more)]);
    call_numbered(model, "generate", args, tensors, 1)
}

fn generated(model: &Model, start: Json, tensors: &[Tensor], more: Json) -> Vec<f64> {
    values(&tensor(generate(model, start, tensors, more).unwrap()))
}

#[test]
fn prompt_lens_and_an_array_of_prompts_are_padded_prompts_with_a_mask() {
    let model = model(json!({}));
    let padded = ids(&[3, 1, 4, 9, 9, 2, 7, 1, 8, 2], &[2, 5]);
    let real = mask(&[1, 1, 1, 0, 0, 1, 1, 1, 1, 1], &[2, 5]);
    let own = [ids(&[3, 1, 4], &[3]), ids(&[2, 7, 1, 8, 2], &[5])];
    let one = json!({ "$tensor": 0 });
    let tensors = [padded, real, ids(&[3, 5], &[2]), own[0].clone(), own[1].clone()];
    let want = generated(&model, one.clone(), &tensors, json!({ "mask": { "$tensor": 1 } }));
    let by_lens = json!({ "prompt_lens": { "$tensor": 2 } });
    assert_eq!(generated(&model, one.clone(), &tensors, by_lens.clone()), want);
    let list = json!([{ "$tensor": 3 }, { "$tensor": 4 }]);
    assert_eq!(generated(&model, list.clone(), &tensors, json!({})), want);
    // each row is that of its prompt alone
    for (row, prompt) in own.iter().enumerate() {
        let alone = generated(&model, one.clone(), std::slice::from_ref(prompt), json!({}));
        assert_eq!(want[row * 5..][..5], alone);
    }
    let message = |start: &Json, more: Json| {
        generate(&model, start.clone(), &tensors, more).err().unwrap().to_string()
    };
    let both = with(by_lens.clone(), json!({ "mask": { "$tensor": 1 } }));
    assert!(message(&one, both).contains("prompt_lens"));
    assert!(message(&list, by_lens).contains("array of prompts"));
    assert!(message(&list, json!({ "mask": { "$tensor": 1 } })).contains("array of prompts"));
    let too_long = [tensors[0].clone(), ids(&[3, 6], &[2])];
    let lens = json!({ "prompt_lens": { "$tensor": 1 } });
    let error = generate(&model, one, &too_long, lens).err().unwrap().to_string();
    assert!(error.contains("from 1 to 5"), "{error}");
    let square = json!([{ "$tensor": 0 }, { "$tensor": 3 }]);
    assert!(message(&square, json!({})).contains("start_tokens[0]"));
    assert!(message(&json!([]), json!({})).contains("one prompt at least"));
}

#[test]
fn a_stream_takes_an_array_of_prompts_too() {
    let model = model(json!({}));
    let tensors = [ids(&[3, 1, 4], &[3]), ids(&[2, 7, 1, 8, 2], &[5])];
    let list = json!([{ "$tensor": 0 }, { "$tensor": 1 }]);
    let want = generated(&model, list.clone(), &tensors, json!({}));
    let args = json!([list, 5, { "temperature": 0.0 }]);
    let args = xt_core::Args::new("AutoregressiveWrapper", args, &tensors).unwrap();
    let mut generation = model.generation("stream", &args).unwrap();
    let rng = Rng::new(3, 1);
    while !generation.done() {
        let logits = generation.logits(&Ctx::new(&rng, &|| false)).unwrap();
        generation.accept(&logits, false, &rng).unwrap();
    }
    assert_eq!(values(&generation.tokens().unwrap()), want);
}

/// A prompt of one length with embeddings in front, as in images before a text.
#[test]
fn prompt_lens_go_with_prepend_embeds() {
    let model = model(json!({}));
    let padded = ids(&[3, 1, 4, 9, 2, 7, 1, 8], &[2, 4]);
    let bits = [1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1];
    let tensors = [padded, normal(&[2, 2, 16], 3), ids(&[3, 4], &[2]), mask(&bits, &[2, 6])];
    let embeds = json!({ "prepend_embeds": { "$tensor": 1 } });
    let one = json!({ "$tensor": 0 });
    let by = |more: Json| generated(&model, one.clone(), &tensors, with(embeds.clone(), more));
    let want = by(json!({ "mask": { "$tensor": 3 } }));
    assert_eq!(by(json!({ "prompt_lens": { "$tensor": 2 } })), want);
}

#[test]
fn seq_start_pos_hides_what_is_before_and_counts_from_there() {
    let relative = json!({ "rotary_pos_emb": true, "rotary_values": false });
    for layers in [json!({}), relative, json!({ "alibi_pos_bias": true })] {
        // both would count padding between the embeddings in front and the tokens
        let distances = layers != json!({});
        let net = build(&gpt(layers, json!({})));
        let x = tokens(2, 7, 1);
        let with_front = [x.clone(), ids(&[0, 3], &[2]), normal(&[2, 2, 16], 3)];
        for front in [json!({}), json!({ "prepend_embeds": { "$tensor": 2 } })] {
            let count = if front == json!({}) { 0 } else { 2 };
            if distances && count > 0 {
                continue;
            }
            let named = with(json!({ "seq_start_pos": { "$tensor": 1 } }), front);
            let got = tensor(forward_with(&net, &with_front, named).unwrap());
            let pos = ids(&[0, 1, 2, 3, 4, 5, 6, 0, 0, 0, 0, 1, 2, 3], &[2, 7]);
            let bits = [vec![1; 7], vec![0, 0, 0, 1, 1, 1, 1]];
            let bits: Vec<u8> =
                bits.iter().flat_map(|row| [&vec![1; count][..], row].concat()).collect();
            let explicit = [x.clone(), pos, mask(&bits, &[2, count + 7]), with_front[2].clone()];
            let mut named = json!({ "pos": { "$tensor": 1 }, "mask": { "$tensor": 2 } });
            if count > 0 {
                named["prepend_embeds"] = json!({ "$tensor": 3 });
            }
            let want = tensor(forward_with(&net, &explicit, named).unwrap());
            assert_eq!(values(&got), values(&want));
        }
    }
}

#[test]
fn seq_start_pos_gives_a_row_what_it_has_without_padding() {
    let net = build(&gpt(json!({}), json!({})));
    let x = tokens(1, 7, 1);
    let tensors = [x.clone(), ids(&[3], &[1]), mask(&[1, 1, 1, 1, 1, 1, 0], &[1, 7])];
    let starts = json!({ "seq_start_pos": { "$tensor": 1 } });
    let padded = tensor(forward_with(&net, &tensors, starts.clone()).unwrap());
    let alone = [ops::narrow(&x, 1, 3, 4).unwrap()];
    let alone = tensor(forward_with(&net, &alone, json!({})).unwrap());
    close(&values(&ops::narrow(&padded, 1, 3, 4).unwrap()), &values(&alone), 1e-5);
    // a mask hides more
    let masked = with(starts.clone(), json!({ "mask": { "$tensor": 2 } }));
    let masked = tensor(forward_with(&net, &tensors, masked).unwrap());
    let [a, b] = [&padded, &masked].map(|y| values(&ops::narrow(y, 1, 3, 3).unwrap()));
    close(&a, &b, 1e-5);
    let error = |named: Json, tensors: &[Tensor]| {
        forward_with(&net, tensors, named).err().unwrap().to_string()
    };
    let pos = with(starts.clone(), json!({ "pos": { "$tensor": 0 } }));
    assert!(error(pos, &tensors).contains("seq_start_pos"));
    assert!(error(starts.clone(), &[x.clone(), ids(&[7], &[1])]).contains("from 0 to 6"));
    assert!(error(starts, &[x, ids(&[1, 1], &[2])]).contains("shape (1)"));
}

/// The loss of tokens behind embeddings is that of the logits of the net without those in front.
#[test]
fn prepend_embeds_and_prepend_mask_go_with_losses_and_scores() {
    let model = model(json!({}));
    let net = model.child("net").unwrap();
    let x = tokens(2, 6, 1);
    let tensors = [x.clone(), normal(&[2, 2, 16], 3), mask(&[1, 0, 1, 1], &[2, 2])];
    let named = json!({ "prepend_embeds": { "$tensor": 1 }, "prepend_mask": { "$tensor": 2 } });
    let args = json!([{ "$tensor": 0 }, named]);
    let loss = tensor(call_numbered(&model, "forward", args.clone(), &tensors, 1).unwrap());
    let inputs = [ops::narrow(&x, 1, 0, 5).unwrap(), tensors[1].clone(), tensors[2].clone()];
    let cut = with(named, json!({ "excise_prepend_embeds": true }));
    let logits = tensor(forward_with(&net, &inputs, cut).unwrap());
    let targets = ops::narrow(&x, 1, 1, 5).unwrap();
    let want = ops::cross_entropy(&logits, &targets, CrossEntropy::ignoring(-100)).unwrap();
    close(&values(&loss), &values(&want), 1e-5);
    loss.backward(false, &|| false).unwrap();
    let got = taken_gradients(&model);
    want.backward(false, &|| false).unwrap();
    for ((name, got), (_, want)) in got.iter().zip(&taken_gradients(&model)) {
        assert!(want.iter().any(|g| *g != 0.0), "{name}");
        close(got, want, 1e-5);
    }
    let Value::Fields(fields) = call_numbered(&model, "score", args, &tensors, 1).unwrap() else {
        panic!("fields")
    };
    let log_probs = values(&tensor(fields.into_iter().next().unwrap().1));
    close(&[-log_probs.iter().sum::<f64>() / 10.0], &values(&loss), 1e-5);
}

/// The forgetful mask hides tokens alone: with all of them hidden but the embeddings, the first
/// token still follows the embeddings.
#[test]
fn prepend_embeds_stay_visible_to_a_forgetful_model() {
    let model = model(json!({ "mask_prob": 0.5 }));
    let x = tokens(2, 6, 1);
    let loss = |front: f64| {
        let front = ops::affine(&normal(&[2, 2, 16], 3), front, 0.0).unwrap();
        let args = json!([{ "$tensor": 0 }, { "prepend_embeds": { "$tensor": 1 } }]);
        values(&tensor(call_numbered(&model, "forward", args, &[x.clone(), front], 1).unwrap()))
    };
    assert!(loss(1.0)[0].is_finite() && loss(1.0) != loss(2.0));
    assert_eq!(loss(1.0), loss(1.0));
    let wrong = [x, normal(&[2, 2, 5], 3)];
    let args = json!([{ "$tensor": 0 }, { "prepend_embeds": { "$tensor": 1 } }]);
    let error = call_numbered(&model, "forward", args, &wrong, 1).err().unwrap();
    assert!(matches!(error, Error::Shape(text) if text.contains("prepend_embeds")));
}

#[test]
fn lens_leave_the_rest_of_a_row_out_of_the_loss() {
    let model = build(&autoregressive(gpt(json!({ "shift_tokens": 1 }), json!({})), json!({})));
    let x = tokens(3, 7, 1);
    let loss = |x: &Tensor, lens: &[i64]| {
        let named = json!({ "lens": { "$tensor": 1 } });
        forward_with(&model, &[x.clone(), ids(lens, &[lens.len()])], named).map(tensor)
    };
    let lens = [7, 3, 1];
    let row = |index: usize| ops::narrow(&x, 0, index, 1).unwrap();
    // the third row has no targets
    let alone = |index: usize| {
        let part = ops::narrow(&row(index), 1, 0, lens[index] as usize).unwrap();
        values(&forward(&model, &part))[0] * (lens[index] - 1) as f64
    };
    let want = (alone(0) + alone(1)) / 8.0;
    close(&values(&loss(&x, &lens).unwrap()), &[want], 1e-6);
    close(&values(&loss(&x, &[7; 3]).unwrap()), &values(&forward(&model, &x)), 1e-6);
    for wrong in [&[7, 3, 0][..], &[7, 3, 8], &[7, 3]] {
        let message = loss(&x, wrong).err().unwrap().to_string();
        assert!(message.contains("lens "), "{message}");
    }
}

/// A mask of the sequence that the package makes itself does not stand for a context of its length.
#[test]
fn starts_and_lengths_hide_nothing_of_a_context() {
    let layers = json!({ "cross_attend": true });
    let model = build(&autoregressive(gpt(layers, json!({})), json!({})));
    let net = model.child("net").unwrap();
    let (row, context) = (ids(&[3, 4, 5, 6], &[1, 4]), normal(&[1, 6, 16], 2));
    let call = |tensors: &[Tensor], named: Json| {
        values(&tensor(forward_with(&net, tensors, named).unwrap()))
    };
    let alone = call(&[row.clone(), context.clone()], json!({ "context": { "$tensor": 1 } }));
    let padded = ids(&[0, 0, 3, 4, 5, 6], &[1, 6]);
    let named = json!({ "context": { "$tensor": 1 }, "seq_start_pos": { "$tensor": 2 } });
    let got = call(&[padded, context.clone(), ids(&[2], &[1])], named);
    close(&got[2 * 17..], &alone, 2e-5);
    // a prompt that is padded on the right, and one alone
    let named = json!({ "context": { "$tensor": 1 }, "prompt_lens": { "$tensor": 2 } });
    let right = ids(&[3, 4, 5, 6, 0, 0], &[1, 6]);
    let prompt = json!({ "$tensor": 0 });
    let got = generate(&model, prompt.clone(), &[right, context.clone(), ids(&[4], &[1])], named);
    let named = json!({ "context": { "$tensor": 1 } });
    let want = generate(&model, prompt, &[row, context], named);
    assert_eq!(values(&tensor(got.unwrap())), values(&tensor(want.unwrap())));
}

#[test]
fn seq_start_pos_is_refused_where_padding_counts() {
    let x = ids(&[0, 0, 3, 4], &[1, 4]);
    let started = |layers: Json| {
        let model = build(&gpt(layers, json!({})));
        let named = json!({ "seq_start_pos": { "$tensor": 1 } });
        let got = forward_with(&model, &[x.clone(), ids(&[2], &[1])], named).map(tensor);
        let alone = forward(&model, &ids(&[3, 4], &[1, 2]));
        got.map(|got| close(&values(&got)[2 * 17..], &values(&alone), 2e-5))
    };
    started(json!({ "rotary_pos_emb": true, "rotary_values": false })).unwrap();
    started(json!({ "rotary_pos_emb": true, "rotary_given_pos": true })).unwrap();
    started(json!({ "alibi_pos_bias": true })).unwrap();
    for layers in [
        json!({ "rotary_pos_emb": true }),
        json!({ "shift_tokens": 1 }),
        json!({ "rotary_xpos": true }),
        json!({ "alibi_pos_bias": true, "attn_num_mem_kv": 1 }),
    ] {
        let message = started(layers).err().unwrap().to_string();
        assert!(message.contains("padding changes what is behind it"), "{message}");
    }
}
