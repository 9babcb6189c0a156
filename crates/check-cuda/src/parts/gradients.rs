//! Outputs and gradients of models, beside those of the CPU: larger than the recorded cases, and
//! with dropout.

use crate::error::Result;
use crate::gpt::{build, forward, ids, language_model, parameters};
use crate::kernels::compare::{difference, Tolerance};
use crate::part::{Outcome, Setup};
use serde_json::{json, Map, Value as Json};
use xt_core::{Array, DType, Device, Tensor};
use xt_kernels::philox::Stream;

/// In f32; sums are made in another order than on the CPU.
const TOLERANCE: Tolerance = Tolerance { relative: 1e-3, floor: 1e-4 };

/// Compares all models.
pub fn run(setup: &Setup) -> Result<Outcome> {
    let device = setup.gpu()?;
    let (mut figures, mut failures) = (Map::new(), Vec::new());
    let mut worst = 0.0f64;
    for (name, spec, inputs) in models(setup) {
        let results = |device: &Device| gradients(&spec, &inputs, device);
        let (want, got) = (results(&Device::Cpu)?, results(&device)?);
        let mut own = 0.0f64;
        for ((part, want), (_, got)) in want.iter().zip(&got) {
            match difference(got, want, TOLERANCE) {
                Ok(off) => own = own.max(off),
                Err(message) => failures.push(format!("{name}: {part}: {message}")),
            }
        }
        worst = worst.max(own);
        figures.insert(name.into(), json!({ "arrays": want.len(), "worst": own }));
    }
    let line = format!(
        "{} models; the worst difference is {:.1e} of an array's largest number",
        figures.len(),
        worst
    );
    Ok(Outcome { line, figures, failures, skipped: false })
}

/// The kind of an input.
enum Input {
    Ids { bound: u64, dims: (usize, usize) },
    Floats(Vec<usize>),
}

impl Input {
    fn tensor(&self, seed: u64, device: &Device) -> Result<Tensor> {
        match self {
            Self::Ids { bound, dims } => ids(*bound, *dims, seed, device),
            Self::Floats(dims) => {
                let values = Stream { seed, call: 0, draw: 0 }.normal(dims.iter().product());
                let array = Array::from_vec(values, dims.as_slice(), &Device::Cpu)?;
                Ok(Tensor::constant(array.to_dtype(DType::F32)?.to_device(device)?))
            }
        }
    }
}

/// The output and the gradient of each parameter, by name.
fn gradients(spec: &Json, inputs: &[Input], device: &Device) -> Result<Vec<(String, Array)>> {
    let model = build(spec, device)?;
    model.train(true);
    let inputs = (1..).zip(inputs).map(|(seed, input)| input.tensor(seed, device));
    let output = forward(&model, &inputs.collect::<Result<Vec<_>>>()?, 1)?;
    let scalar = xt_autograd::ops::mean(&output, None, false)?;
    scalar.backward(false, &|| false)?;
    let mut all = vec![("output".to_string(), output.array()?)];
    for (name, leaf) in parameters(&model) {
        all.extend(leaf.grad()?.map(|grad| (name, grad)));
    }
    Ok(all)
}

fn models(setup: &Setup) -> Vec<(&'static str, Json, Vec<Input>)> {
    let (dim, depth, n) = setup.size((192, 4, 387), (16, 1, 9));
    let layers = |more: Json| {
        let mut all = json!({ "dim": dim, "depth": depth, "heads": 4 });
        for (name, value) in more.as_object().into_iter().flatten() {
            all[name] = value.clone();
        }
        all
    };
    let wrapper = json!({ "num_tokens": 311, "max_seq_len": 512 });
    let text = || Input::Ids { bound: 311, dims: (3, n) };
    let modern = json!({
        "rotary_pos_emb": true, "use_rmsnorm": true, "ff_glu": true, "ff_swish": true,
        "attn_one_kv_head": true, "shift_tokens": 1, "attn_qk_norm": true,
    });
    let other = json!({
        "alibi_pos_bias": true, "alibi_num_heads": 2, "attn_talking_heads": true,
        "gate_residual": true, "attn_num_mem_kv": 3, "use_scalenorm": true,
    });
    let sparse = json!({
        "rel_pos_bias": true, "attn_sparse_topk": 5, "residual_attn": true, "macaron": true,
        "ff_relu_squared": true, "sandwich_norm": true,
    });
    let dropped = json!({ "attn_dropout": 0.1, "ff_dropout": 0.1, "layer_dropout": 0.0 });
    let lm = |more: Json| language_model(layers(more), wrapper.clone());
    let vit = json!({
        "class": "ViTransformerWrapper",
        "options": {
            "image_size": 32, "patch_size": 8, "num_classes": 10,
            "attn_layers": { "class": "Encoder", "options": layers(json!({})) },
        },
    });
    let side = |prefix: &str| {
        let with = |name: &str| format!("{prefix}_{name}");
        [
            (with("num_tokens"), 311),
            (with("depth"), depth),
            (with("heads"), 4),
            (with("max_seq_len"), 512),
        ]
    };
    let mut sides = json!({ "dim": dim, "tie_token_emb": true });
    for (name, value) in side("enc").into_iter().chain(side("dec")) {
        sides[name] = json!(value);
    }
    let both = json!({ "class": "XTransformer", "options": sides });
    vec![
        ("GPT with dropout", lm(dropped), vec![text()]),
        ("rotary, RMSNorm, SwiGLU", lm(modern), vec![text()]),
        ("ALiBi, talking heads, gates", lm(other), vec![text()]),
        ("T5 bias, sparse top k, macaron", lm(sparse), vec![text()]),
        ("vision transformer", vit, vec![Input::Floats(vec![5, 3, 32, 32])]),
        ("encoder and decoder", both, vec![text(), text()]),
    ]
}
