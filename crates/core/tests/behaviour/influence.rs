//! What affects what: causal models do not see the future, masked keys have no effect.

use crate::common::{
    build, close, forward, forward_with, gpt, ids, layers, mask, normal, tensor, transformer,
    values,
};
use serde_json::{json, Value as Json};
use xt_core::{Model, Tensor};

fn variants() -> [Json; 5] {
    [
        json!({}),
        json!({ "rotary_pos_emb": true, "attn_dim_head": 40 }),
        json!({ "pre_norm": false }),
        json!({ "custom_layers": ["a", "a", "f", "a"] }),
        json!({ "ff_no_bias": true, "heads": 4, "attn_dim_head": 4 }),
    ]
}

const N: usize = 8;

fn row(changed: &[usize]) -> Vec<i64> {
    (0..N).map(|i| if changed.contains(&i) { 16 } else { i as i64 }).collect()
}

/// The outputs by position.
fn positions(y: &Tensor) -> Vec<Vec<f64>> {
    values(y).chunks_exact(y.dim(y.rank() - 1)).map(<[f64]>::to_vec).collect()
}

fn differs(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).any(|(a, b)| (a - b).abs() > 1e-4)
}

#[test]
fn a_decoder_sees_all_of_the_past_and_nothing_of_the_future() {
    for variant in variants() {
        let model = build(&gpt(variant.clone(), json!({})));
        let before = positions(&forward(&model, &ids(&row(&[]), &[1, N])));
        for changed in 0..N {
            let after = positions(&forward(&model, &ids(&row(&[changed]), &[1, N])));
            for i in 0..changed {
                close(&after[i], &before[i], 1e-6);
            }
            for i in changed..N {
                assert!(differs(&after[i], &before[i]), "{variant}: {i} does not see {changed}");
            }
        }
    }
}

#[test]
fn a_shorter_prefix_gives_the_same_outputs() {
    for variant in variants() {
        let model = build(&gpt(variant, json!({})));
        let whole = positions(&forward(&model, &ids(&row(&[]), &[1, N])));
        let part = positions(&forward(&model, &ids(&row(&[])[..5], &[1, 5])));
        (0..5).for_each(|i| close(&part[i], &whole[i], 1e-5));
    }
}

#[test]
fn an_encoder_sees_both_directions() {
    for variant in variants() {
        let model = build(&transformer(layers("Encoder", variant), json!({})));
        let before = positions(&forward(&model, &ids(&row(&[]), &[1, N])));
        let after = positions(&forward(&model, &ids(&row(&[4]), &[1, N])));
        assert!((0..N).all(|i| differs(&after[i], &before[i])));
    }
}

fn masked(model: &Model, x: &[i64], more: &[Tensor], named: Json) -> Vec<Vec<f64>> {
    let inputs = [&[ids(x, &[1, N])], more].concat();
    positions(&tensor(forward_with(model, &inputs, named).unwrap()))
}

#[test]
fn masked_positions_change_no_other_position() {
    let hidden = [2, 5];
    let bits: Vec<u8> = (0..N).map(|i| u8::from(!hidden.contains(&i))).collect();
    for class in ["Encoder", "Decoder"] {
        for variant in variants() {
            let model = build(&transformer(layers(class, variant), json!({})));
            for name in ["mask", "self_attn_context_mask"] {
                let run = |x: &[i64]| {
                    masked(&model, x, &[mask(&bits, &[1, N])], json!({ name: { "$tensor": 1 } }))
                };
                let (before, after) = (run(&row(&[])), run(&row(&hidden)));
                for i in (0..N).filter(|i| !hidden.contains(i)) {
                    close(&after[i], &before[i], 1e-6);
                }
                let unmasked = positions(&forward(&model, &ids(&row(&[]), &[1, N])));
                assert!(differs(&unmasked[7], &before[7]), "{class}: `{name}` has no effect");
            }
        }
    }
}

#[test]
fn an_attention_mask_with_2_3_or_4_axes_limits_pairs() {
    let model = build(&transformer(layers("Encoder", json!({ "depth": 1 })), json!({})));
    // every position sees all others, but position 3 sees only itself
    let bits: Vec<u8> =
        (0..N * N).map(|k| u8::from(k / N == k % N || (k / N != 3 && k % N != 3))).collect();
    let plain = positions(&forward(&model, &ids(&row(&[]), &[1, N])));
    for (count, dims) in
        [(1, vec![N, N]), (2, vec![2, N, N]), (2, vec![1, 2, N, N]), (1, vec![1, 1, N, N])]
    {
        let pairs = mask(&bits.repeat(count), &dims);
        let run = |x: &[i64]| {
            masked(
                &model,
                x,
                std::slice::from_ref(&pairs),
                json!({ "attn_mask": { "$tensor": 1 } }),
            )
        };
        let (before, changed, others) =
            (run(&row(&[])), run(&row(&[3])), run(&row(&[0, 1, 2, 4, 5, 6, 7])));
        assert!(differs(&before[3], &plain[3]));
        (0..N).filter(|i| *i != 3).for_each(|i| close(&changed[i], &before[i], 1e-6));
        close(&others[3], &before[3], 1e-6);
    }
}

#[test]
fn masked_positions_of_the_context_have_no_effect() {
    let model = build(&layers("Decoder", json!({ "cross_attend": true })));
    let x = normal(&[1, 3, 16], 1);
    let context = values(&normal(&[1, 4, 16], 2));
    let run = |context: &[f64], bits: &[u8]| {
        let context = Tensor::constant(crate::common::float(context, &[1, 4, 16]));
        let named = json!({ "context": { "$tensor": 1 }, "context_mask": { "$tensor": 2 } });
        values(&tensor(
            forward_with(&model, &[x.clone(), context, mask(bits, &[1, 4])], named).unwrap(),
        ))
    };
    let mut other = context.clone();
    other[16..32].fill(7.0); // position 1
    close(&run(&other, &[1, 0, 1, 1]), &run(&context, &[1, 0, 1, 1]), 1e-6);
    assert!(differs(&run(&other, &[1, 1, 1, 1]), &run(&context, &[1, 1, 1, 1])));
}

#[test]
fn rows_of_a_batch_do_not_mix() {
    let model = build(&gpt(json!({}), json!({})));
    let both = positions(&forward(&model, &ids(&[row(&[]), row(&[0, 4])].concat(), &[2, N])));
    let alone = positions(&forward(&model, &ids(&row(&[]), &[1, N])));
    (0..N).for_each(|i| close(&both[i], &alone[i], 1e-5));
}
