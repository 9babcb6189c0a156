//! Beam search.

use crate::common::{
    autoregressive, build, call_numbered, float, gpt, ids, spec, tensor, tokens, values, with,
};
use serde_json::{json, Value as Json};
use xt_core::{Args, Model, Rng, Tensor, Value};

/// A model over four tokens: few enough to enumerate all sequences.
fn small() -> std::sync::Arc<Model> {
    build(&autoregressive(gpt(json!({}), json!({ "num_tokens": 4 })), json!({ "pad_value": 0 })))
}

fn generate(model: &Model, start: &Tensor, count: usize, named: Json) -> Vec<Vec<i64>> {
    let args = json!([{ "$tensor": 0 }, count, named]);
    let got =
        tensor(call_numbered(model, "generate", args, std::slice::from_ref(start), 1).unwrap());
    let width = got.dim(got.rank() - 1);
    values(&got).chunks_exact(width).map(|row| row.iter().map(|t| *t as i64).collect()).collect()
}

/// The log-probability of `new` after `prompt`, by the model's own score.
fn log_probability(model: &Model, prompt: &[i64], new: &[i64]) -> f64 {
    let all = [prompt, new].concat();
    let x = ids(&all, &[1, all.len()]);
    let Value::Fields(fields) =
        call_numbered(model, "score", json!([{ "$tensor": 0 }]), &[x], 1).unwrap()
    else {
        panic!("a score has fields");
    };
    let (_, Value::Tensor(log_probs)) = &fields[0] else { panic!("the first one is a tensor") };
    values(log_probs)[prompt.len() - 1..].iter().sum()
}

/// All sequences of `count` tokens, or fewer where `end` is the last one, by falling score. No two
/// are expected to have the same score.
fn ranked(
    model: &Model,
    prompt: &[i64],
    count: usize,
    end: Option<i64>,
    penalty: f64,
) -> Vec<Vec<i64>> {
    let mut open: Vec<Vec<i64>> = vec![vec![]];
    let mut all = vec![];
    for length in 1..=count {
        let longer =
            open.iter().flat_map(|row| (0..4).map(move |t| [row.as_slice(), &[t]].concat()));
        let (ended, rest): (Vec<_>, Vec<_>) =
            longer.partition(|row| length == count || row.last().copied() == end);
        all.extend(ended);
        open = rest;
    }
    let score =
        |row: &Vec<i64>| log_probability(model, prompt, row) / (row.len() as f64).powf(penalty);
    let mut scored: Vec<(f64, Vec<i64>)> = all.into_iter().map(|row| (score(&row), row)).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.into_iter().map(|(_, row)| row).collect()
}

#[test]
fn num_beams_that_cover_all_sequences_find_the_best() {
    let model = small();
    for prompt in [&[1, 0][..], &[1]] {
        let start = ids(prompt, &[1, prompt.len()]);
        for (end, penalty) in
            [(None, 1.0), (Some(2), 0.0), (Some(2), 1.0), (Some(2), -1.0), (Some(3), 3.0)]
        {
            let named = json!({
                "num_beams": 64, "num_return_sequences": 5, "eos_token": end, "length_penalty": penalty,
            });
            let mut want = ranked(&model, prompt, 3, end, penalty);
            want.truncate(5);
            let longest = want.iter().map(Vec::len).max().unwrap();
            want.iter_mut().for_each(|row| row.resize(longest, 0));
            assert_eq!(generate(&model, &start, 3, named), want, "{prompt:?} {end:?} {penalty}");
        }
    }
}

#[test]
fn length_penalty_decides_between_short_and_long() {
    let model = small();
    let start = ids(&[1, 0], &[1, 2]);
    let length = |penalty: f64| {
        let named = json!({ "num_beams": 64, "eos_token": 2, "length_penalty": penalty });
        let row = &generate(&model, &start, 3, named)[0];
        row.iter().position(|t| *t == 2).map_or(row.len(), |end| end + 1)
    };
    assert!(length(5.0) > length(-5.0), "{} and {}", length(5.0), length(-5.0));
}

/// Runs three steps of two beams over three tokens with logits computed from a row's last token.
fn steered(end: Option<i64>, logits: impl Fn(&[i64]) -> [f64; 3]) -> Vec<f64> {
    let model = build(&autoregressive(
        gpt(json!({}), json!({ "num_tokens": 3 })),
        json!({ "pad_value": 9 }),
    ));
    let start = [ids(&[0], &[1, 1])];
    let named = json!({ "num_beams": 2, "length_penalty": 0, "eos_token": end });
    let args = Args::new("generate", json!([{ "$tensor": 0 }, 3, named]), &start).unwrap();
    let mut generation = model.generation("generate", &args).unwrap();
    // the last tokens of the open beams: empty at first
    let mut last = vec![vec![], vec![]];
    while !generation.done() {
        let all: Vec<f64> =
            last.iter().flat_map(|row: &Vec<i64>| logits(row).map(f64::ln)).collect();
        let all = Tensor::constant(float(&all, &[2, 3]));
        let tokens = generation.accept(&all, false, &Rng::new(1, 1)).unwrap().unwrap();
        // the logits of this test depend on the last token only
        last = tokens.into_iter().map(|token| vec![token]).collect();
    }
    values(&generation.tokens().unwrap())
}

#[test]
fn beams_find_a_better_sequence_than_greedy_search() {
    // 0 is likelier at first (0.6), but its successors are uniform; after 1 (0.4) the next is
    // certain
    let logits = |row: &[i64]| match row.last() {
        None => [0.6, 0.4, 0.0],
        Some(0) => [0.34, 0.33, 0.33],
        _ => [0.0, 1.0, 0.0],
    };
    assert_eq!(steered(None, logits), [1.0, 1.0, 1.0]);
}

#[test]
fn finished_beams_wait_for_better_open_ones() {
    // ending at once (2) has 0.45; 1, 1, 1 has 0.55
    let logits = |row: &[i64]| match row.last() {
        None => [0.0, 0.55, 0.45],
        _ => [0.0, 1.0, 0.0],
    };
    assert_eq!(steered(Some(2), logits), [1.0, 1.0, 1.0]);
    let logits = |row: &[i64]| match row.last() {
        None => [0.0, 0.4, 0.6],
        _ => [0.0, 1.0, 0.0],
    };
    assert_eq!(steered(Some(2), logits), [2.0], "nothing comes behind the end");
}

#[test]
fn beams_of_a_batch_are_those_of_each_prompt_alone() {
    let model = small();
    let named = || json!({ "num_beams": 3, "num_return_sequences": 2, "eos_token": [2, 3] });
    let all = generate(&model, &ids(&[0, 1, 1, 1], &[2, 2]), 6, named());
    let mut each = generate(&model, &ids(&[0, 1], &[1, 2]), 6, named());
    each.extend(generate(&model, &ids(&[1, 1], &[1, 2]), 6, named()));
    let longest = each.iter().map(Vec::len).max().unwrap();
    each.iter_mut().for_each(|row| row.resize(longest, 0));
    assert_eq!(all, each);
}

#[test]
fn a_prompt_that_contains_the_end_token_generates_only_padding() {
    let model = small();
    let named = || json!({ "num_beams": 2, "eos_token": 2 });
    assert_eq!(generate(&model, &ids(&[2, 1], &[1, 2]), 6, named()), [[0]]);
    let both = generate(&model, &ids(&[2, 1, 1, 1], &[2, 2]), 6, named());
    assert!(both[0].iter().all(|token| *token == 0) && both.len() == 2, "{both:?}");
    assert_eq!(both[1], generate(&model, &ids(&[1, 1], &[1, 2]), 6, named())[0]);
}

#[test]
fn more_beams_than_tokens_are_allowed() {
    let model = build(&autoregressive(gpt(json!({}), json!({ "num_tokens": 1 })), json!({})));
    let named = json!({ "num_beams": 4, "num_return_sequences": 1 });
    assert_eq!(generate(&model, &ids(&[0], &[1, 1]), 3, named), [[0, 0, 0]]);
}

#[test]
fn more_sequences_than_exist_are_an_error() {
    let model = build(&autoregressive(gpt(json!({}), json!({ "num_tokens": 4 })), json!({})));
    let named = |count: usize| json!({ "num_beams": 8, "num_return_sequences": count });
    let run = |length: usize, count| {
        let args = json!([{ "$tensor": 0 }, length, named(count)]);
        call_numbered(&model, "generate", args, &[ids(&[1], &[1, 1])], 1).map(tensor)
    };
    let tokens = values(&run(1, 4).unwrap());
    assert_eq!(
        tokens.iter().map(|x| *x as i64).collect::<std::collections::BTreeSet<_>>().len(),
        4
    );
    let text = run(1, 6).unwrap_err().to_string();
    assert!(text.contains("there are only 4 different sequences for prompt 0"), "{text}");
    assert_eq!(run(2, 6).unwrap().dims(), [6, 2]);
    // with no new tokens all sequences are the same
    assert_eq!(run(0, 6).unwrap().dims(), [6, 0]);
}

#[test]
fn infinite_logits_force_their_tokens_on_beams() {
    // 1 (0.6) leads to 2, which leads to itself; scores stay finite, so the larger one wins
    let logits = |row: &[i64]| match row.last() {
        None => [0.4, 0.6, 0.0],
        Some(2) => [0.7, f64::INFINITY, 0.2],
        _ => [0.7, 0.1, f64::INFINITY],
    };
    assert_eq!(steered(None, logits), [1.0, 2.0, 1.0]);
    assert_eq!(steered(Some(2), logits), [1.0, 2.0]);
    // two forced tokens share the probability: 0, 1 and one of them has 0.2, less than 1, 0, 1 with
    // 0.3
    let logits = |row: &[i64]| match row.last() {
        None => [0.4, 0.6, 0.0],
        Some(1) => [f64::INFINITY, 0.0, f64::INFINITY],
        _ => [0.0, 1.0, 0.0],
    };
    assert_eq!(steered(None, logits), [1.0, 0.0, 1.0]);
}

#[test]
fn beams_with_an_encoder_and_memory_tokens() {
    let half = |name: &str| {
        json!({ format!("{name}_num_tokens"): 17, format!("{name}_max_seq_len"): 12, format!("{name}_depth"): 1,
                format!("{name}_heads"): 2, format!("{name}_attn_dim_head"): 8 })
    };
    let options =
        with(with(json!({ "dim": 16, "enc_num_memory_tokens": 2 }), half("enc")), half("dec"));
    let model = build(&spec("XTransformer", options));
    let run = |rows: usize, named: Json| {
        let inputs = [tokens(rows, 5, 1), ids(&vec![1; rows], &[rows, 1])];
        values(&tensor(
            call_numbered(
                &model,
                "generate",
                json!([{ "$tensor": 0 }, { "$tensor": 1 }, 6, named]),
                &inputs,
                1,
            )
            .unwrap(),
        ))
    };
    let one = run(1, json!({ "num_beams": 3 }));
    assert_eq!(run(2, json!({ "num_beams": 3 }))[..6], one);
    assert_eq!(run(1, json!({ "num_return_sequences": 2, "top_k_tokens": 1 })).len(), 12);
}
