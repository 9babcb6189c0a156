//! A training run: that the loss falls as on the CPU, that memory stays constant, and that nothing
//! but ids, loss and norm is copied.

use crate::error::Result;
use crate::gpt::{build, language_model, number, Trainer};
use crate::part::{Outcome, Setup};
use serde_json::json;
use std::time::Instant;
use xt_core::{Array, Device, Tensor};
use xt_kernels::transfers;

/// The text that the model learns, by bytes.
const TEXT: &[u8] = include_bytes!("../../../../ARCHITECTURE.md");

/// Steps that the CPU makes too.
const BESIDE: usize = 3;

/// How far the losses of these may be apart, relative.
const TOLERANCE: f64 = 1e-3;

/// Steps after which memory no longer grows: states, tables and kernels are there.
const SETTLED: usize = 3;

/// Trains, and checks what has happened.
pub fn run(setup: &Setup) -> Result<Outcome> {
    let gpu = setup.gpu()?;
    let (steps, dim, depth, n, batch) = setup.size((200, 256, 6, 256, 8), (5, 16, 1, 12, 2));
    let decoder = json!({
        "dim": dim, "depth": depth, "heads": 4, "rotary_pos_emb": true, "attn_dropout": 0.1,
    });
    let wrapper = json!({ "num_tokens": 256, "max_seq_len": n });
    let spec = language_model(decoder, wrapper);
    let beside = losses(&spec, (BESIDE, batch, n), &Device::Cpu)?;
    let run = losses(&spec, (steps, batch, n), &gpu)?;

    let mut failures = Vec::new();
    for (step, (want, got)) in beside.losses.iter().zip(&run.losses).enumerate() {
        let apart = (want - got).abs() / want.abs();
        if apart.is_nan() || apart > TOLERANCE {
            failures.push(format!("step {step}: the loss is {got}, on the CPU {want}"));
        }
    }
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len().max(1) as f64;
    let last = mean(&run.losses[run.losses.len().saturating_sub(10)..]);
    let first = run.losses.first().copied().unwrap_or(f64::NAN);
    // an untrained model has ln(256) = 5.5, one that knows the bytes' frequencies some 3.3
    let limit = setup.size(2.9, first);
    if last.is_nan() || last > limit {
        failures.push(format!("the loss has fallen from {first:.3} to {last:.3} only"));
    }
    if let [first, .., last] = run.held[SETTLED.min(run.held.len() - 1)..] {
        if first != last {
            failures.push(format!("memory has grown from {first} to {last} bytes"));
        }
    }
    let wrong = run.copies[SETTLED..].iter().find(|copies| **copies != (1, 2));
    if let Some((uploads, downloads)) = wrong {
        failures.push(format!(
            "a step has copied {uploads} times to the GPU and {downloads} times from it; only the \
             ids, the loss and the norm should be copied"
        ));
    }
    let held = run.held.last().copied().unwrap_or(0);
    let tokens = (batch * n) as f64 / run.seconds;
    let line = format!(
        "{steps} steps, loss {first:.2} to {last:.2}, {:.1} ms a step, {tokens:.0} tokens/s, {} \
         MiB held",
        1e3 * run.seconds,
        held >> 20
    );
    let figures = json!({
        "losses": run.losses, "cpu_losses": beside.losses, "step_seconds": run.seconds,
        "held_bytes": held, "tokens_per_second": tokens,
    });
    let figures = figures.as_object().cloned().unwrap_or_default();
    Ok(Outcome { line, figures, failures, skipped: false })
}

/// What was seen in each step.
struct Run {
    losses: Vec<f64>,
    /// Bytes on the GPU after it.
    held: Vec<u64>,
    /// Copies to the GPU, and from it.
    copies: Vec<(u64, u64)>,
    /// The time of a step, of those after the first few.
    seconds: f64,
}

fn losses(
    spec: &serde_json::Value,
    (steps, batch, n): (usize, usize, usize),
    device: &Device,
) -> Result<Run> {
    let mut trainer = Trainer::new(build(spec, device)?, 1e-3)?;
    let mut run = Run { losses: vec![], held: vec![], copies: vec![], seconds: 0.0 };
    let mut start = Instant::now();
    for step in 0..steps {
        if step == SETTLED {
            start = Instant::now();
        }
        let before = transfers();
        let (loss, _) = trainer.step(&[windows(step, (batch, n + 1), device)?])?;
        run.losses.push(number(&loss)?);
        let after = transfers();
        run.copies.push((after.uploads - before.uploads, after.downloads - before.downloads));
        drop(loss);
        run.held.push(match device {
            Device::Cpu => 0,
            Device::Cuda(gpu) => gpu.held(),
        });
    }
    run.seconds = start.elapsed().as_secs_f64() / steps.saturating_sub(SETTLED).max(1) as f64;
    Ok(run)
}

/// Windows of the text, (batch, n), others in each step.
fn windows(step: usize, (batch, n): (usize, usize), device: &Device) -> Result<Tensor> {
    let window = |row: usize| {
        let start = (step * batch + row) * 7919 % (TEXT.len() - n);
        TEXT[start..start + n].iter().map(|byte| i64::from(*byte))
    };
    let ids: Vec<i64> = (0..batch).flat_map(window).collect();
    Ok(Tensor::constant(Array::from_vec(ids, (batch, n), device)?))
}
