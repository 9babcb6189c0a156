//! Sampling: how often each token is drawn.

use crate::common::{build, float, ids, plain};
use serde_json::{json, Value as Json};
use xt_core::{Args, Rng, Tensor};

const ROWS: usize = 20_000;

/// How often each token is drawn, over rows with the same logits.
fn drawn(logits: &[f64], named: Json, filtered: bool, number: u64) -> Vec<f64> {
    let model = build(&plain());
    let start = [ids(&vec![0; ROWS], &[ROWS, 1])];
    let args = Args::new("generate", json!([{ "$tensor": 0 }, 1, named]), &start).unwrap();
    let mut generation = model.generation(&args).unwrap();
    let all = Tensor::constant(float(&logits.repeat(ROWS), &[ROWS, logits.len()]));
    let tokens = generation.accept(&all, filtered, &Rng::new(5, number)).unwrap().unwrap();
    let mut counts = vec![0.0; logits.len()];
    tokens.iter().for_each(|t| counts[*t as usize] += 1.0);
    counts
}

fn softmax(logits: &[f64], temperature: f64) -> Vec<f64> {
    let weights: Vec<f64> = logits.iter().map(|x| (x / temperature).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|w| w / sum).collect()
}

/// Pearson's sum over the tokens that may come: its mean is the degrees of freedom k, its variance 2 k; six standard
/// deviations are beyond chance, also with its long tail.
#[track_caller]
fn follows(counts: &[f64], chances: &[f64]) {
    let mut sum = 0.0;
    for (count, chance) in counts.iter().zip(chances) {
        if *chance == 0.0 {
            assert_eq!(*count, 0.0, "a token that cannot come");
            continue;
        }
        let expected = chance * ROWS as f64;
        assert!(expected > 5.0, "too rare a token for this test");
        sum += (count - expected).powi(2) / expected;
    }
    let k = chances.iter().filter(|c| **c > 0.0).count() as f64 - 1.0;
    assert!(sum <= k + 6.0 * (2.0 * k).sqrt(), "{sum} with {k} degrees of freedom: {counts:?}, {chances:?}");
}

/// Chances 0.5, 0.25, 0.15, 0.06, 0.04 in a mixed order.
fn logits() -> Vec<f64> {
    [0.06, 0.5, 0.15, 0.04, 0.25].map(f64::ln).to_vec()
}

#[test]
fn frequencies_follow_the_softmax_at_every_temperature() {
    for temperature in [0.5, 1.0, 2.0] {
        let counts = drawn(&logits(), json!({ "temperature": temperature, "filter_thres": 0.0 }), false, 1);
        follows(&counts, &softmax(&logits(), temperature));
    }
}

#[test]
fn filters_leave_their_tokens_with_chances_in_proportion() {
    let rest = |kept: &[usize]| {
        let mut all = vec![f64::NEG_INFINITY; 5];
        kept.iter().for_each(|i| all[*i] = logits()[*i]);
        softmax(&all, 1.0)
    };
    let cases = [
        // ceil((1 - 0.5) * 5) = 3 tokens
        (json!({ "filter_thres": 0.5 }), rest(&[1, 4, 2])),
        (json!({ "filter_thres": 0.8 }), rest(&[1])),
        // up to a mass of 0.7, the token that crosses it included
        (json!({ "filter_logits_fn": "top_p", "filter_thres": 0.3 }), rest(&[1, 4])),
        (json!({ "filter_logits_fn": "top_p", "filter_thres": 0.2 }), rest(&[1, 4, 2])),
        (json!({ "filter_logits_fn": "top_p", "filter_thres": 0.9 }), rest(&[1])),
        // at least 0.5 squared times 0.2 = 0.05; all that stay are alike
        (json!({ "filter_logits_fn": "top_a", "min_p_ratio": 0.2 }), vec![0.25, 0.25, 0.25, 0.0, 0.25]),
    ];
    for (named, chances) in cases {
        follows(&drawn(&logits(), named, false, 2), &chances);
    }
}

#[test]
fn logits_that_a_caller_has_filtered_are_taken_as_they_are() {
    let mut own = logits();
    own[1] = f64::NEG_INFINITY;
    follows(&drawn(&own, json!({ "filter_thres": 0.8 }), true, 3), &softmax(&own, 1.0));
}

#[test]
fn temperature_0_takes_the_first_of_the_largest() {
    let counts = drawn(&[1.0, 3.0, 3.0, 2.0], json!({ "temperature": 0.0, "filter_thres": 0.0 }), false, 4);
    assert_eq!(counts, [0.0, ROWS as f64, 0.0, 0.0]);
}

#[test]
fn logits_that_are_all_ruled_out_still_give_a_token() {
    let counts = drawn(&[f64::NEG_INFINITY; 3], json!({ "filter_thres": 0.0 }), false, 5);
    assert_eq!(counts.iter().sum::<f64>(), ROWS as f64);
}

#[test]
fn rows_and_calls_draw_independently_and_the_same_call_the_same() {
    let flat = [0.0; 4];
    let named = || json!({ "filter_thres": 0.0 });
    let (a, b) = (drawn(&flat, named(), false, 6), drawn(&flat, named(), false, 6));
    assert_eq!(a, b);
    assert_ne!(a, drawn(&flat, named(), false, 7));
    follows(&a, &[0.25; 4]);
}
