//! Invalid inputs are errors that name what is wrong, never a panic.

use crate::common::{
    autoregressive, build, call_numbered, forward_with, gpt, ids, layers, mask, normal, tokens,
};
use serde_json::{json, Value as Json};
use xt_core::{Model, Tensor};

/// The inputs of a call, and a part of the error message.
type InvalidCase = (Json, Vec<Tensor>, &'static str, &'static str);

fn assert_errors(model: &Model, cases: Vec<InvalidCase>) {
    for (named, inputs, code, words) in cases {
        let error = forward_with(model, &inputs, named)
            .err()
            .unwrap_or_else(|| panic!("`{words}` was taken"));
        assert!(error.to_string().contains(words), "`{words}` is not in: {error}");
        assert_eq!(error.code(), code, "{error}");
    }
}

fn bits(dims: &[usize]) -> Tensor {
    mask(&vec![1; dims.iter().product()], dims)
}

#[test]
fn inputs_of_a_transformer() {
    let model = build(&gpt(json!({}), json!({})));
    let x = || tokens(2, 8, 1);
    let one = |name: &str| json!({ name: { "$tensor": 1 } });
    let tensor = "invalid_tensor";
    assert_errors(
        &model,
        vec![
            (
                json!({}),
                vec![normal(&[2, 8], 1)],
                tensor,
                "token ids must be i64 of shape (batch, length), got f32",
            ),
            (json!({}), vec![ids(&[1, 2], &[2])], tensor, "got i64 of shape [2]"),
            (
                json!({}),
                vec![ids(&[17], &[1, 1])],
                tensor,
                "token id 17 at [0, 0] is not in the vocabulary: `num_tokens` is 17",
            ),
            (
                json!({}),
                vec![ids(&[-1], &[1, 1])],
                tensor,
                "token id -1 at [0, 0] is not in the vocabulary",
            ),
            (
                json!({}),
                vec![tokens(1, 13, 1)],
                tensor,
                "a sequence of 13 is longer than `max_seq_len` (12)",
            ),
            (one("mask"), vec![x(), bits(&[2, 7])], tensor, "mask has 7 columns, x has 8"),
            (
                one("mask"),
                vec![x(), bits(&[3, 8])],
                tensor,
                "mask must have shape [2, 8], got [3, 8]",
            ),
            (one("mask"), vec![x(), bits(&[8])], tensor, "mask must have shape [2, 8], got [8]"),
            (one("mask"), vec![x(), tokens(2, 8, 1)], tensor, "mask must be bool, got i64"),
            (one("self_attn_context_mask"), vec![x(), bits(&[2, 7])], tensor, "7 columns"),
            (
                one("attn_mask"),
                vec![x(), bits(&[7, 8])],
                tensor,
                "attn_mask must be bool of shape (8, 8)",
            ),
            (one("attn_mask"), vec![x(), bits(&[8])], tensor, "attn_mask must have 2, 3 or 4 axes"),
            (one("attn_mask"), vec![x(), normal(&[8, 8], 1)], tensor, "attn_mask must be bool"),
            (one("context"), vec![x(), normal(&[2, 3, 16], 1)], tensor, "set `cross_attend`"),
            (
                one("prepend_embeds"),
                vec![x(), normal(&[2, 3, 15], 1)],
                tensor,
                "prepend_embeds must have shape (2, count, 16)",
            ),
            (
                one("prepend_embeds"),
                vec![x(), normal(&[3, 16], 1)],
                tensor,
                "prepend_embeds must have shape",
            ),
            (one("sum_embeds"), vec![x(), normal(&[2, 8, 15], 1)], tensor, "do not broadcast"),
            (
                one("pos"),
                vec![x(), ids(&[12; 8], &[8])],
                tensor,
                "pos has 12: positions go from 0 to",
            ),
            (one("pos"), vec![x(), ids(&[1; 7], &[7])], tensor, "do not broadcast"),
            (one("masc"), vec![x(), bits(&[2, 8])], "invalid_options", "did you mean `mask`"),
            (json!({ "mask": true }), vec![x()], "invalid_options", "mask: got true"),
            (
                json!({ "return_mems": true }),
                vec![x()],
                tensor,
                "return_mems needs the option `max_mem_len`",
            ),
        ],
    );
}

#[test]
fn inputs_of_layers_with_and_without_a_context() {
    let x = || normal(&[2, 4, 16], 1);
    let context = json!({ "context": { "$tensor": 1 } });
    let masked = json!({ "context": { "$tensor": 1 }, "context_mask": { "$tensor": 2 } });
    let query_mask = json!({ "context": { "$tensor": 1 }, "mask": { "$tensor": 2 } });
    let (c, tensor) = (|| normal(&[2, 5, 16], 2), "invalid_tensor");
    assert_errors(
        &build(&layers("Decoder", json!({ "cross_attend": true }))),
        vec![
            (json!({}), vec![x()], tensor, "context is missing"),
            (
                context.clone(),
                vec![normal(&[2, 4, 15], 1), c()],
                tensor,
                "x must be floating-point of shape (batch, length, 16)",
            ),
            (context.clone(), vec![tokens(2, 4, 1), c()], tensor, "x must be floating-point"),
            (
                context.clone(),
                vec![x(), normal(&[2, 5, 15], 1)],
                tensor,
                "context must have shape (2, length, 16)",
            ),
            (
                context.clone(),
                vec![x(), normal(&[3, 5, 16], 1)],
                tensor,
                "context must have shape (2, length, 16)",
            ),
            (
                context.clone(),
                vec![x(), normal(&[5, 16], 1)],
                tensor,
                "context must have shape (2, length, 16)",
            ),
            (
                masked,
                vec![x(), c(), bits(&[2, 4])],
                tensor,
                "context_mask has 4 columns, the context has 5",
            ),
            (query_mask, vec![x(), c(), bits(&[2, 4])], tensor, "pass context_mask"),
        ],
    );
    assert_errors(
        &build(&layers("Decoder", json!({}))),
        vec![(context, vec![x(), c()], tensor, "have no cross attention")],
    );
}

#[test]
fn inputs_of_a_loss() {
    let model = build(&autoregressive(gpt(json!({}), json!({})), json!({})));
    let one = |name: &str| json!({ name: { "$tensor": 1 } });
    let tensor = "invalid_tensor";
    assert_errors(
        &model,
        vec![
            (json!({}), vec![tokens(2, 1, 1)], tensor, "length at least 2"),
            (json!({}), vec![ids(&[1, 2], &[2])], tensor, "length at least 2"),
            (json!({}), vec![normal(&[2, 4], 1)], tensor, "i64"),
            (
                json!({}),
                vec![ids(&[1, 17], &[1, 2])],
                tensor,
                "token id 17 at [0, 1] is not in the vocabulary",
            ),
            (
                one("mask"),
                vec![tokens(2, 8, 1), bits(&[2, 8])],
                tensor,
                "mask has 8 columns, and there are 7 inputs",
            ),
            (
                one("prepend_embeds"),
                vec![tokens(2, 8, 1), normal(&[2, 1, 5], 1)],
                tensor,
                "prepend_embeds must have shape",
            ),
        ],
    );
}

#[test]
fn calls_by_name() {
    let model = build(&gpt(json!({}), json!({})));
    let code = |method: &str, args: Json| {
        call_numbered(&model, method, args, &[], 1).err().unwrap().code()
    };
    assert_eq!(code("generate", json!([])), "not_available");
    assert_eq!(code("forward", json!([])), "invalid_options");
    assert_eq!(code("forward", json!([3])), "invalid_options");
    assert_eq!(code("forward", json!([{ "$tensor": 5 }])), "internal");
}

#[test]
fn empty_batches_and_single_tokens_are_accepted() {
    let model = build(&gpt(json!({}), json!({})));
    for dims in [[0, 4], [2, 1]] {
        let x = ids(&vec![1; dims[0] * dims[1]], &dims);
        assert_eq!(crate::common::forward(&model, &x).dims(), [dims[0], dims[1], 17]);
    }
}
