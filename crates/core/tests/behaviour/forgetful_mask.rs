//! `mask_prob`: how many positions a loss masks, and which.
//!
//! Only the last target counts here, and there is one attention: any other position matters only as
//! a key, and has a gradient exactly where it is not masked.

use crate::common::{
    array_values, autoregressive, build, call_numbered, float, gpt, ids, share_is, tensor,
};
use serde_json::json;
use std::sync::Arc;
use xt_core::{Leaf, Model, Tensor};

const BATCH: usize = 64;
const N: usize = 12;

fn model(mask_prob: f64) -> Arc<Model> {
    let net = gpt(json!({ "custom_layers": ["a"] }), json!({}));
    build(&autoregressive(net, json!({ "mask_prob": mask_prob, "ignore_index": 0 })))
}

/// For each row: which of the input positions before the last are masked.
fn masked_positions(model: &Model, number: u64) -> Vec<Vec<bool>> {
    let row = [vec![0; N - 1], vec![1]].concat();
    let embeds = Arc::new(Leaf::new(float(&vec![0.0; BATCH * (N - 1) * 16], &[BATCH, N - 1, 16])));
    let inputs = [ids(&row.repeat(BATCH), &[BATCH, N]), Tensor::leaf(embeds.clone())];
    let args = json!([{ "$tensor": 0 }, { "sum_embeds": { "$tensor": 1 } }]);
    let loss = tensor(call_numbered(model, "forward", args, &inputs, number).unwrap());
    loss.backward(false, &|| false).unwrap();
    let grads = array_values(&embeds.grad().unwrap().unwrap());
    let rows = grads.chunks_exact((N - 1) * 16);
    rows.map(|row| row.chunks_exact(16).take(N - 2).map(|g| g.iter().all(|v| *v == 0.0)).collect())
        .collect()
}

#[test]
fn each_row_masks_its_share_of_positions_and_never_the_first() {
    // Python counts the target too: int(12 · mask_prob), at most 10 here, so that the first is left
    for (mask_prob, count) in [(0.05, 0), (0.15, 1), (0.5, 6), (0.84, 10)] {
        let rows = masked_positions(&model(mask_prob), 1);
        assert!(rows.iter().all(|row| !row[0]), "{mask_prob}: the first position is hidden");
        // whether the last is masked follows from the count of the others
        let counts: Vec<usize> =
            rows.iter().map(|row| row.iter().filter(|h| **h).count()).collect();
        assert!(counts.iter().all(|c| *c == count || *c + 1 == count), "{mask_prob}: {counts:?}");
        if count > 0 {
            let last = counts.iter().filter(|c| **c < count).count() as f64 / BATCH as f64;
            share_is(last, count as f64 / (N - 2) as f64, BATCH);
        }
    }
}

#[test]
fn all_positions_but_the_first_are_masked_equally_often() {
    let model = model(0.5);
    let rows: Vec<Vec<bool>> =
        (0..10).flat_map(|number| masked_positions(&model, number)).collect();
    for position in 1..N - 2 {
        let share = rows.iter().filter(|row| row[position]).count() as f64 / rows.len() as f64;
        share_is(share, 0.6, rows.len()); // 6 of the 10 positions after the first
    }
}

#[test]
fn masks_differ_between_rows_and_calls_and_repeat_with_the_call_number() {
    let model = model(0.5);
    let rows = masked_positions(&model, 1);
    assert!(rows.iter().any(|row| *row != rows[0]));
    assert_eq!(rows, masked_positions(&model, 1));
    assert_ne!(rows, masked_positions(&model, 2));
    model.train(false);
    assert_eq!(rows, masked_positions(&model, 1), "the mask stays on in eval");
}
