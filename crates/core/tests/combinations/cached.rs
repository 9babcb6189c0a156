//! With kept keys and values each step gives the logits that it gives without.

use crate::case::Case;
use crate::choices::{self, calls};
use crate::common::{call_numbered, float, ids, values};
use crate::draw::{config, some, Options};
use crate::inputs::Inputs;
use crate::losses::{around, pair, pairs, vector_models, vectors};
use crate::run::{flat, to_f64};
use crate::wrappers::{emb_dim, transformer};
use proptest::prelude::*;
use serde_json::{json, Value as Json};
use xt_core::{Args, Ctx, DType, Rng, Tensor};

const PROMPT: usize = 3;
/// `max_seq_len`.
const WINDOW: usize = 12;
/// Some of them beyond the window.
const NEW: usize = 11;

/// Logits that choose a token which no row has yet: where two tokens are the same, scores tie, and rounding would decide which of them
/// a sparse top k keeps.
fn unused(rows: usize, step: usize) -> Tensor {
    let favoured = |row: usize| (0..17).map(move |token| f64::from(u8::from(token == PROMPT + step + row % 2)));
    let all: Vec<f64> = (0..rows).flat_map(favoured).collect();
    Tensor::constant(float(&all, &[rows, 17]))
}

/// The logits of every step.
fn steps(case: &Case, mut inputs: Inputs, positional: usize, cache_kv: bool) -> Vec<Vec<f64>> {
    inputs.flag("cache_kv", json!(cache_kv));
    inputs.flag("temperature", json!(0.0));
    let mut args: Vec<Json> = (0..positional).map(|i| json!({ "$tensor": i })).collect();
    args.extend([json!(NEW), inputs.named()]);
    let args = Args::new("generate", json!(args), &inputs.tensors).unwrap();
    let mut generation = case.model.generation("generate", &args).unwrap_or_else(|e| panic!("{e}"));
    let (rng, go_on) = (Rng::new(1, 1), || false);
    let mut all = vec![];
    while !generation.done() {
        let logits = generation.logits(&Ctx::new(&rng, &go_on)).unwrap_or_else(|e| panic!("step {}: {e}", all.len()));
        all.push(values(&logits));
        let columns = inputs.tensors[positional - 1].dim(1) + all.len() - 1;
        let expected = cache_kv && columns <= WINDOW && case.model.describe()["not_cacheable"].is_null();
        assert_eq!(generation.is_cached(), expected, "behind {columns} columns");
        generation.accept(&unused(logits.dim(0), all.len() - 1), true, &rng).unwrap();
    }
    all
}

#[track_caller]
fn near(got: &[f64], want: &[f64], what: &str) {
    let most = want.iter().fold(0.01_f64, |m, x| m.max(x.abs()));
    let off = got.iter().zip(want).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()));
    assert!(got.len() == want.len() && off <= 1e-4 * most.max(1.0), "{what}: {off} apart, of {most}");
}

fn agree(case: &Case, inputs: &Inputs, positional: usize) {
    let plain = steps(case, inputs.clone(), positional, false);
    let kept = steps(case, inputs.clone(), positional, true);
    assert_eq!((plain.len(), kept.len()), (NEW, NEW));
    for (step, (got, want)) in kept.iter().zip(&plain).enumerate() {
        near(got, want, &format!("step {step}"));
    }
}

fn decoders() -> impl Strategy<Value = Case> {
    let make = |(layers, net, call): (Options, Options, Options)| {
        Case::new(around("AutoregressiveWrapper", transformer("Decoder", layers, net), Options::new()), call)
    };
    let call = calls(&["mask", "context_mask", "mems", "prepend_embeds", "self_attn_context_mask"]);
    (some(choices::layers(), 7), some(choices::transformer(), 3), some(call, 3)).prop_map(make)
}

fn prompt(case: &Case) -> Inputs {
    let mut inputs = Inputs::new(vec![ids(&[0, 1, 2, 2, 0, 1], &[2, PROMPT])], dtype(case));
    inputs.add_call(case, PROMPT, emb_dim(case));
    inputs
}

/// In f32 two scores are soon so near to each other that rounding decides which of them a sparse top k keeps.
fn dtype(case: &Case) -> DType {
    let sparse = ["attn_sparse_topk", "dec_attn_sparse_topk", "enc_attn_sparse_topk"];
    if sparse.iter().any(|name| case.option(name).is_some()) {
        to_f64(case);
        return DType::F64;
    }
    DType::F32
}

proptest! {
    #![proptest_config(config(500))]

    #[test]
    fn decoders_over_tokens(case in decoders()) {
        agree(&case, &prompt(&case), 1);
    }

    #[test]
    fn encoders_with_decoders(case in pairs()) {
        let mut source = case.clone();
        source.call.remove("src_prepend_embeds");
        let mut inputs = pair(&source, dtype(&source));
        inputs.tensors[1] = ids(&[0, 1, 1, 0], &[2, 2]);
        agree(&source, &inputs, 2);
    }

    #[test]
    fn decoders_over_continuous_values(case in vector_models()) {
        let mut start = case.clone();
        start.call.retain(|name, _| ["context_mask", "mems"].contains(&name.as_str()));
        let new = |cache_kv: bool| {
            let mut inputs = vectors(&start, dtype(&start), PROMPT, PROMPT);
            inputs.flag("cache_kv", json!(cache_kv));
            let args = json!([{ "$tensor": 0 }, NEW, inputs.named()]);
            values(&flat(call_numbered(&start.model, "generate", args, &inputs.tensors, 2).unwrap())[0])
        };
        // vectors feed back into the model: what is rounded differently drifts apart
        let (got, want) = (new(true), new(false));
        let first = want.len() / NEW;
        near(&got[..first], &want[..first], "the first vector");
        let most = want.iter().fold(0.01_f64, |m, x| m.max(x.abs()));
        let off = got.iter().zip(&want).fold(0.0_f64, |m, (a, b)| m.max((a - b).abs()));
        prop_assert!(off <= 1e-3 * most, "{off} apart, of {most}");
    }
}
