//! Initial values: their distributions are those of the Python package, and what the seed decides.

use crate::common::{
    array_values, autoregressive, build, gpt, layers, parameter, plain, seeded, spec, transformer,
};
use crate::device::device;
use serde_json::{json, Value as Json};
use std::path::Path;
use xt_core::{DType, EntryKind, Model};

/// The most standard errors by which two draws may differ: by chance more once in two million
/// times.
const ERRORS: f64 = 5.0;

fn statistics() -> serde_json::Map<String, Json> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test/golden/init-stats.json");
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// The file says `kwargs` where checkpoints say `options`.
fn renamed(model: &Json) -> Json {
    let inner = |v: &Json| if v.get("class").is_some() { renamed(v) } else { v.clone() };
    let options = model["kwargs"].as_object().unwrap().iter().map(|(k, v)| (k.clone(), inner(v)));
    spec(model["class"].as_str().unwrap(), Json::Object(options.collect()))
}

#[test]
fn shapes_distributions_and_moments_are_those_measured_in_python() {
    let mut wrong = Vec::new();
    let mut checked = 0;
    for (name, recorded) in statistics() {
        let model = Model::from_spec(&renamed(&recorded["model"]), 1)
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        checked += 1;
        let rows = recorded["parameters"].as_object().unwrap();
        let names: Vec<&String> = model
            .entries()
            .iter()
            .filter(|e| e.kind == EntryKind::Parameter)
            .map(|e| &e.name)
            .collect();
        assert_eq!(names, rows.keys().collect::<Vec<_>>(), "{name}");
        for (parameter, row) in rows {
            wrong.extend(
                difference(&model, parameter, row).map(|w| format!("{name}, {parameter}: {w}")),
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 0, "the file has no models");
}

/// What is wrong with a parameter, if anything. Both sides are draws from one distribution, so
/// their difference has the variances of both.
fn difference(model: &Model, name: &str, row: &Json) -> Option<String> {
    let leaf = model.entry(name).unwrap().param.leaf().clone();
    if json!(leaf.shape()) != row["shape"] {
        return Some(format!("shape {:?}, not {}", leaf.shape(), row["shape"]));
    }
    let xs = array_values(&leaf.values().unwrap());
    let number = |key: &str| row[key].as_f64().unwrap();
    let n = xs.len() as f64;
    // the probability within one standard deviation, the variance of the sample's deviation
    // (kurtosis - 1) / (4 n) in units of the true one, and the largest difference between the
    // maxima of two draws
    let deviation = || number("std");
    let (inside, variance, apart) = match row["law"].as_str().unwrap() {
        "constant" => {
            let want = number("value") as f32;
            return xs.iter().find(|x| **x as f32 != want).map(|x| format!("{x}, not {want}"));
        }
        // all n draws miss the outermost share 14 / n with probability e^-14
        "uniform" => (1.0 / 3f64.sqrt(), 0.8 / 4.0, number("absmax") * 14.0 / n),
        // the largest of n follows a Gumbel distribution of scale 1 / sqrt(2 ln 2n); e^-14 again
        "normal" => (0.682_689, 2.0 / 4.0, deviation() * 14.0 / (2.0 * (2.0 * n).ln()).sqrt()),
        other => {
            let want: Vec<f64> =
                row["values"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
            let off = xs.iter().zip(&want).any(|(x, w)| (x - w).abs() > 1e-6);
            return off.then(|| format!("{xs:?}, not {want:?} ({other})"));
        }
    };
    let mean = xs.iter().sum::<f64>() / n;
    let std = (xs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
    let absmax = xs.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
    let share = xs.iter().filter(|x| (**x - mean).abs() < std).count() as f64 / n;
    let two = 2f64.sqrt() * ERRORS;
    let checks = [
        ("mean", mean, number("mean"), two * deviation() / n.sqrt()),
        // the last term: the file has five digits
        ("std", std, deviation(), deviation() * (two * (variance / n).sqrt() + 1e-4)),
        ("absmax", absmax, number("absmax"), apart + 1e-4 * absmax),
        ("share within one std", share, inside, ERRORS * (inside * (1.0 - inside) / n).sqrt()),
    ];
    let (what, got, want, limit) =
        checks.into_iter().find(|(_, got, want, limit)| (got - want).abs() > *limit)?;
    Some(format!("{what} is {got}, not {want} (within {limit})"))
}

#[test]
fn linear_layers_stay_within_the_bound_of_their_fan_in() {
    let model = build(&gpt(json!({ "ff_mult": 2 }), json!({ "emb_dim": 10 })));
    let bounds = [
        ("project_emb.weight", 10),
        ("attn_layers.layers.1.1.ff.3.weight", 32),
        ("to_logits.bias", 16),
    ];
    for (name, inputs) in bounds {
        let bound = 1.0 / f64::from(inputs).sqrt();
        assert!(parameter(&model, name).iter().all(|x| x.abs() <= bound), "{name}");
    }
}

fn all(model: &Model) -> Vec<Vec<f64>> {
    model.entries().iter().map(|e| array_values(&e.param.values().unwrap())).collect()
}

#[test]
fn the_seed_decides_the_values() {
    let (a, b, c) = (build(&plain()), build(&plain()), seeded(&plain(), 2));
    assert_eq!(all(&a), all(&b));
    let random = |m: &Model| -> Vec<Vec<f64>> {
        all(m).into_iter().filter(|xs| xs.iter().any(|x| *x != xs[0])).collect()
    };
    assert!(random(&a).iter().zip(random(&c)).all(|(a, c)| *a != c));
}

#[test]
fn the_order_of_first_use_does_not_matter() {
    let (a, b) = (build(&plain()), build(&plain()));
    for entry in b.entries().iter().rev().step_by(2) {
        entry.param.values().unwrap();
    }
    assert_eq!(all(&a), all(&b));
}

#[test]
fn no_two_parameters_share_random_numbers() {
    let model = build(&plain());
    let mut firsts: Vec<String> = all(&model)
        .iter()
        .filter(|xs| xs.iter().any(|x| *x != xs[0]))
        .map(|xs| format!("{:?}", &xs[..4]))
        .collect();
    let count = firsts.len();
    firsts.sort();
    firsts.dedup();
    assert_eq!(firsts.len(), count);
}

#[test]
fn values_drawn_after_a_conversion_are_the_same_numbers() {
    let (a, b) = (build(&plain()), build(&plain()));
    b.entries().iter().for_each(|e| e.param.leaf().move_to(&device(), DType::F64).unwrap());
    for (x, y) in all(&a).concat().iter().zip(all(&b).concat()) {
        assert!((x - y).abs() <= 1e-6 * y.abs());
    }
}

#[test]
fn a_model_of_the_size_of_gpt_3_can_be_described_without_allocating_it() {
    let options = json!({ "dim": 12288, "depth": 96, "heads": 96, "attn_dim_head": 128 });
    let net =
        transformer(spec("Decoder", options), json!({ "num_tokens": 50000, "max_seq_len": 2048 }));
    let described = build(&autoregressive(net, json!({}))).describe();
    let count: u64 = described["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| {
            e["shape"].as_array().unwrap().iter().map(|d| d.as_u64().unwrap()).product::<u64>()
        })
        .sum();
    assert!((170_000_000_000..180_000_000_000).contains(&count), "{count} parameters");
}

#[test]
fn a_model_too_large_for_memory_is_an_error_at_first_use() {
    let net = transformer(
        layers("Decoder", json!({})),
        json!({ "num_tokens": 1u64 << 45, "max_seq_len": 2 }),
    );
    let model = build(&net);
    let message =
        model.entry("token_emb.emb.weight").unwrap().param.values().unwrap_err().to_string();
    assert!(message.contains("out of memory"), "{message}");
}
