//! Properties of options that no recorded case covers.

use crate::common::{
    build, call_numbered, close, float, forward, forward_numbered, forward_with, gpt, ids, layers,
    normal, plain, spec, tensor, tokens, values, with,
};
use serde_json::{json, Value as Json};
use std::sync::Arc;
use xt_autograd::ops;
use xt_core::training::{Optimizer, OptimizerKind};
use xt_core::{Args, Leaf, Model, Rng, Tensor, Value};

fn first(value: Value) -> Tensor {
    match value {
        Value::List(list) => first(list.into_iter().next().unwrap()),
        other => tensor(other),
    }
}

/// Training varies between calls and repeats with the call number; evaluation does not vary.
fn varies_in_training_only(spec: &Json, x: &Tensor) {
    let model = build(spec);
    let run = |number| {
        values(&first(
            call_numbered(
                &model,
                "forward",
                json!([{ "$tensor": 0 }]),
                std::slice::from_ref(x),
                number,
            )
            .unwrap(),
        ))
    };
    assert_ne!(run(1), run(2), "{spec}");
    assert_eq!(run(1), run(1), "{spec}");
    model.train(false);
    assert_eq!(run(1), run(2), "{spec}");
}

#[test]
fn attn_dropout_and_ff_dropout_and_emb_dropout_vary_in_training_only() {
    let of = |name: &str| json!({ name: 0.3 });
    varies_in_training_only(&layers("Encoder", of("attn_dropout")), &normal(&[2, 5, 16], 1));
    varies_in_training_only(&layers("Encoder", of("ff_dropout")), &normal(&[2, 5, 16], 1));
    varies_in_training_only(&gpt(json!({}), of("emb_dropout")), &tokens(2, 5, 1));
}

#[test]
fn attn_dropout_does_not_change_the_returned_maps() {
    let model = build(&gpt(json!({ "attn_dropout": 0.5 }), json!({})));
    let maps = forward_with(&model, &[tokens(2, 5, 1)], json!({ "return_attn": true })).unwrap();
    let Value::List(mut pair) = maps else { panic!("no pair") };
    let map = values(&first(pair.pop().unwrap()));
    map.chunks_exact(5).for_each(|row| close(&[row.iter().sum()], &[1.0], 1e-5));
}

#[test]
fn dropout_of_a_bare_attention_varies_in_training_only() {
    varies_in_training_only(
        &spec("Attention", json!({ "dim": 16, "dropout": 0.3 })),
        &normal(&[2, 5, 16], 1),
    );
}

#[test]
fn dropout_of_an_image_model_does_nothing_as_in_python() {
    let vit = |more: Json| {
        let options = json!({ "image_size": 4, "patch_size": 2, "attn_layers": layers("Encoder", json!({})) });
        build(&spec("ViTransformerWrapper", with(options, more)))
    };
    let x = normal(&[2, 3, 4, 4], 1);
    assert_eq!(
        values(&forward(&vit(json!({ "dropout": 0.9 })), &x)),
        values(&forward(&vit(json!({})), &x))
    );
    varies_in_training_only(&vit(json!({ "emb_dropout": 0.3 })).spec(), &x);
}

#[test]
fn zero_init_branch_output_starts_as_the_identity() {
    let x = normal(&[2, 5, 16], 1);
    for class in ["Encoder", "Decoder"] {
        let model = build(&layers(class, json!({ "zero_init_branch_output": true })));
        assert_eq!(values(&forward(&model, &x)), values(&x));
    }
}

#[test]
fn attn_zero_init_output_and_ff_zero_init_output_start_their_branches_at_0() {
    let x = normal(&[2, 5, 16], 1);
    for (option, kind, other) in
        [("attn_zero_init_output", "a", "f"), ("ff_zero_init_output", "f", "a")]
    {
        let of = |kind: &str| {
            values(&forward(
                &build(&layers("Encoder", json!({ option: true, "custom_layers": [kind] }))),
                &x,
            ))
        };
        assert_eq!(of(kind), values(&x), "{option}");
        assert_ne!(of(other), values(&x), "{option}");
    }
}

#[test]
fn ff_dim_out_of_1_is_broadcast_over_the_residual() {
    let model = build(&layers("Encoder", json!({ "custom_layers": ["f"], "ff_dim_out": 1 })));
    let x = normal(&[2, 5, 16], 1);
    let branch = values(&ops::sub(&forward(&model, &x), &x).unwrap());
    for row in branch.chunks_exact(16) {
        close(row, &[row[0]; 16], 1e-5);
    }
    assert!(branch.iter().any(|v| v.abs() > 1e-3));
}

#[test]
fn only_cross_leaves_out_the_self_attention() {
    let model = build(&layers("Decoder", json!({ "cross_attend": true, "only_cross": true })));
    let names: Vec<&str> =
        model.entries().iter().map(|e| e.name.as_str()).filter(|n| n.contains("to_q")).collect();
    assert_eq!(names, ["layers.0.1.to_q.weight", "layers.2.1.to_q.weight"]);
    // positions do not see each other
    let (x, context) = (normal(&[1, 3, 16], 1), normal(&[1, 4, 16], 2));
    let run = |x: Tensor| {
        values(&tensor(
            forward_with(&model, &[x, context.clone()], json!({ "context": { "$tensor": 1 } }))
                .unwrap(),
        ))
    };
    let alone = run(ops::narrow(&x, 1, 1, 1).unwrap());
    close(&alone, &run(x)[16..32], 1e-5);
}

fn attention(more: Json) -> Arc<Model> {
    build(&spec("Attention", with(json!({ "dim": 16, "heads": 2, "dim_head": 8 }), more)))
}

#[test]
fn causal_attentions_see_no_later_key() {
    let x = normal(&[1, 5, 16], 1);
    let start = ops::narrow(&x, 1, 0, 3).unwrap();
    let of = |model: &Model, x: &Tensor| {
        values(&first(forward_with(model, std::slice::from_ref(x), json!({})).unwrap()))
    };
    let (causal, other) = (attention(json!({ "causal": true })), attention(json!({})));
    close(&of(&causal, &x)[..48], &of(&causal, &start), 1e-6);
    assert_ne!(of(&other, &x)[..48], of(&other, &start));
}

#[test]
fn mem_of_a_bare_attention_is_prepended_to_the_keys() {
    let (x, mem) = (normal(&[2, 5, 16], 1), normal(&[2, 3, 16], 2));
    let whole = ops::cat(&[&mem, &x], 1).unwrap();
    let model = attention(json!({}));
    let run = |name: &str, more: Tensor| {
        values(&first(
            forward_with(&model, &[x.clone(), more], json!({ name: { "$tensor": 1 } })).unwrap(),
        ))
    };
    close(&run("mem", mem), &run("context", whole), 1e-6);
}

#[test]
fn filter_logits_fn_selects_the_filter() {
    let logits = [0.06, 0.5, 0.15, 0.04, 0.25].map(f64::ln);
    let tokens_of = |named: Json| {
        let model = build(&plain());
        let start = [ids(&[0; 500], &[500, 1])];
        let args = Args::new("generate", json!([{ "$tensor": 0 }, 1, named]), &start).unwrap();
        let mut generation = model.generation("generate", &args).unwrap();
        let all = Tensor::constant(float(&logits.repeat(500), &[500, 5]));
        let mut seen = generation.accept(&all, false, &Rng::new(5, 1)).unwrap().unwrap();
        seen.sort_unstable();
        seen.dedup();
        seen
    };
    assert_eq!(tokens_of(json!({ "filter_logits_fn": "top_k", "filter_thres": 0.5 })), [1, 2, 4]);
    assert_eq!(tokens_of(json!({ "filter_logits_fn": "top_p", "filter_thres": 0.6 })), [1]);
    // the limit is 0.5^2 · 0.4 = 0.1
    assert_eq!(tokens_of(json!({ "filter_logits_fn": "top_a", "min_p_ratio": 0.4 })), [1, 2, 4]);
}

/// One weight, starting at 1, after steps with gradient 1.
fn stepped(kind: OptimizerKind, settings: Json, steps: usize) -> f64 {
    let leaf = Arc::new(Leaf::new(float(&[1.0], &[1])));
    let mut optimizer = Optimizer::new(kind, vec![leaf.clone()], vec![1]).unwrap();
    for _ in 0..steps {
        leaf.set_grad(Some(float(&[1.0], &[1]))).unwrap();
        optimizer.step(std::slice::from_ref(&settings), &|| false).unwrap();
    }
    crate::common::array_values(&leaf.values().unwrap())[0]
}

#[test]
fn dampening_and_nesterov_change_the_momentum_of_sgd() {
    let sgd = |more: Json| {
        stepped(OptimizerKind::Sgd, with(json!({ "lr": 0.1, "momentum": 0.5 }), more), 2)
    };
    // velocities 1 and 0.5 · 1 + gradient
    close(&[sgd(json!({}))], &[1.0 - 0.1 - 0.15], 1e-6);
    close(&[sgd(json!({ "dampening": 0.4 }))], &[1.0 - 0.1 - 0.1 * (0.5 + 0.6)], 1e-6);
    close(
        &[sgd(json!({ "nesterov": true }))],
        &[1.0 - 0.1 * (1.0 + 0.5) - 0.1 * (1.0 + 0.75)],
        1e-6,
    );
}

#[test]
fn eps_is_added_to_the_root_of_adams_second_moment() {
    let adam = |eps: f64| stepped(OptimizerKind::Adam, json!({ "lr": 0.1, "eps": eps }), 1);
    close(&[adam(1e-8), adam(1.0)], &[0.9, 0.95], 1e-6);
}

#[test]
fn emb_dim_of_a_continuous_model_does_nothing_as_in_python() {
    let of = |more: Json| {
        let options = json!({ "max_seq_len": 8, "attn_layers": layers("Encoder", json!({})) });
        forward_numbered(
            &build(&spec("ContinuousTransformerWrapper", with(options, more))),
            &normal(&[1, 4, 16], 1),
            1,
        )
    };
    assert_eq!(values(&of(json!({ "emb_dim": 99 }))), values(&of(json!({}))));
}
