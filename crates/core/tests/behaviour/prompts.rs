//! Prompts of different lengths in one batch.

use crate::common::{
    autoregressive, build, call_numbered, gpt, ids, layers, mask, plain, tensor, values, with,
};
use serde_json::{json, Value as Json};
use xt_core::{Args, Model, Result, Tensor};

const PROMPTS: [&[i64]; 4] = [&[3, 1, 4, 1, 5], &[9, 2], &[6], &[5, 3, 5]];

#[derive(Clone, Copy, Debug)]
enum Side {
    Left,
    Right,
    /// Padding on both sides.
    Both,
}

/// The prompts in rows of 6, padded with token 16, and their mask.
fn padded(prompts: &[&[i64]], side: Side) -> [Tensor; 2] {
    let (mut tokens, mut real) = (vec![], vec![]);
    for prompt in prompts {
        let left = match side {
            Side::Left => 6 - prompt.len(),
            Side::Right => 0,
            Side::Both => (6 - prompt.len()) / 2,
        };
        let mut row = [16; 6];
        row[left..left + prompt.len()].copy_from_slice(prompt);
        tokens.extend(row);
        real.extend((0..6).map(|i| u8::from((left..left + prompt.len()).contains(&i))));
    }
    [ids(&tokens, &[prompts.len(), 6]), mask(&real, &[prompts.len(), 6])]
}

fn generate(model: &Model, tensors: &[Tensor], count: usize, named: Json) -> Result<Tensor> {
    call_numbered(model, "generate", json!([{ "$tensor": 0 }, count, named]), tensors, 1)
        .map(tensor)
}

fn alone(model: &Model, prompt: &[i64], count: usize, named: &Json) -> Vec<f64> {
    values(&generate(model, &[ids(prompt, &[1, prompt.len()])], count, named.clone()).unwrap())
}

/// Checks that a batch of all prompts generates what each prompt generates alone.
#[track_caller]
fn same_as_alone(model: &Model, count: usize, named: Json) {
    let want: Vec<f64> =
        PROMPTS.iter().flat_map(|prompt| alone(model, prompt, count, &named)).collect();
    for side in [Side::Left, Side::Right, Side::Both] {
        let named = with(named.clone(), json!({ "mask": { "$tensor": 1 } }));
        let got = generate(model, &padded(&PROMPTS, side), count, named).unwrap();
        assert_eq!(values(&got), want, "{side:?}");
    }
}

/// Rotary positions of queries and keys alone.
fn rotary() -> Json {
    json!({ "rotary_pos_emb": true, "rotary_values": false })
}

#[test]
fn padded_prompts_generate_as_each_alone_with_every_kind_of_position() {
    let kinds = [
        (json!({}), json!({})),
        (json!({}), json!({ "scaled_sinu_pos_emb": true })),
        (json!({}), json!({ "l2norm_embed": true })),
        (json!({}), json!({ "use_abs_pos_emb": false })),
        (json!({ "rotary_pos_emb": true }), json!({})),
        (json!({ "rotary_xpos": true }), json!({ "use_abs_pos_emb": false })),
        (json!({ "alibi_pos_bias": true }), json!({})),
        (json!({ "rel_pos_bias": true }), json!({ "use_abs_pos_emb": false })),
        (json!({ "dynamic_pos_bias": true }), json!({})),
        (json!({ "shift_tokens": 1 }), json!({})),
        (json!({ "attn_num_mem_kv": 2 }), json!({ "num_memory_tokens": 2 })),
        (json!({ "rel_pos_bias": true }), json!({ "num_memory_tokens": 2 })),
        (json!({ "alibi_pos_bias": true, "attn_num_mem_kv": 2 }), json!({})),
        (json!({ "attn_max_attend_past": 2, "attn_num_mem_kv": 2 }), json!({})),
        (json!({ "attn_max_attend_past": 4 }), json!({ "num_memory_tokens": 2 })),
        (json!({ "rotary_pos_emb": true, "shift_tokens": 1 }), json!({ "num_memory_tokens": 1 })),
        (rotary(), json!({})),
        (rotary(), json!({ "num_memory_tokens": 2 })),
        (with(rotary(), json!({ "attn_num_mem_kv": 2 })), json!({})),
    ];
    for (own, more) in kinds {
        let model = build(&autoregressive(gpt(own.clone(), more.clone()), json!({})));
        // the window holds 12 tokens: rows reach its end one after the other
        same_as_alone(&model, 14, json!({ "temperature": 0 }));
    }
}

#[test]
fn padded_prompts_generate_as_each_alone_with_beams_and_a_penalty() {
    let model = build(&plain());
    same_as_alone(&model, 5, json!({ "num_beams": 3, "repetition_penalty": 1.5 }));
    same_as_alone(&model, 9, json!({ "temperature": 0, "repetition_penalty": 4 }));
}

#[test]
fn padding_equal_to_the_end_token_does_not_end_a_row() {
    let model = build(&plain());
    let [tokens, real] = padded(&PROMPTS, Side::Left);
    let named = json!({ "temperature": 0, "eos_token": 16, "mask": { "$tensor": 1 } });
    let got = generate(&model, &[tokens, real], 4, named).unwrap();
    let rows = values(&got);
    let width = rows.len() / 4;
    for (row, prompt) in rows.chunks_exact(width).zip(PROMPTS) {
        let mut want = alone(&model, prompt, width, &json!({ "temperature": 0 }));
        if let Some(end) = want.iter().position(|token| *token == 16.0) {
            want[end + 1..].fill(0.0);
        }
        assert_eq!(row, want);
    }
}

#[test]
fn a_context_stays_with_its_prompt_for_several_sequences_too() {
    let own = json!({ "cross_attend": true });
    let model = build(&autoregressive(gpt(own, json!({})), json!({})));
    let context = crate::common::normal(&[2, 3, 16], 5);
    let [tokens, real] = padded(&PROMPTS[..2], Side::Right);
    let named = json!({ "num_beams": 2, "num_return_sequences": 2, "mask": { "$tensor": 1 }, "context": { "$tensor": 2 },
                        "context_mask": { "$tensor": 3 } });
    let all = mask(&[1; 6], &[2, 3]);
    let got = generate(&model, &[tokens, real, context.clone(), all], 5, named).unwrap();
    assert_eq!(got.dims(), [4, 5]);
    let mut want = vec![];
    for (i, prompt) in PROMPTS[..2].iter().enumerate() {
        let own = xt_autograd::ops::narrow(&context, 0, i, 1).unwrap();
        let named =
            json!({ "num_beams": 2, "num_return_sequences": 2, "context": { "$tensor": 1 } });
        want.extend(values(
            &generate(&model, &[ids(prompt, &[1, prompt.len()]), own], 5, named).unwrap(),
        ));
    }
    assert_eq!(values(&got), want);
}

#[test]
fn fully_masked_rows_and_inputs_per_column_with_right_padding_are_errors() {
    let model = build(&plain());
    let tokens = ids(&[1, 2, 3, 4], &[2, 2]);
    let named = || json!({ "temperature": 0, "mask": { "$tensor": 1 } });
    let message =
        |tensors: &[Tensor], named| generate(&model, tensors, 2, named).err().unwrap().to_string();
    let error = message(&[tokens.clone(), mask(&[1, 1, 0, 0], &[2, 2])], named());
    assert!(error.contains("row 1 of mask is false everywhere"), "{error}");
    let error = message(&[tokens.clone(), ids(&[1, 1, 1, 1], &[2, 2])], named());
    assert!(error.contains("mask must be bool"), "{error}");
    let right = mask(&[1, 1, 1, 0], &[2, 2]);
    let more = crate::common::normal(&[2, 2, 16], 1);
    let sums = with(named(), json!({ "sum_embeds": { "$tensor": 2 } }));
    let error = message(&[tokens, right, more], sums);
    assert!(
        error.contains("sum_embeds does not go with prompts that are padded on the right"),
        "{error}"
    );
}

#[test]
fn self_attn_context_mask_is_aligned_with_padded_rows() {
    let model = build(&plain());
    let start = |row: &[i64]| ids(row, &[1, 4]);
    let named = json!({ "temperature": 0, "mask": { "$tensor": 1 }, "self_attn_context_mask": { "$tensor": 2 } });
    // token 7 is masked for all positions; the padding is on the right
    let right = [start(&[7, 2, 3, 16]), mask(&[1, 1, 1, 0], &[1, 4]), mask(&[0, 1, 1, 1], &[1, 4])];
    let left = [start(&[16, 7, 2, 3]), mask(&[0, 1, 1, 1], &[1, 4]), mask(&[0, 0, 1, 1], &[1, 4])];
    let other = [start(&[8, 2, 3, 16]), right[1].clone(), right[2].clone()];
    let want = values(&generate(&model, &left, 6, named.clone()).unwrap());
    assert_eq!(values(&generate(&model, &right, 6, named.clone()).unwrap()), want);
    assert_eq!(values(&generate(&model, &other, 6, named).unwrap()), want);
}

#[test]
fn stepwise_generation_gives_padding_for_rows_that_have_ended() {
    let model = build(&autoregressive(
        crate::common::transformer(layers("Decoder", json!({})), json!({})),
        json!({ "pad_value": 99 }),
    ));
    let start = [ids(&[1, 2], &[2, 1])];
    let first = values(&generate(&model, &start, 1, json!({ "temperature": 0 })).unwrap());
    assert_ne!(first[0], first[1], "the rows must differ for this test");
    // the first row ends with its first token
    let args = json!([{ "$tensor": 0 }, 6, { "temperature": 0, "eos_token": first[0] }]);
    let args = Args::new("stream", args, &start).unwrap();
    let mut generation = model.generation("stream", &args).unwrap();
    let rng = xt_core::Rng::new(1, 1);
    let mut rows = vec![];
    while !generation.done() {
        let logits = generation.logits(&xt_core::Ctx::new(&rng, &|| false)).unwrap();
        rows.push(generation.accept(&logits, false, &rng).unwrap().unwrap());
    }
    assert_eq!(rows[0][0] as f64, first[0]);
    // a padding token outside of the vocabulary never reaches the model
    assert!(rows.len() > 1 && rows[1..].iter().all(|row| row[0] == 99), "{rows:?}");
}

#[test]
fn padding_need_not_be_in_the_vocabulary() {
    for own in [json!({}), json!({ "rotary_pos_emb": true })] {
        let model = build(&autoregressive(gpt(own, json!({})), json!({})));
        for named in
            [json!({ "temperature": 0, "repetition_penalty": 2 }), json!({ "num_beams": 2 })]
        {
            let want =
                values(&generate(&model, &[ids(&[3, 1, 4], &[1, 3])], 14, named.clone()).unwrap());
            let named = with(named, json!({ "mask": { "$tensor": 1 } }));
            for padding in [-1, -100, 17, i64::MAX] {
                let tokens = ids(&[padding, padding, 3, 1, 4, 3, 1, 4, padding, padding], &[2, 5]);
                let real = mask(&[0, 0, 1, 1, 1, 1, 1, 1, 0, 0], &[2, 5]);
                let got = values(&generate(&model, &[tokens, real], 14, named.clone()).unwrap());
                assert_eq!(got, [want.clone(), want.clone()].concat(), "{padding}");
            }
        }
    }
    let model = build(&plain());
    let hole = |id: i64, more: Json| {
        let tensors = [ids(&[3, id, 4], &[1, 3]), mask(&[1, 0, 1], &[1, 3])];
        generate(&model, &tensors, 5, with(json!({ "mask": { "$tensor": 1 } }), more))
    };
    let named = || json!({ "temperature": 0, "repetition_penalty": 3 });
    let (got, want) = (hole(-1, named()).unwrap(), hole(3, named()).unwrap());
    assert_eq!(values(&got), values(&want), "a token that is not real is none to penalise");
    let error =
        generate(&model, &[ids(&[3, -1], &[1, 2])], 2, json!({})).err().unwrap().to_string();
    assert!(error.contains("-1"), "{error}");
}

#[test]
fn a_prompt_without_a_batch_axis_takes_masks_without_one() {
    let model = build(&plain());
    let named = json!({ "temperature": 0 });
    let want = generate(&model, &[ids(&[1, 2], &[2])], 4, named.clone()).unwrap();
    let masked = with(
        named,
        json!({ "mask": { "$tensor": 1 }, "self_attn_context_mask": { "$tensor": 1 } }),
    );
    let got = generate(&model, &[ids(&[1, 2, 9], &[3]), mask(&[1, 1, 0], &[3])], 4, masked.clone())
        .unwrap();
    assert_eq!((got.dims(), values(&got)), (want.dims(), values(&want)));
    let error = |tokens: Tensor| {
        generate(&model, &[tokens, mask(&[1, 1], &[2])], 4, masked.clone()).err().unwrap()
    };
    assert!(error(ids(&[1, 2, 9], &[3])).to_string().contains("mask must be bool of shape [1, 3]"));
    assert!(error(ids(&[1, 2], &[1, 2])).to_string().contains("mask must be bool of shape [1, 2]"));
}
