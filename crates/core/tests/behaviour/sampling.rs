//! Sampling: the frequency of each token.

use crate::common::{build, float, ids, plain};
use serde_json::{json, Value as Json};
use xt_core::{Args, Rng, Tensor};

const ROWS: usize = 20_000;

/// The frequency of each token, over rows with the same logits.
fn drawn(logits: &[f64], named: Json, filtered: bool, number: u64) -> Vec<f64> {
    let model = build(&plain());
    let start = [ids(&vec![0; ROWS], &[ROWS, 1])];
    let args = Args::new("generate", json!([{ "$tensor": 0 }, 1, named]), &start).unwrap();
    let mut generation = model.generation("generate", &args).unwrap();
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

/// Pearson's chi-squared statistic over the possible tokens: its mean is the degrees of freedom k,
/// its variance 2 k. Six standard deviations are beyond chance, even with its long tail.
#[track_caller]
fn assert_frequencies(counts: &[f64], chances: &[f64]) {
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
    assert!(
        sum <= k + 6.0 * (2.0 * k).sqrt(),
        "{sum} with {k} degrees of freedom: {counts:?}, {chances:?}"
    );
}

/// Probabilities 0.5, 0.25, 0.15, 0.06, 0.04 in a mixed order.
fn logits() -> Vec<f64> {
    [0.06, 0.5, 0.15, 0.04, 0.25].map(f64::ln).to_vec()
}

#[test]
fn frequencies_follow_the_softmax_at_every_temperature() {
    for temperature in [0.5, 1.0, 2.0] {
        let counts =
            drawn(&logits(), json!({ "temperature": temperature, "filter_thres": 0.0 }), false, 1);
        assert_frequencies(&counts, &softmax(&logits(), temperature));
    }
}

#[test]
fn filters_keep_their_tokens_with_proportional_probabilities() {
    let renormalise = |kept: &[usize]| {
        let mut all = vec![f64::NEG_INFINITY; 5];
        kept.iter().for_each(|i| all[*i] = logits()[*i]);
        softmax(&all, 1.0)
    };
    let cases = [
        // ceil((1 - 0.5) * 5) = 3 tokens
        (json!({ "filter_thres": 0.5 }), renormalise(&[1, 4, 2])),
        (json!({ "filter_thres": 0.8 }), renormalise(&[1])),
        // up to a mass of 0.7, including the token that crosses it
        (json!({ "filter_logits_fn": "top_p", "filter_thres": 0.3 }), renormalise(&[1, 4])),
        (json!({ "filter_logits_fn": "top_p", "filter_thres": 0.2 }), renormalise(&[1, 4, 2])),
        (json!({ "filter_logits_fn": "top_p", "filter_thres": 0.9 }), renormalise(&[1])),
        // at least 0.5 squared times 0.2 = 0.05; all kept tokens are equally likely
        (
            json!({ "filter_logits_fn": "top_a", "min_p_ratio": 0.2 }),
            vec![0.25, 0.25, 0.25, 0.0, 0.25],
        ),
    ];
    for (named, chances) in cases {
        assert_frequencies(&drawn(&logits(), named, false, 2), &chances);
    }
}

/// The probabilities at a temperature of 2 are about 0.35, 0.25, 0.19, 0.12, 0.10 of what are 0.5,
/// 0.25, 0.15, 0.06, 0.04 at 1: the same filter keeps other tokens of them.
#[test]
fn temperature_first_filters_the_probabilities_that_are_drawn_from() {
    let kept = |kept: &[usize]| {
        let mut all = vec![f64::NEG_INFINITY; 5];
        kept.iter().for_each(|i| all[*i] = logits()[*i]);
        softmax(&all, 2.0)
    };
    let cases = [
        (json!({ "nucleus_p": 0.7 }), kept(&[1, 4]), kept(&[1, 4, 2])),
        (json!({ "min_p": 0.4 }), kept(&[1, 4]), kept(&[1, 4, 2])),
        (json!({ "top_k_tokens": 2 }), kept(&[1, 4]), kept(&[1, 4])),
    ];
    for (filter, after, before) in cases {
        let named = |first: bool| {
            let mut named = json!({ "temperature": 2.0, "temperature_first": first });
            named.as_object_mut().unwrap().extend(filter.as_object().unwrap().clone());
            named
        };
        assert_frequencies(&drawn(&logits(), named(false), false, 6), &after);
        assert_frequencies(&drawn(&logits(), named(true), false, 6), &before);
    }
}

#[test]
fn logits_filtered_by_the_caller_are_used_unchanged() {
    let mut own = logits();
    own[1] = f64::NEG_INFINITY;
    assert_frequencies(&drawn(&own, json!({ "filter_thres": 0.8 }), true, 3), &softmax(&own, 1.0));
}

#[test]
fn temperature_0_takes_the_first_of_the_largest() {
    let counts =
        drawn(&[1.0, 3.0, 3.0, 2.0], json!({ "temperature": 0.0, "filter_thres": 0.0 }), false, 4);
    assert_eq!(counts, [0.0, ROWS as f64, 0.0, 0.0]);
}

/// The error of drawing from one row of logits.
fn draw_error(logits: &[f64], named: Json, filtered: bool) -> String {
    let start = [ids(&[0], &[1, 1])];
    let args = Args::new("generate", json!([{ "$tensor": 0 }, 1, named]), &start).unwrap();
    let mut generation = build(&plain()).generation("generate", &args).unwrap();
    let all = Tensor::constant(float(logits, &[1, logits.len()]));
    match generation.accept(&all, filtered, &Rng::new(5, 5)) {
        Err(error) => error.to_string(),
        Ok(tokens) => panic!("{tokens:?} of {logits:?}"),
    }
}

#[test]
fn rows_without_any_token_left_are_an_error() {
    const NONE: [f64; 3] = [f64::NEG_INFINITY; 3];
    let choices = [
        json!({}),
        json!({ "filter_thres": 0.0 }),
        json!({ "temperature": 0.0 }),
        json!({ "filter_logits_fn": "top_p" }),
        json!({ "filter_logits_fn": "top_a" }),
        json!({ "top_k_tokens": 1 }),
        json!({ "nucleus_p": 0.5 }),
        json!({ "min_p": 0.5 }),
        json!({ "num_beams": 2 }),
    ];
    for named in choices {
        let rows = if named["num_beams"].is_null() { 1 } else { 2 };
        let all = |row: &[f64]| row.repeat(rows);
        let refused = |row: &[f64], filtered| match rows {
            1 => draw_error(row, named.clone(), filtered),
            _ => beams_error(&all(row), rows, filtered),
        };
        assert!(refused(&NONE, false)
            .contains("row 0 has no token left to draw: all its logits are -Infinity"));
        assert!(refused(&NONE, true).contains("row 0 has no token left to draw: filter_logits_fn"));
        assert!(refused(&[1.0, f64::NAN, 2.0], false).contains("NaN: has training diverged?"));
        assert!(refused(&[1.0, -f64::NAN, 2.0], true).contains("filter_logits_fn gave are NaN"));
    }
}

fn beams_error(logits: &[f64], rows: usize, filtered: bool) -> String {
    let start = [ids(&[0], &[1, 1])];
    let args =
        Args::new("generate", json!([{ "$tensor": 0 }, 1, { "num_beams": rows }]), &start).unwrap();
    let mut generation = build(&plain()).generation("generate", &args).unwrap();
    let all = Tensor::constant(float(logits, &[rows, logits.len() / rows]));
    match generation.accept(&all, filtered, &Rng::new(5, 5)) {
        Err(error) => error.to_string(),
        Ok(tokens) => panic!("{tokens:?} of {logits:?}"),
    }
}

#[test]
fn top_a_beside_a_more_certain_row_takes_the_likeliest_token() {
    let start = [ids(&[0, 0], &[2, 1])];
    let named = json!({ "filter_logits_fn": "top_a", "min_p_ratio": 1.0 });
    let args = Args::new("generate", json!([{ "$tensor": 0 }, 1, named]), &start).unwrap();
    let mut generation = build(&plain()).generation("generate", &args).unwrap();
    let all = Tensor::constant(float(&[90.0, 0.0, 0.0, 0.0, 0.2, 0.1], &[2, 3]));
    assert_eq!(generation.accept(&all, false, &Rng::new(5, 5)).unwrap().unwrap(), [0, 1]);
}

#[test]
fn rows_and_calls_draw_independently_and_the_same_call_repeats() {
    let flat = [0.0; 4];
    let named = || json!({ "filter_thres": 0.0 });
    let (a, b) = (drawn(&flat, named(), false, 6), drawn(&flat, named(), false, 6));
    assert_eq!(a, b);
    assert_ne!(a, drawn(&flat, named(), false, 7));
    assert_frequencies(&a, &[0.25; 4]);
}

/// The probabilities of the tokens in `kept`, renormalised.
fn renormalise(kept: &[usize]) -> Vec<f64> {
    let mut all = vec![f64::NEG_INFINITY; 5];
    kept.iter().for_each(|i| all[*i] = logits()[*i]);
    softmax(&all, 1.0)
}

#[test]
fn top_k_tokens_keeps_that_many() {
    for (count, kept) in [
        (1, &[1][..]),
        (2, &[1, 4]),
        (3, &[1, 4, 2]),
        (5, &[0, 1, 2, 3, 4]),
        (50, &[0, 1, 2, 3, 4]),
    ] {
        assert_frequencies(
            &drawn(&logits(), json!({ "top_k_tokens": count }), false, 8),
            &renormalise(kept),
        );
    }
    // of equal tokens the first
    assert_frequencies(
        &drawn(&[1.0, 2.0, 1.0, 1.0], json!({ "top_k_tokens": 2, "temperature": 1e9 }), false, 8),
        &[0.5, 0.5, 0.0, 0.0],
    );
}

#[test]
fn nucleus_p_keeps_the_smallest_set_with_that_mass() {
    let cases = [
        (0.01, &[1][..]),
        (0.5, &[1]),
        (0.51, &[1, 4]),
        (0.75, &[1, 4]),
        (0.9, &[1, 4, 2]),
        (0.95, &[1, 4, 2, 0]),
        (1.0, &[0, 1, 2, 3, 4]),
    ];
    for (p, kept) in cases {
        assert_frequencies(
            &drawn(&logits(), json!({ "nucleus_p": p }), false, 9),
            &renormalise(kept),
        );
    }
}

#[test]
fn min_p_keeps_tokens_with_that_share_of_the_highest_probability() {
    for (p, kept) in [
        (1.0, &[1][..]),
        (0.5, &[1, 4]),
        (0.3, &[1, 4, 2]),
        (0.1, &[1, 4, 2, 0]),
        (0.0, &[0, 1, 2, 3, 4]),
    ] {
        assert_frequencies(&drawn(&logits(), json!({ "min_p": p }), false, 10), &renormalise(kept));
    }
}

#[test]
fn filters_with_plain_names_apply_one_after_the_other() {
    // three tokens of 0.5, 0.25, 0.15: the first two have 0.83 of the remaining mass
    assert_frequencies(
        &drawn(&logits(), json!({ "top_k_tokens": 3, "nucleus_p": 0.83 }), false, 11),
        &renormalise(&[1, 4]),
    );
    assert_frequencies(
        &drawn(&logits(), json!({ "top_k_tokens": 4, "min_p": 0.3 }), false, 11),
        &renormalise(&[1, 4, 2]),
    );
    // an explicit filter_logits_fn is applied first
    let named = json!({ "filter_logits_fn": "top_k", "filter_thres": 0.6, "min_p": 0.1 });
    assert_frequencies(&drawn(&logits(), named, false, 11), &renormalise(&[1, 4]));
    // they see the logits before the temperature, which then scales the tokens that are left
    let hot = drawn(&logits(), json!({ "nucleus_p": 0.75, "temperature": 2 }), false, 12);
    let mut all = vec![f64::NEG_INFINITY; 5];
    [1, 4].iter().for_each(|i| all[*i] = logits()[*i]);
    assert_frequencies(&hot, &softmax(&all, 2.0));
    // and are applied after a filter of the caller
    let mut own = logits();
    own[1] = f64::NEG_INFINITY;
    assert_frequencies(&drawn(&own, json!({ "top_k_tokens": 2 }), true, 13), &renormalise(&[4, 2]));
}

/// Ids by falling logit, ties in index order.
fn descending(row: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.sort_by(|a, b| row[*b].total_cmp(&row[*a]));
    order
}

#[test]
fn filters_of_large_vocabularies_equal_sorting() {
    // multiples of 0.5: many ties
    let row: Vec<f64> =
        Rng::new(2, 1).stream().normal(3000).into_iter().map(|x| (4.0 * x).round() / 2.0).collect();
    let logits = Tensor::constant(float(&row, &[1, 3000]));
    let (order, weights) = (descending(&row), softmax(&row, 1.0));
    let kept = |filtered: xt_core::Result<Tensor>| -> Vec<usize> {
        let values = crate::common::values(&filtered.unwrap());
        (0..3000).filter(|i| values[*i] > f64::NEG_INFINITY).collect()
    };
    let sorted = |count: usize| {
        let mut first = order[..count].to_vec();
        first.sort_unstable();
        first
    };
    for thres in [0.0, 0.1, 0.5, 0.9, 0.999] {
        let count = ((1.0 - thres) * 3000.0_f64).ceil() as usize;
        assert_eq!(
            kept(xt_core::generation::top_k(&logits, thres)),
            sorted(count),
            "top_k {thres}"
        );
        let mut before = 0.0;
        let mut count = 0;
        while count < 3000 && (count == 0 || before <= 1.0 - thres) {
            before += weights[order[count]];
            count += 1;
        }
        assert_eq!(
            kept(xt_core::generation::top_p(&logits, thres)),
            sorted(count),
            "top_p {thres}"
        );
    }
}

#[test]
fn infinite_logits_force_their_tokens_with_any_filter() {
    const INF: f64 = f64::INFINITY;
    let filters = [
        json!({}),
        json!({ "filter_thres": 0.0 }),
        json!({ "temperature": 0.0 }),
        json!({ "filter_logits_fn": "top_p" }),
        json!({ "filter_logits_fn": "top_a" }),
        json!({ "nucleus_p": 0.5 }),
        json!({ "min_p": 0.5 }),
        json!({ "repetition_penalty": 2.0 }),
    ];
    for (named, filtered) in
        filters.into_iter().flat_map(|named| [(named.clone(), true), (named, false)])
    {
        let counts = drawn(&[1.0, 3.0, INF, 2.0], named, filtered, 8);
        assert_eq!(counts, [0.0, 0.0, ROWS as f64, 0.0]);
    }
    // several forced tokens are equally likely
    let counts = drawn(&[INF, 3.0, INF, 2.0], json!({ "filter_thres": 0.0 }), false, 9);
    assert_frequencies(&counts, &[0.5, 0.0, 0.5, 0.0]);
}
