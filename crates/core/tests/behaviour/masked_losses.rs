//! The losses of masked generation: which tokens they cover, what the model sees of them, and what
//! the critic judges.

use crate::common::{array_values, call_numbered, ids, tensor, tokens, with};
use crate::masked_generation::{critic, losses, model, net, number, reached, MASK, N};
use serde_json::{json, Value as Json};
use std::sync::Arc;
use xt_core::{Leaf, Model, Tensor, Value};

#[test]
fn critic_loss_weight_scales_the_critic_in_the_sum() {
    for weight in [1.0, 0.25] {
        let model = model(json!({ "token_critic": critic(), "critic_loss_weight": weight }));
        let [loss, generator, critic] = losses(&model, &tokens(2, N, 1), json!({}), 1).unwrap();
        let want = number(&generator) + weight * number(&critic);
        assert!((number(&loss) - want).abs() < 1e-5);
    }
}

#[test]
fn generator_sample_temperature_decides_what_the_critic_judges() {
    let model =
        model(json!({ "token_critic": critic(), "no_replace_prob": 0, "random_token_prob": 0 }));
    let judged = |temperature: f64| {
        let named = json!({ "generator_sample_temperature": temperature });
        number(&losses(&model, &tokens(8, N, 1), named, 1).unwrap()[2])
    };
    assert_eq!(judged(0.0), judged(1e-9));
    assert_ne!(judged(0.0), judged(5.0));
}

#[test]
fn self_cond_train_prob_decides_how_often_a_first_pass_replaces_the_null_embed() {
    for (probability, null) in [(0.0, true), (1.0, false)] {
        let model = model(json!({ "self_cond": true, "self_cond_train_prob": probability }));
        let names = reached(&model, json!({}), 1);
        assert_eq!(names.contains(&"null_embed".into()), null);
        assert!(names.contains(&"to_self_cond.weight".into()));
    }
    assert!(model(json!({}))
        .entries()
        .iter()
        .all(|e| !e.name.contains("null_embed") && !e.name.contains("self_cond")));
}

/// A model without attention: each position has a gradient where the loss covers it, and only its
/// token gets one.
fn blind(more: Json) -> Arc<Model> {
    model(with(json!({ "net": net(json!({ "custom_layers": ["f"] }), json!({})) }), more))
}

/// How many positions of each row the loss covers, and which tokens the model saw there.
fn masked(model: &Model, call: u64) -> (Vec<usize>, Vec<usize>) {
    const BATCH: usize = 32;
    let embeds = Arc::new(Leaf::new(crate::common::float(&[0.0; BATCH * N * 16], &[BATCH, N, 16])));
    // all tokens are 3
    let inputs = [ids(&[3; BATCH * N], &[BATCH, N]), Tensor::leaf(embeds.clone())];
    let args = json!([{ "$tensor": 0 }, { "sum_embeds": { "$tensor": 1 } }]);
    let Value::Fields(mut fields) = call_numbered(model, "forward", args, &inputs, call).unwrap()
    else {
        panic!("no losses")
    };
    tensor(fields.swap_remove(0).1).backward(false, &|| false).unwrap();
    let counts = |leaf: &Leaf, group: usize| -> Vec<usize> {
        let grad = array_values(&leaf.grad().unwrap().unwrap());
        let touched: Vec<bool> =
            grad.chunks_exact(16).map(|g| g.iter().any(|v| *v != 0.0)).collect();
        touched.chunks_exact(group).map(|part| part.iter().filter(|t| **t).count()).collect()
    };
    let table = model.entry("net.token_emb.emb.weight").unwrap().param.leaf().clone();
    let seen = counts(&table, 1)
        .into_iter()
        .enumerate()
        .filter(|(_, n)| *n > 0)
        .map(|(id, _)| id)
        .collect();
    table.set_grad(None).unwrap();
    (counts(&embeds, N), seen)
}

#[test]
fn schedule_decides_how_many_tokens_the_loss_masks() {
    type Share = fn(f64) -> f64;
    let linear: Share = |t| 1.0 - t;
    let cosine: Share = |t| (t * std::f64::consts::FRAC_PI_2).cos();
    for (schedule, share) in [("linear", linear), ("cosine", cosine)] {
        let model = blind(json!({ "schedule": schedule }));
        let counts: Vec<usize> = (0..20).flat_map(|call| masked(&model, call).0).collect();
        assert!(counts.iter().all(|count| (1..=N).contains(count)));
        // ranks below the share of the length
        let expected = (0..1000)
            .map(|t| (share(f64::from(t) / 1000.0) * N as f64).max(1.0).ceil())
            .sum::<f64>()
            / 1000.0;
        let mean = counts.iter().sum::<usize>() as f64 / counts.len() as f64;
        // the standard deviation of a count is less than 2.6; five standard errors
        assert!(
            (mean - expected).abs() < 5.0 * 2.6 / (counts.len() as f64).sqrt(),
            "{schedule}: {mean}, not {expected}"
        );
    }
}

#[test]
fn no_replace_prob_and_random_token_prob_show_other_tokens_than_the_mask_in_half_of_the_calls() {
    let calls = 40;
    let seen = |more: Json| -> Vec<Vec<usize>> {
        let model = blind(more);
        (0..calls).map(|call| masked(&model, call).1).collect()
    };
    let mask = MASK as usize;
    assert!(seen(json!({ "no_replace_prob": 0, "random_token_prob": 0 }))
        .iter()
        .all(|ids| *ids == [mask]));
    let kept = seen(json!({ "no_replace_prob": 1, "random_token_prob": 0 }));
    assert!(kept.iter().all(|ids| *ids == [mask] || *ids == [3]));
    let random = seen(json!({ "no_replace_prob": 0, "random_token_prob": 1 }));
    assert!(random.iter().all(|ids| *ids == [mask] || ids.len() > 10), "{random:?}");
    for all in [kept, random] {
        let changed = all.iter().filter(|ids| **ids != [mask]).count();
        crate::common::share_is(changed as f64 / calls as f64, 0.5, calls as usize);
    }
}
