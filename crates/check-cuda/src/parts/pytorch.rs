//! The benchmarks of [`super::bench`] in PyTorch, where it is installed.

use crate::error::Result;
use crate::part::{Outcome, Setup};
use serde_json::Value as Json;
use std::process::Command;

/// The exit status of the script where PyTorch or its GPU is missing.
const MISSING: i32 = 3;

/// Runs `pytorch.py`.
pub fn run(setup: &Setup) -> Result<Outcome> {
    let skipped = |line: String| Outcome { line, skipped: true, ..Outcome::default() };
    let script = setup.folder.join("pytorch.py");
    let output = match Command::new("python3").arg(script).output() {
        Ok(output) => output,
        Err(error) => return Ok(skipped(format!("python3 cannot be started: {error}"))),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.code() == Some(MISSING) {
        return Ok(skipped(text.trim().to_string()));
    }
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let figures: Json = serde_json::from_str(text.lines().last().unwrap_or_default())?;
    let figures = figures.as_object().cloned().unwrap_or_default();
    let line = |(name, json): (&String, &Json)| {
        Some(format!("{name} {:.3} ms", 1e3 * json["seconds"].as_f64()?))
    };
    let line = figures.iter().filter_map(line).collect::<Vec<_>>().join(", ");
    Ok(Outcome { line, figures, ..Outcome::default() })
}
