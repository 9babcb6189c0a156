//! Sets of options by the name of their class or function.

use crate::sets::{all, find};
use serde_json::{json, Value};

fn resolve(name: &str, options: Value) -> Result<Value, Vec<String>> {
    let lines = |problems: crate::Problems| problems.0.iter().map(ToString::to_string).collect();
    find(name).unwrap().resolve(&options).map_err(lines)
}

#[test]
fn classes_calls_and_functions_find_their_options() {
    let interface = |name| find(name).map(|set| set.interface);
    for (name, expected) in [
        ("SGD", "SGDOptions"),
        ("AdamW", "AdamWOptions"),
        ("Lion", "LionOptions"),
        ("Muon", "MuonOptions"),
        ("Adafactor", "AdafactorOptions"),
        ("top_k", "TopKOptions"),
        ("top_p", "TopKOptions"),
        ("top_a", "TopAOptions"),
        ("constant", "ConstantOptions"),
        ("linearWarmup", "LinearWarmupOptions"),
        ("cosineWarmup", "CosineWarmupOptions"),
        ("linearDecay", "LinearDecayOptions"),
        ("inverseSqrt", "InverseSqrtOptions"),
        ("warmupStableDecay", "WarmupStableDecayOptions"),
        ("Decoder", "DecoderOptions"),
        ("TransformerWrapper", "TransformerWrapperOptions"),
        ("TransformerCall", "TransformerCall"),
        ("GenerateOptions", "GenerateOptions"),
    ] {
        assert_eq!(interface(name), Some(expected));
    }
    assert_eq!(interface("Adamw"), None);
}

#[test]
fn defaults_are_filled_in() {
    assert_eq!(
        resolve("top_a", json!({ "min_p_pow": 3 })),
        Ok(json!({ "min_p_pow": 3.0, "min_p_ratio": 0.02 }))
    );
    let adam = json!({ "lr": 0.5, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.01 });
    assert_eq!(resolve("AdamW", json!({ "lr": 0.5 })), Ok(adam));
    let decoder =
        resolve("Decoder", json!({ "dim": 64, "depth": 2, "attn_dim_head": 32 })).unwrap();
    assert_eq!((&decoder["heads"], &decoder["attn_dim_head"]), (&json!(8), &json!(32)));
}

#[test]
fn what_is_resolved_resolves_to_itself() {
    let once = resolve("Decoder", json!({ "dim": 64, "depth": 2, "custom_layers": null })).unwrap();
    assert_eq!(resolve("Decoder", once.clone()), Ok(once));
    // only a set without required options can be resolved from an empty object
    for set in all()
        .iter()
        .filter(|set| set.spec.flatten().iter().all(|option| option.field.default.is_some()))
    {
        let once = set.resolve(&json!({})).unwrap();
        assert_eq!(set.resolve(&once).unwrap(), once, "{}", set.interface);
    }
}

#[test]
fn all_problems_come_at_once() {
    assert_eq!(
        resolve("cosineWarmup", json!({ "lr": -1, "warmup": 2, "total_steps": 3 })).unwrap_err(),
        [
            "warmup: is not an option here; did you mean `warmup_steps`?",
            "lr: got -1; allowed: a number from 0",
            "warmup_steps: is required; allowed: a number from 0",
        ]
    );
    assert!(resolve(
        "Encoder",
        json!({ "dim": 64, "depth": 2, "cross_residual_attn": true, "dims": 3 })
    )
    .is_err());
}

#[test]
fn groups_take_what_is_common_and_tell_their_problems_under_their_place() {
    let sgd = find("SGD").unwrap();
    let common = json!({ "lr": 0.5, "momentum": 0.9, "nesterov": true });
    let groups = sgd.resolve_groups(&common, &[json!({}), json!({ "lr": 1 })]).unwrap();
    assert_eq!([&groups[0]["lr"], &groups[1]["lr"], &groups[1]["momentum"]], [0.5, 1.0, 0.9]);

    let problems = sgd
        .resolve_groups(&json!({ "lr": -1 }), &[json!({}), json!({ "lr": "x", "nesterov": true })]);
    let paths: Vec<String> =
        problems.unwrap_err().0.into_iter().map(|problem| problem.path).collect();
    assert_eq!(paths, ["lr", "param_groups[1].lr", "param_groups[1].nesterov"]);
    let wrong = sgd.resolve_groups(&common, &[json!({ "momentum": 0 })]).unwrap_err();
    assert_eq!(wrong.0[0].path, "param_groups[0].nesterov");
    assert_eq!(
        sgd.resolve_groups(&common, &[json!(1)]).unwrap_err().0[0].path,
        "param_groups[0].options"
    );
}
