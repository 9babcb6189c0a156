//! The GPU and its driver.

use crate::error::Result;
use crate::part::{Outcome, Setup};
use serde_json::json;
use xt_core::Device;
use xt_kernels::cuda::{cublas_lt, kernels, status};

/// Says what GPU there is; fails if it cannot be used.
pub fn run(setup: &Setup) -> Result<Outcome> {
    let status = status();
    let gpus: Vec<_> = status
        .gpus
        .iter()
        .map(|gpu| {
            let (major, minor) = gpu.capability;
            json!({
                "name": gpu.name, "bytes": gpu.bytes, "processors": gpu.processors,
                "capability": format!("{major}.{minor}"),
            })
        })
        .collect();
    let driver = status.driver.map(|(major, minor)| format!("{major}.{minor}"));
    let figures = json!({
        "driver": driver, "gpus": gpus, "reason": status.reason, "kernels": kernels()?.len(),
        "cublas_lt": cublas_lt().map(|path| path.to_string_lossy()),
        "processors": std::thread::available_parallelism()?.get(),
    });
    let mut outcome =
        Outcome { figures: figures.as_object().cloned().unwrap_or_default(), ..Outcome::default() };
    match setup.gpu()? {
        Device::Cpu => outcome.failures.push("this is no GPU".into()),
        Device::Cuda(gpu) => {
            let info = gpu.info();
            let (major, minor) = info.capability;
            let gib = info.bytes as f64 / (1u64 << 30) as f64;
            outcome.line = format!(
                "{}, compute capability {major}.{minor}, {} multiprocessors, {gib:.1} GiB, driver \
                 for CUDA {}",
                info.name,
                info.processors,
                driver.unwrap_or_default()
            );
        }
    }
    Ok(outcome)
}
