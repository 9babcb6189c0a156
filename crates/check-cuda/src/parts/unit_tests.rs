//! The tests of `xt-kernels`, whose program lies beside this one.

use crate::error::Result;
use crate::part::{Outcome, Setup};
use serde_json::json;
use std::process::Command;

/// The file of the test program.
const PROGRAM: &str = "kernel-tests";

/// Tests of what is only on the CPU, as in scripts/cuda/tests.mjs.
const CPU_ONLY: [&str; 4] = ["quantized::", "host::", "memory::", "on_the_cpu"];

/// Runs the test program on the GPU.
pub fn run(setup: &Setup) -> Result<Outcome> {
    let program = setup.folder.join(PROGRAM);
    if !program.exists() {
        let line = format!("{PROGRAM} is not in the folder");
        return Ok(Outcome { line, skipped: true, ..Outcome::default() });
    }
    let skip = CPU_ONLY.iter().flat_map(|name| ["--skip", name]);
    let output = Command::new(program).args(skip).env("XT_DEVICE", "cuda").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let count = |what: &str| {
        let result = text.lines().rfind(|line| line.starts_with("test result:"))?;
        let before = result.split(&format!(" {what}")).next()?;
        before.rsplit(' ').next()?.parse::<u64>().ok()
    };
    let (passed, failed) = (count("passed").unwrap_or(0), count("failed").unwrap_or(0));
    let mut failures: Vec<String> = text
        .lines()
        .filter(|line| line.starts_with("test ") && line.ends_with("FAILED"))
        .map(str::to_string)
        .collect();
    failures.extend(text.lines().filter(|line| line.contains(" entry ")).map(str::to_string));
    if !output.status.success() && failures.is_empty() {
        failures.push(format!("the test program ended with {}", output.status));
    }
    if passed == 0 {
        failures.push("no test has passed".into());
    }
    Ok(Outcome {
        line: format!("{passed} passed, {failed} failed"),
        figures: json!({ "passed": passed, "failed": failed })
            .as_object()
            .cloned()
            .unwrap_or_default(),
        failures,
        skipped: false,
    })
}
