//! Gradients of whole models against central differences, in f64. Dropout stays on; the number of
//! the call fixes what it drops.

use crate::common::{array_values, autoregressive, build, forward_numbered, gpt, tokens, values};
use crate::device::device;
use serde_json::{json, Value as Json};
use xt_core::{Array, DType, EntryKind, Leaf, Model};

fn loss(model: &Model, number: u64) -> f64 {
    xt_core::no_grad(|| values(&forward_numbered(model, &tokens(2, 7, 3), number))[0])
}

/// Adds `by` to entry `index` of a leaf.
fn nudge(leaf: &Leaf, index: usize, by: f64) {
    let mut moved = array_values(&leaf.values().unwrap());
    moved[index] += by;
    leaf.set(Array::from_vec(moved, leaf.shape(), &device()).unwrap()).unwrap();
}

fn check(name: &str, spec: &Json) {
    let model = build(spec);
    let parameters = || model.entries().iter().filter(|e| e.kind == EntryKind::Parameter);
    model.entries().iter().for_each(|e| e.param.leaf().move_to(&device(), DType::F64).unwrap());
    forward_numbered(&model, &tokens(2, 7, 3), 1).backward(false, &|| false).unwrap();
    let step = 1e-5;
    for entry in parameters() {
        let leaf = entry.param.leaf();
        let grad = array_values(
            &leaf
                .grad()
                .unwrap()
                .unwrap_or_else(|| panic!("{name}: {} has no gradient", entry.name)),
        );
        // the largest entry, and some others
        let largest =
            (0..grad.len()).fold(0, |m, i| if grad[i].abs() > grad[m].abs() { i } else { m });
        for index in [largest, 0, grad.len() / 2, grad.len() - 1] {
            nudge(leaf, index, step);
            let above = loss(&model, 1);
            nudge(leaf, index, -2.0 * step);
            let want = (above - loss(&model, 1)) / (2.0 * step);
            nudge(leaf, index, step);
            let got = grad[index];
            assert!(
                (got - want).abs() <= 1e-7 + 1e-5 * want.abs(),
                "{name}, {}[{index}]: {got}, not {want}",
                entry.name
            );
        }
    }
}

#[test]
fn every_parameter_of_every_kind_of_model() {
    let dropout = json!({ "attn_dropout": 0.2, "ff_dropout": 0.2 });
    let cases = [
        ("plain", json!({}), json!({})),
        ("rotary", json!({ "rotary_pos_emb": true, "attn_dim_head": 40 }), json!({})),
        ("post-norm", json!({ "pre_norm": false }), json!({})),
        ("without bias", json!({ "ff_no_bias": true, "ff_mult": 1.5 }), json!({})),
        ("order of layers", json!({ "custom_layers": ["a", "a", "f"] }), json!({})),
        ("embeddings", json!({}), json!({ "emb_dim": 10, "post_emb_norm": true })),
        ("more logits", json!({}), json!({ "logits_dim": 20 })),
        ("dropout", dropout, json!({ "emb_dropout": 0.1 })),
    ];
    for (name, layers, wrapper) in cases {
        check(name, &autoregressive(gpt(layers, wrapper), json!({})));
    }
    check(
        "forgetful mask",
        &autoregressive(gpt(json!({}), json!({})), json!({ "mask_prob": 0.4, "ignore_index": 3 })),
    );
}

#[test]
fn a_fraction_of_the_gradient_reaches_the_embeddings_and_nothing_else_changes() {
    let grads = |fraction: f64| {
        let net = gpt(json!({}), json!({ "emb_frac_gradient": fraction }));
        let model = build(&autoregressive(net, json!({})));
        forward_numbered(&model, &tokens(2, 7, 3), 1).backward(false, &|| false).unwrap();
        let of = |name: &str| {
            array_values(&model.entry(name).unwrap().param.leaf().grad().unwrap().unwrap())
        };
        [of("net.token_emb.emb.weight"), of("net.pos_emb.emb.weight"), of("net.to_logits.weight")]
    };
    let ([token, pos, head], [token4, pos4, head4]) = (grads(1.0), grads(0.25));
    let quarter = |xs: &[f64]| xs.iter().map(|x| x * 0.25).collect::<Vec<_>>();
    crate::common::close(&token4, &quarter(&token), 1e-5);
    crate::common::close(&pos4, &quarter(&pos), 1e-5);
    crate::common::close(&head4, &head, 1e-5);
}

#[test]
fn two_backwards_add_up_and_an_abort_adds_nothing() {
    let model = build(&crate::common::plain());
    let grads = |model: &Model| -> Vec<f64> {
        model
            .entries()
            .iter()
            .flat_map(|e| array_values(&e.param.leaf().grad().unwrap().unwrap()))
            .collect()
    };
    let run = || forward_numbered(&model, &tokens(2, 7, 3), 1);
    run().backward(false, &|| false).unwrap();
    let once = grads(&model);
    assert!(run().backward(false, &|| true).is_err());
    assert_eq!(grads(&model), once);
    run().backward(false, &|| false).unwrap();
    crate::common::close(&grads(&model), &once.iter().map(|g| g * 2.0).collect::<Vec<_>>(), 1e-5);
}
