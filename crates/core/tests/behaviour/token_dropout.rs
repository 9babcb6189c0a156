//! Dropout of context tokens and of whole layers: how much, which, and when.

use crate::common::{
    array_values, build, call_numbered, fill, float, forward_numbered, layers, mask, normal,
    share_is, spec, tensor, tokens, values, with,
};
use serde_json::{json, Value as Json};
use std::sync::Arc;
use xt_autograd::ops;
use xt_core::{Leaf, Model, Tensor};

const CONTEXT: usize = 16;
const BATCH: usize = 32;

fn cross(more: Json) -> Arc<Model> {
    build(&layers("CrossAttender", with(json!({ "cross_attn_tokens_dropout": 0.25 }), more)))
}

/// For each row: which positions of the context the output depends on.
fn seen(model: &Model, real: Option<&Tensor>, number: u64) -> Vec<Vec<bool>> {
    let context = Arc::new(Leaf::new(normal(&[BATCH, CONTEXT, 16], 2).array().unwrap()));
    let mut inputs = vec![normal(&[BATCH, 3, 16], 1), Tensor::leaf(context.clone())];
    let mut named = json!({ "context": { "$tensor": 1 } });
    if let Some(real) = real {
        inputs.push(real.clone());
        named["context_mask"] = json!({ "$tensor": 2 });
    }
    let y = tensor(
        call_numbered(model, "forward", json!([{ "$tensor": 0 }, named]), &inputs, number).unwrap(),
    );
    ops::sum(&ops::mul(&y, &y).unwrap(), None, false).unwrap().backward(false, &|| false).unwrap();
    let grad = array_values(&context.grad().unwrap().unwrap());
    grad.chunks_exact(CONTEXT * 16)
        .map(|row| row.chunks_exact(16).map(|g| g.iter().any(|v| *v != 0.0)).collect())
        .collect()
}

fn count(row: &[bool]) -> usize {
    row.iter().filter(|kept| **kept).count()
}

#[test]
fn cross_attn_tokens_dropout_keeps_its_share_of_every_context() {
    let model = cross(json!({ "custom_layers": ["c"] }));
    let calls: Vec<Vec<bool>> = (0..10).flat_map(|number| seen(&model, None, number)).collect();
    assert!(calls.iter().all(|row| count(row) == 12));
    for position in 0..CONTEXT {
        let kept = calls.iter().filter(|row| row[position]).count();
        share_is(kept as f64 / calls.len() as f64, 0.75, calls.len());
    }
    assert!(calls[1..].iter().any(|row| *row != calls[0]));
    assert_eq!(seen(&model, None, 3), seen(&model, None, 3));
    model.train(false);
    assert!(seen(&model, None, 3).iter().all(|row| count(row) == CONTEXT));
}

#[test]
fn cross_attn_tokens_dropout_drops_more_with_every_layer() {
    // the first layer sees 12 tokens, the second 9 of them; what the second drops still counts by
    // way of the first
    // count
    let model = cross(json!({ "custom_layers": ["c", "c"], "zero_init_branch_output": false }));
    assert!(seen(&model, None, 1).iter().all(|row| count(row) == 12));
    fill(&model, "layers.0.1.to_out.weight", 0.0);
    assert!(seen(&model, None, 1).iter().all(|row| count(row) == 9));
}

#[test]
fn cross_attn_tokens_dropout_counts_real_tokens_where_there_is_a_context_mask() {
    let model = cross(json!({ "custom_layers": ["c"] }));
    let bits: Vec<u8> = (0..BATCH * CONTEXT).map(|k| u8::from(k % CONTEXT < 8)).collect();
    for row in seen(&model, Some(&mask(&bits, &[BATCH, CONTEXT])), 1) {
        assert!(count(&row) == 6 && count(&row[8..]) == 0, "{row:?}");
    }
}

#[test]
fn cross_attn_tokens_dropout_of_an_x_transformer_acts_in_training_only() {
    let half = |name: &str| json!({ format!("{name}_num_tokens"): 17, format!("{name}_max_seq_len"): 12, format!("{name}_depth"): 1 });
    let options = with(
        with(json!({ "dim": 16, "cross_attn_tokens_dropout": 0.5 }), half("enc")),
        half("dec"),
    );
    let model = build(&spec("XTransformer", options));
    let loss = |number| {
        let inputs = [tokens(2, 12, 1), tokens(2, 5, 2)];
        let args = json!([{ "$tensor": 0 }, { "$tensor": 1 }]);
        values(&tensor(call_numbered(&model, "forward", args, &inputs, number).unwrap()))
    };
    assert_ne!(loss(1), loss(2));
    assert_eq!(loss(1), loss(1));
    model.train(false);
    assert_eq!(loss(1), loss(2));
}

#[test]
fn layer_dropout_of_an_array_drops_each_layer_at_its_own_rate() {
    let rates = [0.1, 0.5, 0.8];
    let options = json!({ "custom_layers": ["f", "f", "f"], "ff_mult": 1, "layer_dropout": rates });
    let model = build(&layers("Encoder", options));
    // layer i adds 10^i
    for i in 0..3 {
        fill(&model, &format!("layers.{i}.1.ff.3.weight"), 0.0);
        fill(&model, &format!("layers.{i}.1.ff.3.bias"), 10f64.powi(i));
    }
    let calls = 400;
    let zero = Tensor::constant(float(&[0.0; 16], &[1, 1, 16]));
    let sums: Vec<i64> = (0..calls)
        .map(|number| values(&forward_numbered(&model, &zero, number))[0] as i64)
        .collect();
    for (i, rate) in rates.into_iter().enumerate() {
        let left_out = sums.iter().filter(|sum| **sum / 10i64.pow(i as u32) % 10 == 0).count();
        share_is(left_out as f64 / calls as f64, rate, calls as usize);
    }
    model.train(false);
    assert_eq!(values(&forward_numbered(&model, &zero, 1))[0], 111.0);
}
