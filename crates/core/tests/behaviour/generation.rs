//! Generation: the input of each step, and when it ends.

use crate::common::{
    array_values, autoregressive, build, call_numbered, float, forward, gpt, ids, normal, plain,
    tensor, tokens, values, with,
};
use serde_json::{json, Value as Json};
use std::sync::atomic::{AtomicUsize, Ordering};
use xt_core::{Args, Ctx, Model, Result, Rng, Tensor};

fn generate(model: &Model, start: &Tensor, count: usize, named: Json) -> Result<Tensor> {
    let args = json!([{ "$tensor": 0 }, count, named]);
    call_numbered(model, "generate", args, std::slice::from_ref(start), 1).map(tensor)
}

/// Greedy next tokens of every row by plain forwards of the net over the last `window` tokens.
fn repeated_argmax(net: &Model, start: &Tensor, count: usize, window: usize) -> Vec<f64> {
    let n = start.dim(1);
    let mut rows: Vec<Vec<i64>> =
        values(start).chunks_exact(n).map(|row| row.iter().map(|t| *t as i64).collect()).collect();
    for _ in 0..count {
        let seen = rows[0].len().min(window);
        let x: Vec<i64> = rows.iter().flat_map(|row| row[row.len() - seen..].to_vec()).collect();
        let logits = values(&forward(net, &ids(&x, &[rows.len(), seen])));
        for (row, logits) in rows.iter_mut().zip(logits.chunks_exact(seen * 17)) {
            let last = &logits[(seen - 1) * 17..];
            row.push((0..17).fold(0, |best, i| if last[i] > last[best] { i } else { best }) as i64);
        }
    }
    rows.iter().flat_map(|row| row[n..].iter().map(|t| *t as f64)).collect()
}

#[test]
fn greedy_generation_repeats_the_argmax_even_beyond_the_window() {
    for layers in [json!({}), json!({ "rotary_pos_emb": true }), json!({ "pre_norm": false })] {
        let (net, model) = (
            build(&gpt(layers.clone(), json!({}))),
            build(&autoregressive(gpt(layers, json!({})), json!({}))),
        );
        let state: Vec<_> = net
            .entries()
            .iter()
            .map(|e| (format!("net.{}", e.name), e.param.values().unwrap()))
            .collect();
        model.load_state(&state, true).unwrap();
        net.train(false);
        for n in [1, 5, 12, 15] {
            let start = tokens(2, n, n as u64);
            let want = repeated_argmax(&net, &start, 14, 12);
            let greedy = [
                json!({ "temperature": 0.0 }),
                json!({ "filter_thres": 0.95 }), // one of 17 is left
                json!({ "temperature": 0.0, "filter_logits_fn": "top_p" }),
                json!({ "filter_thres": 1.0, "filter_logits_fn": "top_p" }),
            ];
            for named in greedy {
                let got = generate(&model, &start, 14, named.clone()).unwrap();
                assert_eq!(got.dims(), [2, 14]);
                assert_eq!(values(&got), want, "prompt of {n}, {named}");
            }
        }
    }
}

#[test]
fn a_prompt_without_a_batch_axis_gives_tokens_without_one() {
    let model = build(&plain());
    let greedy = json!({ "temperature": 0.0 });
    let flat = generate(&model, &ids(&[1, 2, 3], &[3]), 5, greedy.clone()).unwrap();
    let batched = generate(&model, &ids(&[1, 2, 3], &[1, 3]), 5, greedy.clone()).unwrap();
    assert_eq!((flat.dims(), batched.dims()), ([5].as_slice(), [1, 5].as_slice()));
    assert_eq!(values(&flat), values(&batched));
    assert_eq!(generate(&model, &ids(&[1], &[1]), 0, greedy).unwrap().dims(), [0]);
}

#[test]
fn a_prompt_mask_grows_with_the_tokens_and_slides_with_the_window() {
    let model = build(&plain());
    let hidden = crate::common::mask(&[0, 0, 1, 1, 1], &[1, 5]);
    let run = |start: &[i64], with_mask: bool| {
        let named = if with_mask {
            json!({ "temperature": 0.0, "mask": { "$tensor": 1 } })
        } else {
            json!({ "temperature": 0.0 })
        };
        let inputs = [ids(start, &[1, 5]), hidden.clone()];
        values(&tensor(
            call_numbered(&model, "generate", json!([{ "$tensor": 0 }, 12, named]), &inputs, 1)
                .unwrap(),
        ))
    };
    assert_eq!(run(&[1, 2, 3, 4, 5], true), run(&[9, 8, 3, 4, 5], true));
    let wrong = [ids(&[1, 2, 3], &[1, 3]), hidden.clone()];
    let args = json!([{ "$tensor": 0 }, 2, { "mask": { "$tensor": 1 } }]);
    let error = call_numbered(&model, "generate", args, &wrong, 1).err().unwrap().to_string();
    assert!(error.contains("mask must be bool of shape [1, 3]"), "{error}");
}

/// Runs a generation with given logits: `wanted[step][row]` is the likeliest token.
fn steered(prompt: &[i64], rows: usize, eos: Json, wanted: &[&[i64]]) -> (usize, Vec<f64>) {
    steered_with(prompt, rows, json!({ "eos_token": eos }), wanted)
}

/// The same with further options.
fn steered_with(
    prompt: &[i64],
    rows: usize,
    options: Json,
    wanted: &[&[i64]],
) -> (usize, Vec<f64>) {
    let model = build(&autoregressive(gpt(json!({}), json!({})), json!({ "pad_value": 13 })));
    let named = with(json!({ "temperature": 0.0 }), options);
    let start = [ids(prompt, &[rows, prompt.len() / rows])];
    let args =
        Args::new("generate", json!([{ "$tensor": 0 }, wanted.len(), named]), &start).unwrap();
    let mut generation = model.generation("generate", &args).unwrap();
    let mut steps = 0;
    for step in wanted {
        let hot = |token: &i64| (0..17).map(move |i| f64::from(i == *token)).collect::<Vec<_>>();
        let logits =
            Tensor::constant(float(&step.iter().flat_map(hot).collect::<Vec<_>>(), &[rows, 17]));
        match generation.accept(&logits, false, &Rng::new(1, 1)).unwrap() {
            Some(tokens) => assert_eq!(tokens.len(), rows),
            None => break,
        }
        steps += 1;
    }
    (steps, values(&generation.tokens().unwrap()))
}

#[test]
fn generation_ends_once_every_row_has_an_eos_token_and_pads_what_follows() {
    // prompts, rows, end tokens, tokens by step; number of steps, final tokens (13 is the padding)
    type Ending<'a> = (&'a [i64], usize, Json, &'a [&'a [i64]], usize, &'a [f64]);
    let cases: [Ending; 7] = [
        (&[1], 1, json!(4), &[&[5], &[4], &[6]], 2, &[5.0, 4.0]),
        (&[1, 1], 2, json!(4), &[&[5, 4], &[4, 7], &[6, 6]], 2, &[5.0, 4.0, 4.0, 13.0]),
        (&[1, 1], 2, json!(4), &[&[4, 5], &[7, 5], &[8, 4]], 3, &[4.0, 13.0, 13.0, 5.0, 5.0, 4.0]),
        // an end token in the prompt counts, and all new tokens are padding
        (&[4, 1, 1, 2], 2, json!(4), &[&[5, 6], &[7, 4], &[8, 8]], 2, &[13.0, 13.0, 6.0, 4.0]),
        // not all rows end: those that do are padded
        (&[1, 1], 2, json!(4), &[&[4, 5], &[7, 6]], 2, &[4.0, 13.0, 5.0, 6.0]),
        (&[1, 1], 2, json!([4, 6]), &[&[4, 5], &[7, 6], &[8, 8]], 2, &[4.0, 13.0, 5.0, 6.0]),
        (&[1, 6, 1, 1], 2, json!([4, 6]), &[&[4, 5], &[7, 4]], 2, &[13.0, 13.0, 5.0, 4.0]),
    ];
    for (prompt, rows, eos, wanted, steps, tokens) in cases {
        assert_eq!(
            steered(prompt, rows, eos, wanted),
            (steps, tokens.to_vec()),
            "{prompt:?} {wanted:?}"
        );
    }
}

/// With beams, a prompt that has ended gets padding alone.
#[test]
fn eos_in_prompt_tells_whether_an_end_token_in_a_prompt_ends_its_row() {
    let options = |on: bool| json!({ "eos_token": 4, "eos_in_prompt": on });
    let run = |on| steered_with(&[4, 1, 1, 2], 2, options(on), &[&[5, 6], &[7, 4], &[4, 8]]);
    assert_eq!(run(true), (2, vec![13.0, 13.0, 6.0, 4.0]));
    assert_eq!(run(false), (3, vec![5.0, 7.0, 4.0, 6.0, 4.0, 13.0]));
    let model = build(&autoregressive(gpt(json!({}), json!({})), json!({ "pad_value": 13 })));
    let start = ids(&[4, 1], &[1, 2]);
    let searched = |on| {
        let named = with(options(on), json!({ "num_beams": 2 }));
        let args = json!([{ "$tensor": 0 }, 3, named]);
        let got = call_numbered(&model, "generate", args, std::slice::from_ref(&start), 1).unwrap();
        values(&tensor(got))
    };
    assert!(searched(true).iter().all(|token| *token == 13.0));
    assert!(searched(false).iter().any(|token| *token != 13.0));
}

#[test]
fn an_abort_ends_generation_between_steps() {
    let model = build(&plain());
    let polls = AtomicUsize::new(0);
    let aborted = || polls.fetch_add(1, Ordering::Relaxed) > 20;
    let (rng, start) = (Rng::new(1, 1), [ids(&[1], &[1])]);
    let args = Args::new("generate", json!([{ "$tensor": 0 }, 1000]), &start).unwrap();
    let error = model.call("generate", &args, &Ctx::new(&rng, &aborted)).err().unwrap();
    assert_eq!(error.code(), "aborted");
    let x = [tokens(1, 5, 1)];
    let args = Args::new("forward", json!([{ "$tensor": 0 }]), &x).unwrap();
    assert_eq!(
        model.call("forward", &args, &Ctx::new(&rng, &|| true)).err().unwrap().code(),
        "aborted"
    );
}

#[test]
fn generated_logits_have_no_graph_and_add_no_gradient() {
    let model = build(&plain());
    let start = [ids(&[1], &[1])];
    let mut generation = model
        .generation(
            "generate",
            &Args::new("generate", json!([{ "$tensor": 0 }, 3]), &start).unwrap(),
        )
        .unwrap();
    let rng = Rng::new(1, 1);
    assert!(!generation.logits(&Ctx::new(&rng, &|| false)).unwrap().requires_grad());
    generate(&model, &start[0], 3, json!({})).unwrap();
    assert!(model.entries().iter().all(|e| e.param.leaf().grad().unwrap().is_none()));
}

#[test]
fn invalid_prompts_and_logits_are_errors() {
    let model = build(&plain());
    let cases = [
        (normal(&[1, 3], 1), "i64"),
        (ids(&[], &[1, 0]), "at least one token"),
        (ids(&[1], &[1, 1, 1]), "start_tokens"),
        (ids(&[17], &[1]), "token id 17 at [0] is not in the vocabulary"),
        (ids(&[-1], &[1]), "token id -1 at [0] is not in the vocabulary"),
    ];
    for (start, words) in cases {
        let message = generate(&model, &start, 2, json!({})).err().unwrap().to_string();
        assert!(message.contains(words), "`{words}` is not in: {message}");
    }
    let start = [ids(&[1], &[1])];
    let args = Args::new("generate", json!([{ "$tensor": 0 }, 3]), &start).unwrap();
    let mut generation = model.generation("generate", &args).unwrap();
    let nan = Tensor::constant(float(&[f64::NAN; 17], &[1, 17]));
    for (logits, words) in [
        (nan, "NaN"),
        (normal(&[2, 17], 1), "(1, num_tokens)"),
        (normal(&[17], 1), "(1, num_tokens)"),
    ] {
        let message = generation.accept(&logits, false, &Rng::new(1, 1)).unwrap_err().to_string();
        assert!(message.contains(words), "`{words}` is not in: {message}");
    }
    assert_eq!(
        array_values(&generation.tokens().unwrap().array().unwrap()).len(),
        0,
        "nothing was taken"
    );
}

#[test]
fn num_return_sequences_are_grouped_by_prompt() {
    let model = build(&plain());
    let flat =
        generate(&model, &ids(&[1, 2, 3], &[3]), 5, json!({ "num_return_sequences": 3 })).unwrap();
    assert_eq!(flat.dims(), [3, 5]);
    // one token of 17 is left: all sequences of a prompt are its greedy one
    let named = json!({ "num_return_sequences": 2, "filter_thres": 0.95 });
    let start = tokens(3, 4, 2);
    let got = values(&generate(&model, &start, 5, named).unwrap());
    let greedy = values(&generate(&model, &start, 5, json!({ "temperature": 0 })).unwrap());
    let want: Vec<f64> = greedy.chunks_exact(5).flat_map(|row| [row, row].concat()).collect();
    assert_eq!(got, want);
    // sampled sequences differ
    let drawn = values(
        &generate(&model, &start, 9, json!({ "num_return_sequences": 2, "filter_thres": 0 }))
            .unwrap(),
    );
    assert!(drawn.chunks_exact(18).all(|pair| pair[..9] != pair[9..]));
}

#[test]
fn repetition_penalty_makes_tokens_of_prompt_and_result_less_likely() {
    let model = build(&plain());
    let start = [ids(&[3, 3, 5, 0, 0, 7], &[2, 3])];
    let logits = |named: Json| {
        let args = Args::new("generate", json!([{ "$tensor": 0 }, 3, named]), &start).unwrap();
        let mut generation = model.generation("generate", &args).unwrap();
        let rng = Rng::new(1, 1);
        let ctx = Ctx::new(&rng, &|| false);
        let first = values(&generation.logits(&ctx).unwrap());
        // token 9, then token 1
        let hot = |token: usize| (0..17).map(move |i| f64::from(i == token));
        let hot: Vec<f64> = hot(9).chain(hot(1)).collect();
        let forced = Tensor::constant(float(&hot, &[2, 17]));
        generation.accept(&forced, true, &rng).unwrap();
        (first, values(&generation.logits(&ctx).unwrap()))
    };
    let greedy = |penalty: f64| json!({ "temperature": 0, "repetition_penalty": penalty });
    let (plain, penalised) = (logits(greedy(1.0)), logits(greedy(2.0)));
    let less = |logits: &[f64], seen: &[&[usize]]| -> Vec<f64> {
        let penalty = |(i, x): (usize, &f64)| match seen[i / 17].contains(&(i % 17)) {
            true if *x > 0.0 => x / 2.0,
            true => x * 2.0,
            false => *x,
        };
        logits.iter().enumerate().map(penalty).collect()
    };
    crate::common::close(&penalised.0, &less(&plain.0, &[&[3, 5], &[0, 7]]), 1e-6);
    crate::common::close(&penalised.1, &less(&plain.1, &[&[3, 5, 9], &[0, 7, 1]]), 1e-6);
}

#[test]
fn seed_makes_a_call_repeatable_whatever_was_drawn_before() {
    let model = build(&plain());
    let start = [tokens(2, 3, 1)];
    let draw = |seed: Json, number: u64| {
        let named = json!({ "filter_thres": 0, "seed": seed });
        values(&tensor(
            call_numbered(&model, "generate", json!([{ "$tensor": 0 }, 12, named]), &start, number)
                .unwrap(),
        ))
    };
    assert_eq!(draw(json!(7), 1), draw(json!(7), 2));
    assert_ne!(draw(json!(7), 1), draw(json!(8), 1));
    assert_ne!(draw(json!(null), 1), draw(json!(null), 2));
    assert_eq!(
        draw(json!(9_007_199_254_740_991_u64), 1),
        draw(json!(9_007_199_254_740_991_u64), 5)
    );
}

#[test]
fn sequences_that_exceed_memory_are_an_error_before_they_start() {
    let model = build(&plain());
    let start = tokens(2, 3, 1);
    for named in [
        json!({ "num_return_sequences": 1e12 }),
        json!({ "num_beams": 1e12 }),
        json!({ "num_beams": 8e15 }),
    ] {
        let error = generate(&model, &start, 3, named.clone()).err().unwrap();
        assert_eq!(error.code(), "out_of_memory", "{named}: {error}");
    }
}
