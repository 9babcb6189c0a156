//! With `cache_kv` each step gives the logits that it gives without.

use crate::case::Case;
use crate::choices::{self, calls, Choice};
use crate::common::{call_numbered, float, ids, normal, values};
use crate::draw::{config, some, Options};
use crate::inputs::Inputs;
use crate::losses::{around, pair, pairs, vector_models, vectors};
use crate::run::{flat, to_f64};
use crate::wrappers::{emb_dim, transformer};
use proptest::prelude::*;
use serde_json::{json, Value as Json};
use xt_autograd::ops;
use xt_core::{Args, Ctx, DType, Rng, Tensor};

const PROMPT: usize = 3;
/// `max_seq_len`.
const WINDOW: usize = 12;
/// Some of them beyond the window.
const NEW: usize = 11;

/// Logits that choose a token which no row has yet: equal tokens would have equal scores, and
/// rounding would decide which of them a sparse top k keeps.
fn unused(rows: usize, step: usize) -> Tensor {
    let favoured = |row: usize| {
        (0..17).map(move |token| f64::from(u8::from(token == PROMPT + step + row % 2)))
    };
    let all: Vec<f64> = (0..rows).flat_map(favoured).collect();
    Tensor::constant(float(&all, &[rows, 17]))
}

/// Logits that make beams of equal prompts change places, and drop the worse one.
fn shuffling(rows: usize, step: usize) -> Tensor {
    normal(&[rows, 17], step as u64)
}

/// The logits of every step.
fn steps(
    case: &Case,
    mut inputs: Inputs,
    positional: usize,
    beams: usize,
    cache_kv: bool,
) -> Vec<Vec<f64>> {
    inputs.flag("cache_kv", json!(cache_kv));
    inputs.flag("temperature", json!(0.0));
    inputs.flag("num_beams", json!(beams));
    let choose = if beams > 1 { shuffling } else { unused };
    let mut args: Vec<Json> = (0..positional).map(|i| json!({ "$tensor": i })).collect();
    args.extend([json!(NEW), inputs.named()]);
    let args = Args::new("generate", json!(args), &inputs.tensors).unwrap();
    let mut generation = case.model.generation("generate", &args).unwrap_or_else(|e| panic!("{e}"));
    let (rng, never_aborted) = (Rng::new(1, 1), || false);
    let mut all = vec![];
    while !generation.done() {
        let logits = generation
            .logits(&Ctx::new(&rng, &never_aborted))
            .unwrap_or_else(|e| panic!("step {}: {e}", all.len()));
        all.push(values(&logits));
        let columns = inputs.tensors[positional - 1].dim(1) + all.len() - 1;
        let expected =
            cache_kv && columns <= WINDOW && case.model.describe()["not_cacheable"].is_null();
        assert_eq!(generation.is_cached(), expected, "behind {columns} columns");
        generation.accept(&choose(logits.dim(0), all.len() - 1), true, &rng).unwrap();
    }
    all
}

#[track_caller]
fn near(got: &[f64], want: &[f64], what: &str) {
    let most = want.iter().fold(0.01_f64, |m, x| m.max(x.abs()));
    let off = got.iter().zip(want).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()));
    assert!(
        got.len() == want.len() && off <= 1e-4 * most.max(1.0),
        "{what}: {off} apart, of {most}"
    );
}

fn agree(case: &Case, inputs: &Inputs, positional: usize, beams: usize) {
    // beams of one prompt share tokens, which have equal scores
    let beams = if is_sparse(case) { 1 } else { beams };
    let plain = steps(case, inputs.clone(), positional, beams, false);
    let kept = steps(case, inputs.clone(), positional, beams, true);
    assert_eq!((plain.len(), kept.len()), (NEW, NEW));
    for (step, (got, want)) in kept.iter().zip(&plain).enumerate() {
        near(got, want, &format!("step {step}"));
    }
}

/// Models with layers of a class.
fn over(class: &'static str, choices: Vec<Choice>) -> impl Strategy<Value = Case> {
    let make = move |(layers, net, call): (Options, Options, Options)| {
        Case::new(
            around("AutoregressiveWrapper", transformer(class, layers, net), Options::new()),
            call,
        )
    };
    let call = calls(&["mask", "context_mask", "mems", "prepend_embeds", "self_attn_context_mask"]);
    (some(choices, 7), some(choices::transformer(), 3), some(call, 3)).prop_map(make)
}

/// Most of these cannot be cached; feed-forwards and cross attentions alone can.
fn encoders() -> impl Strategy<Value = Case> {
    let orders =
        [json!(["f", "f"]), json!(["c", "f"])].map(|order| ("custom_layers".into(), order));
    let only = [("cross_attend".into(), json!(true)), ("only_cross".into(), json!(true))];
    over("Encoder", [&choices::layers()[..], &orders, &only].concat())
}

fn prompt(case: &Case) -> Inputs {
    let mut inputs = Inputs::new(vec![ids(&[0, 1, 2, 2, 0, 1], &[2, PROMPT])], dtype(case));
    inputs.add_call(case, PROMPT, emb_dim(case));
    inputs
}

/// In f32 two scores are often so close that rounding decides which of them a sparse top k keeps.
fn dtype(case: &Case) -> DType {
    if is_sparse(case) {
        to_f64(case);
        return DType::F64;
    }
    DType::F32
}

fn is_sparse(case: &Case) -> bool {
    let names = ["attn_sparse_topk", "dec_attn_sparse_topk", "enc_attn_sparse_topk"];
    names.iter().any(|name| case.option(name).is_some())
}

/// Generates `count` vectors after `prompt`, which replaces the first input.
fn generate_vectors(
    case: &Case,
    mut inputs: Inputs,
    prompt: Tensor,
    count: usize,
    cache_kv: bool,
) -> Tensor {
    inputs.tensors[0] = prompt;
    inputs.flag("cache_kv", json!(cache_kv));
    let args = json!([{ "$tensor": 0 }, count, inputs.named()]);
    flat(call_numbered(&case.model, "generate", args, &inputs.tensors, 2).unwrap()).swap_remove(0)
}

/// Generated vectors are inputs of the next step, so rounding errors grow. Each cached step gets
/// the vectors that the uncached model generated.
fn agree_step_by_step(case: &Case, inputs: &Inputs) {
    let mut all = inputs.tensors[0].clone();
    for step in 0..NEW {
        let next =
            |count, cache_kv| generate_vectors(case, inputs.clone(), all.clone(), count, cache_kv);
        // the first vector follows from the prompt, the second one from the cache
        let (got, want) = (next(2, true), next(2, false));
        near(&values(&got), &values(&want), &format!("behind {} vectors", PROMPT + step));
        all = ops::cat(&[&all, &ops::narrow(&want, 1, 0, 1).unwrap()], 1).unwrap();
    }
}

proptest! {
    #![proptest_config(config(500))]

    #[test]
    fn decoders_over_tokens(case in over("Decoder", choices::layers()), beams in 1_usize..4) {
        agree(&case, &prompt(&case), 1, beams);
    }

    #[test]
    fn encoders_over_tokens(case in encoders(), beams in 1_usize..3) {
        agree(&case, &prompt(&case), 1, beams);
    }

    #[test]
    fn encoders_with_decoders(case in pairs(), beams in 1_usize..4) {
        let mut inputs = pair(&case, dtype(&case));
        inputs.tensors[1] = ids(&[0, 1, 1, 0], &[2, 2]);
        agree(&case, &inputs, 2, beams);
    }

    #[test]
    fn decoders_over_continuous_values(case in vector_models(), prepended in any::<bool>()) {
        let mut start = case.clone();
        start.call.retain(|name, _| ["context_mask", "mems"].contains(&name.as_str()));
        if prepended {
            start.call.insert("prepend_embeds".into(), json!(true));
        }
        agree_step_by_step(&start, &vectors(&start, dtype(&start), PROMPT, PROMPT));
        // in f64 rounding errors stay small even over all steps
        to_f64(&start);
        let inputs = vectors(&start, DType::F64, PROMPT, PROMPT);
        let [got, want] = [true, false].map(|kept| {
            generate_vectors(&start, inputs.clone(), inputs.tensors[0].clone(), NEW, kept)
        });
        near(&values(&got), &values(&want), "all steps");
    }
}
