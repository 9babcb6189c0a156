//! The speed of kernels and of models. `pytorch.py` measures the same by the same names.

use crate::error::Result;
use crate::gpt::{build, ids, language_model, number, Trainer};
use crate::measure::seconds;
use crate::part::{Outcome, Setup};
use serde_json::{json, Map, Value as Json};
use std::time::{Duration, Instant};
use xt_core::{Args, Array, Ctx, DType, Device, Rng};
use xt_kernels::ops::attention::{self, AttentionArgs};
use xt_kernels::ops::cross_entropy::CrossEntropy;
use xt_kernels::ops::softmax::{self, Mask};
use xt_kernels::ops::{activation, cross_entropy, elementwise, layer_norm, matmul};
use xt_kernels::philox::Stream;

/// Measures everything.
pub fn run(setup: &Setup) -> Result<Outcome> {
    let bench = Bench { device: setup.gpu()?, setup };
    let mut figures = Map::new();
    let mut lines = Vec::new();
    for (name, work, unit) in bench.kernels()? {
        let budget = Duration::from_secs_f64(setup.size(1.0, 0.001));
        let seconds = seconds(&bench.device, budget, work)?;
        let rate = unit.amount / seconds / unit.scale;
        lines.push(format!("{name} {rate:.1} {}", unit.name));
        figures.insert(name.into(), json!({ "seconds": seconds, "rate": rate, "unit": unit.name }));
    }
    let (step, tokens) = bench.train_step()?;
    lines.push(format!("gpt_train_step {:.1} ms", 1e3 * step));
    figures.insert("gpt_train_step".into(), json!({ "seconds": step, "tokens": tokens }));
    let token = bench.token()?;
    lines.push(format!("a generated token {:.2} ms", 1e3 * token));
    figures.insert("generated_token".into(), json!({ "seconds": token }));
    Ok(Outcome { line: lines.join(", "), figures, ..Outcome::default() })
}

/// What a kernel is measured by.
struct Unit {
    name: &'static str,
    scale: f64,
    /// How much one run does.
    amount: f64,
}

fn gflop(amount: f64) -> Unit {
    Unit { name: "GFLOP/s", scale: 1e9, amount }
}

/// Bytes read and written.
fn gbyte(amount: usize) -> Unit {
    Unit { name: "GB/s", scale: 1e9, amount: amount as f64 }
}

type Work<'a> = (&'static str, Box<dyn FnMut() -> Result<()> + 'a>, Unit);

struct Bench<'a> {
    device: Device,
    setup: &'a Setup,
}

impl Bench<'_> {
    fn normal(&self, dims: &[usize], dtype: DType) -> Result<Array> {
        let values = Stream { seed: 1, call: 0, draw: 0 }.normal(dims.iter().product());
        Ok(Array::from_vec(values, dims, &Device::Cpu)?.to_dtype(dtype)?.to_device(&self.device)?)
    }

    fn kernels(&self) -> Result<Vec<Work<'static>>> {
        let n = self.setup.size(4096, 32);
        let (rows, width, classes) = self.setup.size((8192, 4096, 50_257), (8, 32, 33));
        let [a, b] = [DType::F32, DType::BF16].map(|dtype| self.normal(&[n, n], dtype));
        let (a, b) = (a?, b?);
        let x = self.normal(&[rows, width], DType::F32)?;
        let (weight, bias) =
            (self.normal(&[width], DType::F32)?, self.normal(&[width], DType::F32)?);
        let logits = self.normal(&[rows / 2, classes], DType::F32)?;
        let ids = (0..rows / 2).map(|row| (row * 31 % classes) as i64).collect();
        let targets = Array::from_vec(ids, rows / 2, &self.device)?;
        let length = self.setup.size(1024, 16);
        let q = self.normal(&[4, 8, length, 64], DType::F32)?;
        let scores = x.reshape((1, 1, rows, width))?;
        let of = AttentionArgs {
            scale: 0.125,
            mask: Mask { causal: true, ..Mask::default() },
            ..AttentionArgs::new(q.clone(), q.clone(), q)
        };
        let product = 2.0 * (n as f64).powi(3);
        let size = 4 * rows * width;
        let attended = 4.0 * 4.0 * 8.0 * (length as f64).powi(2) * 64.0 / 2.0;
        let (c, d, e) = (x.clone(), x.clone(), x.clone());
        let loss = 4 * rows / 2 * classes;
        Ok(vec![
            ("matmul_f32", run_it(move || matmul::matmul(&a, &a, 1.0)), gflop(product)),
            ("matmul_bf16", run_it(move || matmul::matmul(&b, &b, 1.0)), gflop(product)),
            ("add", run_it(move || elementwise::add(&c, &c)), gbyte(3 * size)),
            (
                "gelu",
                run_it(move || activation::forward(&d, activation::Activation::Gelu)),
                gbyte(2 * size),
            ),
            (
                "layer_norm",
                run_it(move || layer_norm::forward(&e, &weight, &bias, 1e-5)),
                gbyte(2 * size),
            ),
            (
                "softmax",
                run_it(move || softmax::forward(&scores, &Mask::default())),
                gbyte(2 * size),
            ),
            (
                "cross_entropy",
                run_it(move || {
                    cross_entropy::forward(&logits, &targets, CrossEntropy::ignoring(-100))
                }),
                gbyte(loss),
            ),
            ("attention", run_it(move || attention::forward(&of).map(|(y, _)| y)), gflop(attended)),
        ])
    }

    fn gpt(&self) -> Json {
        let (dim, depth, vocabulary, n) = self.gpt_size();
        let decoder = json!({ "dim": dim, "depth": depth, "heads": 8 });
        language_model(decoder, json!({ "num_tokens": vocabulary, "max_seq_len": n + 1 }))
    }

    fn gpt_size(&self) -> (usize, usize, u64, usize) {
        self.setup.size((512, 12, 20_000, 1024), (32, 1, 40, 16))
    }

    /// Seconds of a step of training, and its tokens.
    fn train_step(&self) -> Result<(f64, usize)> {
        let (_, _, vocabulary, n) = self.gpt_size();
        let mut trainer = Trainer::new(build(&self.gpt(), &self.device)?, 3e-4)?;
        let ids = [ids(vocabulary, (1, n + 1), 1, &self.device)?];
        let budget = Duration::from_secs_f64(self.setup.size(5.0, 0.001));
        let step = || number(&trainer.step(&ids)?.0).map(drop);
        Ok((seconds(&self.device, budget, step)?, n))
    }

    /// Seconds of a token that follows a prompt.
    fn token(&self) -> Result<f64> {
        let (_, _, vocabulary, n) = self.gpt_size();
        let model = build(&self.gpt(), &self.device)?;
        model.train(false);
        let (prompt, count) = (self.setup.size(32, 3), self.setup.size(128, 4));
        let ids = [ids(vocabulary, (1, prompt.min(n)), 1, &self.device)?];
        let named = json!({ "temperature": 0.0 });
        let args = Args::new("generate", json!([{ "$tensor": 0 }, count, named]), &ids)?;
        let rng = Rng::new(1, 1);
        let mut time = f64::NAN;
        // the second time, all kernels are loaded
        for _ in 0..2 {
            let mut generation = model.generation("generate", &args)?;
            let start = Instant::now();
            while !generation.done() {
                let logits = generation.logits(&Ctx::new(&rng, &|| false))?;
                generation.accept(&logits, false, &rng)?;
            }
            time = start.elapsed().as_secs_f64() / count as f64;
        }
        Ok(time)
    }
}

fn run_it(
    work: impl Fn() -> xt_kernels::Result<Array> + 'static,
) -> Box<dyn FnMut() -> Result<()>> {
    Box::new(move || Ok(work().map(drop)?))
}
