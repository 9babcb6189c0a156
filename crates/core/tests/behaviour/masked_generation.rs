//! Masked generation. There are no recorded cases, as Python draws at random throughout: results
//! are complete, repeatable, and right once a model is trained. Also which parameters a loss
//! trains.

use crate::common::{
    build, call_numbered, ids, layers, spec, tensor, tokens, transformer, values, with,
};
use serde_json::{json, Value as Json};
use std::sync::Arc;
use xt_core::training::{Optimizer, OptimizerKind};
use xt_core::{EntryKind, Leaf, Model, Result, Tensor, Value};

/// Length of all sequences.
pub const N: usize = 8;
/// The last of the 17 tokens.
pub const MASK: i64 = 16;

pub fn net(more_layers: Json, more: Json) -> Json {
    transformer(layers("Encoder", more_layers), with(json!({ "max_seq_len": N }), more))
}

pub fn model(more: Json) -> Arc<Model> {
    let options = json!({ "net": net(json!({}), json!({})), "mask_id": MASK, "steps": 5 });
    build(&spec("NonAutoregressiveWrapper", with(options, more)))
}

/// A separate critic.
pub fn critic() -> Json {
    net(json!({ "depth": 1 }), json!({ "logits_dim": 1 }))
}

fn variants() -> Vec<Json> {
    vec![
        json!({}),
        json!({ "schedule": "cosine" }),
        json!({ "self_cond": true }),
        json!({ "token_critic": critic() }),
        json!({ "self_token_critic": true, "self_cond": true }),
        json!({ "can_mask_prev_unmasked": true }),
        json!({ "can_mask_prev_unmasked": true, "schedule": "cosine", "self_token_critic": true }),
        json!({ "steps": 1 }),
        json!({ "steps": 3 * N }),
    ]
}

fn generate(model: &Model, named: Json, number: u64) -> Vec<f64> {
    values(&tensor(call_numbered(model, "generate", json!([named]), &[], number).unwrap()))
}

/// The three losses; an absent one is null.
pub fn losses(model: &Model, x: &Tensor, named: Json, number: u64) -> Result<[Option<Tensor>; 3]> {
    let args = json!([{ "$tensor": 0 }, named]);
    let Value::Fields(fields) =
        call_numbered(model, "forward", args, std::slice::from_ref(x), number)?
    else {
        panic!("no losses")
    };
    assert_eq!(
        fields.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        ["loss", "generator_loss", "critic_loss"]
    );
    let mut all = fields.into_iter().map(|(_, value)| match value {
        Value::Tensor(tensor) => Some(tensor),
        _ => None,
    });
    Ok([(); 3].map(|()| all.next().unwrap()))
}

pub fn number(loss: &Option<Tensor>) -> f64 {
    values(loss.as_ref().unwrap())[0]
}

#[test]
fn batch_size_gives_rows_and_null_one_axis_and_no_mask_id_is_left() {
    for variant in variants() {
        let model = model(variant.clone());
        for (batch_size, dims) in
            [(json!(null), vec![N]), (json!(1), vec![1, N]), (json!(3), vec![3, N])]
        {
            let args = json!([{ "batch_size": batch_size, "start_temperature": 2 }]);
            for number in 0..8 {
                let new =
                    tensor(call_numbered(&model, "generate", args.clone(), &[], number).unwrap());
                assert_eq!(new.dims(), dims, "{variant}");
                assert!(
                    values(&new).iter().all(|id| (0.0..MASK as f64).contains(id)),
                    "{variant}: {:?}",
                    values(&new)
                );
            }
        }
    }
}

#[test]
fn generations_and_losses_repeat_with_the_number_of_the_call() {
    for variant in variants() {
        let (model, twin) = (model(variant.clone()), model(variant.clone()));
        let named = || json!({ "batch_size": 4, "start_temperature": 3, "filter_thres": null });
        assert_eq!(generate(&model, named(), 1), generate(&twin, named(), 1));
        // a single step is the last one, which has temperature 0
        let varies = variant["steps"] != json!(1);
        assert_eq!(
            generate(&model, named(), 1) != generate(&model, named(), 2),
            varies,
            "{variant}"
        );
        let x = tokens(2, N, 1);
        let loss = |model: &Model, call| number(&losses(model, &x, json!({}), call).unwrap()[0]);
        assert_eq!(loss(&model, 1), loss(&twin, 1));
        assert_ne!(loss(&model, 1), loss(&model, 2));
    }
}

fn leaves(model: &Model) -> Vec<Arc<Leaf>> {
    let tied = model.tied();
    let own = model
        .entries()
        .iter()
        .filter(|e| e.kind == EntryKind::Parameter && !tied.contains_key(e.name.as_str()));
    own.map(|e| e.param.leaf().clone()).collect()
}

/// Trains on rows that count up from 1; gives the losses of each step, 0 where one is absent.
fn train(model: &Model, named: Json, steps: u64) -> Vec<[f64; 3]> {
    let row: Vec<i64> = (1..=N as i64).collect();
    let x = ids(&row.repeat(4), &[4, N]);
    let leaves = leaves(model);
    let count = leaves.len();
    let mut optimizer = Optimizer::new(OptimizerKind::AdamW, leaves, vec![count]).unwrap();
    let step = |call| {
        let all = losses(model, &x, named.clone(), call).unwrap();
        all[0].as_ref().unwrap().backward(false, &|| false).unwrap();
        optimizer.step(&[json!({ "lr": 0.005 })], &|| false).unwrap();
        optimizer.zero_grad().unwrap();
        all.each_ref().map(|loss| if loss.is_some() { number(loss) } else { 0.0 })
    };
    (0..steps).map(step).collect()
}

/// The mean of loss `which` over the last ten steps, divided by that over the first ten.
fn remaining_share(all: &[[f64; 3]], which: usize) -> f64 {
    assert!(all.iter().flatten().all(|loss| loss.is_finite()));
    let sum = |part: &[[f64; 3]]| part.iter().map(|losses| losses[which]).sum::<f64>();
    sum(&all[all.len() - 10..]) / sum(&all[..10])
}

#[test]
fn losses_fall_and_a_trained_model_generates_its_training_data() {
    for variant in variants() {
        let model = model(variant.clone());
        let left = remaining_share(&train(&model, json!({}), 150), 1);
        assert!(left < 0.2, "{variant}: {left} of the loss is left");
        let want: Vec<f64> = (1..=N).map(|id| id as f64).collect();
        assert_eq!(generate(&model, json!({ "start_temperature": 0 }), 1), want, "{variant}");
    }
}

#[test]
fn token_critic_and_self_token_critic_learn_to_tell_real_tokens_from_generated_ones() {
    for variant in [json!({ "token_critic": critic() }), json!({ "self_token_critic": true })] {
        let left = remaining_share(
            &train(&model(variant.clone()), json!({ "only_train_critic": true }), 100),
            2,
        );
        assert!(left < 0.5, "{variant}: {left} of the loss is left");
    }
}

/// The names of the parameters that have a gradient after the loss.
pub fn reached(model: &Model, named: Json, call: u64) -> Vec<String> {
    let [loss, ..] = losses(model, &tokens(2, N, 1), named, call).unwrap();
    loss.unwrap().backward(false, &|| false).unwrap();
    let names = model
        .entries()
        .iter()
        .filter(|e| e.param.leaf().grad().unwrap().is_some())
        .map(|e| e.name.clone())
        .collect();
    model.entries().iter().for_each(|e| e.param.leaf().set_grad(None).unwrap());
    names
}

#[test]
fn only_train_generator_and_only_train_critic_reach_their_own_parameters() {
    let own = model(json!({ "token_critic": critic() }));
    let all: Vec<String> = own.entries().iter().map(|e| e.name.clone()).collect();
    let part = |prefix: &str| {
        all.iter().filter(|name| name.starts_with(prefix)).cloned().collect::<Vec<_>>()
    };
    assert_eq!(reached(&own, json!({}), 1), all);
    assert_eq!(reached(&own, json!({ "only_train_generator": true }), 1), part("net."));
    assert_eq!(reached(&own, json!({ "only_train_critic": true }), 1), part("token_critic."));
    let itself = model(json!({ "self_token_critic": true }));
    let head =
        |names: Vec<String>| names.iter().any(|name| name.starts_with("token_critic.to_logits."));
    assert!(head(reached(&itself, json!({}), 1)));
    assert!(!head(reached(&itself, json!({ "only_train_generator": true }), 1)));
    let critic_alone = reached(&itself, json!({ "only_train_critic": true }), 1);
    assert!(!critic_alone.contains(&"net.to_logits.weight".into()) && head(critic_alone));
}

#[test]
fn only_train_generator_and_only_train_critic_give_their_own_loss() {
    let model = model(json!({ "self_token_critic": true }));
    let present = |named: Json| {
        let all = losses(&model, &tokens(2, N, 1), named, 1).unwrap();
        all.each_ref().map(Option::is_some)
    };
    assert_eq!(present(json!({})), [true, true, true]);
    assert_eq!(present(json!({ "only_train_generator": true })), [true, true, false]);
    assert_eq!(present(json!({ "only_train_critic": true })), [true, false, true]);
}

#[test]
fn start_temperature_0_and_a_large_filter_thres_take_the_likeliest_tokens() {
    let model = model(json!({}));
    let named = json!({ "batch_size": 2, "start_temperature": 0 });
    assert_eq!(generate(&model, named.clone(), 1), generate(&model, named, 2));
    // one of 17 tokens is kept
    let named = json!({ "start_temperature": 9, "filter_thres": 0.99, "batch_size": 2 });
    assert_eq!(generate(&model, named.clone(), 1), generate(&model, named, 2));
}

#[test]
fn noise_level_scale_randomises_which_tokens_are_masked_again() {
    let model = model(json!({ "token_critic": critic() }));
    let of = |scale: f64, call| {
        generate(
            &model,
            json!({ "batch_size": 4, "filter_thres": 0.99, "noise_level_scale": scale }),
            call,
        )
    };
    assert_eq!(of(0.0, 1), of(0.0, 2));
    assert_ne!(of(100.0, 1), of(100.0, 2));
}

#[test]
fn can_mask_prev_unmasked_and_steps_change_the_result() {
    let of =
        |more: Json| generate(&model(more), json!({ "batch_size": 8, "filter_thres": 0.5 }), 1);
    assert_ne!(of(json!({})), of(json!({ "can_mask_prev_unmasked": true })));
    assert_ne!(of(json!({})), of(json!({ "steps": 9 })));
}
