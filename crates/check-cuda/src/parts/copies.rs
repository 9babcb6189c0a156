//! The bandwidth of copies, and the time that a launch takes.

use crate::error::Result;
use crate::measure::seconds;
use crate::part::{Outcome, Setup};
use serde_json::json;
use std::time::Duration;
use xt_core::Array;
use xt_kernels::ops::elementwise::affine;

/// Measures copies to, from and on the GPU, and launches of a kernel.
pub fn run(setup: &Setup) -> Result<Outcome> {
    let device = setup.gpu()?;
    let bytes: usize = setup.size(256 << 20, 1 << 16);
    let host = vec![1.0f32; bytes / 4];
    let array = Array::new(&host, &device)?;
    let one = Array::new(&[1.0f32], &device)?;
    let budget = Duration::from_secs_f64(setup.size(2.0, 0.01));
    let up = seconds(&device, budget, || Ok(Array::new(&host, &device).map(drop)?))?;
    let down = seconds(&device, budget, || Ok(array.to_vec1::<f32>().map(drop)?))?;
    let copy = seconds(&device, budget, || Ok(array.copy().map(drop)?))?;
    let launch = seconds(&device, budget, || Ok(affine(&one, 1.0, 0.0).map(drop)?))?;
    let wait = seconds(&device, budget, || Ok(one.to_vec1::<f32>().map(drop)?))?;
    let rate = |seconds: f64| bytes as f64 / seconds / 1e9;
    let line = format!(
        "to the GPU {:.1} GB/s, back {:.1} GB/s, on it {:.0} GB/s read and written; a launch \
         {:.1} µs, a read of one number {:.1} µs",
        rate(up),
        rate(down),
        2.0 * rate(copy),
        1e6 * launch,
        1e6 * wait
    );
    let figures = json!({
        "bytes": bytes, "up_seconds": up, "down_seconds": down, "copy_seconds": copy,
        "launch_seconds": launch, "read_one_seconds": wait,
    });
    Ok(Outcome {
        line,
        figures: figures.as_object().cloned().unwrap_or_default(),
        ..Outcome::default()
    })
}
