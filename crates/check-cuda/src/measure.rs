//! Measures the time of work on a GPU.

use crate::error::Result;
use std::time::{Duration, Instant};
use xt_core::Device;

/// Waits until a GPU has done all of its work.
///
/// # Errors
/// If a kernel has failed.
pub fn synchronize(device: &Device) -> Result<()> {
    match device {
        Device::Cpu => Ok(()),
        Device::Cuda(gpu) => Ok(gpu.synchronize()?),
    }
}

/// The seconds that one run of `work` takes: the median of several batches of runs, each of which
/// ends when the GPU has done its work. One batch before them is not measured.
///
/// # Errors
/// Those of the work.
pub fn seconds(
    device: &Device,
    budget: Duration,
    mut work: impl FnMut() -> Result<()>,
) -> Result<f64> {
    const BATCHES: u32 = 5;
    let mut batch = |runs: u32| -> Result<f64> {
        let start = Instant::now();
        for _ in 0..runs {
            work()?;
        }
        synchronize(device)?;
        Ok(start.elapsed().as_secs_f64() / f64::from(runs))
    };
    // the first run loads kernels
    batch(1)?;
    let once = batch(1)?;
    let share = budget.as_secs_f64() / f64::from(BATCHES);
    let runs = (share / once.max(1e-9)).clamp(1.0, 1000.0) as u32;
    let mut times = (0..BATCHES).map(|_| batch(runs)).collect::<Result<Vec<_>>>()?;
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}
