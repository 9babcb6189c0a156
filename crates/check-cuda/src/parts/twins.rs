//! Every kernel beside the CPU.

use crate::error::Result;
use crate::kernels::compare::{difference, Tolerance};
use crate::kernels::{huge, Case, Inputs, CASES};
use crate::part::{Outcome, Setup};
use serde_json::{json, Map};
use std::collections::BTreeSet;
use xt_core::{DType, Device};
use xt_kernels::cuda::kernels;

/// Runs all cases in all of their dtypes. A kernel that no case has reached is a failure.
pub fn run(setup: &Setup) -> Result<Outcome> {
    let device = setup.gpu()?;
    let (mut figures, mut failures, mut count) = (Map::new(), Vec::new(), 0);
    for case in CASES {
        let mut worst = Map::new();
        for dtype in case.dtypes {
            count += 1;
            match worst_difference(case, *dtype, &device, setup.quick) {
                Ok(off) => {
                    worst.insert(dtype.as_str().into(), json!(off));
                }
                Err(error) => failures.push(format!("{}, {}: {error}", case.name, dtype.as_str())),
            }
        }
        figures.insert(case.name.into(), worst.into());
    }
    let Device::Cuda(gpu) = device.clone() else { return Err("this is no GPU".into()) };
    let all: BTreeSet<String> = kernels()?.into_iter().collect();
    let used: BTreeSet<String> = gpu.used_kernels().into_iter().collect();
    let missing: Vec<_> = all.difference(&used).cloned().collect();
    if !missing.is_empty() {
        failures.push(format!("not run: {}", missing.join(", ")));
    }
    let large = !setup.quick && gpu.available() > huge::NEEDED;
    if large {
        if let Err(error) = huge::check(&Device::Cuda(gpu)) {
            failures.push(format!("more than 2^32 elements: {error}"));
        }
    }
    let huge = if large { ", and arrays of more than 2^32 elements" } else { "" };
    let line = format!("{count} cases, {} of {} kernels{huge}", used.len(), all.len());
    Ok(Outcome { line, figures, failures, skipped: false })
}

/// The largest difference from the CPU, relative to the largest number of an array.
fn worst_difference(case: &Case, dtype: DType, device: &Device, quick: bool) -> Result<f64> {
    let inputs = |device: &Device, exact| Inputs { device: device.clone(), dtype, exact, quick };
    let got = (case.run)(&inputs(device, false))?;
    let want = (case.run)(&inputs(&Device::Cpu, true))?;
    if got.len() != want.len() {
        return Err("the numbers of results differ".into());
    }
    let tolerance = Tolerance { relative: case.tolerance(dtype), floor: 1e-2 };
    let mut worst = 0.0f64;
    for (got, want) in got.iter().zip(&want) {
        worst = worst.max(difference(got, want, tolerance)?);
    }
    Ok(worst)
}
