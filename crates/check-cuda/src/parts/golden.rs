//! The recorded cases of the Python package, with the code that `cargo test` runs them by.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../../core/tests/golden/case.rs"]
mod case;
#[path = "../../../core/tests/golden/compare.rs"]
mod compare;
#[path = "../../../core/tests/golden/trace.rs"]
mod trace;

use crate::error::Result;
use crate::part::{Outcome, Setup};
use serde_json::{json, Value as Json};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use xt_core::Device;

/// How many files an emulated GPU computes.
const FEW: usize = 12;

/// Runs every case and training run in the folder `golden`.
pub fn run(setup: &Setup) -> Result<Outcome> {
    let device = setup.gpu()?;
    let folder = std::fs::read_dir(setup.folder.join("golden"))?;
    let mut files: Vec<PathBuf> =
        folder.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|ending| ending == "json"));
    files.sort();
    if setup.quick {
        let every = files.len().div_ceil(FEW).max(1);
        files = files.into_iter().step_by(every).collect();
    }
    let (mut passed, mut failures) = (0, Vec::new());
    std::panic::set_hook(Box::new(|_| {}));
    for file in &files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        match catch_unwind(AssertUnwindSafe(|| differences(file, &device))) {
            Ok(Ok(None)) => {}
            Ok(Ok(Some(wrong))) if wrong.is_empty() => passed += 1,
            Ok(Ok(Some(wrong))) => failures.push(format!("{name}: {}", wrong.join("; "))),
            Ok(Err(error)) => failures.push(format!("{name}: {error}")),
            Err(_) => failures.push(format!("{name}: panicked")),
        }
    }
    if passed == 0 {
        failures.push("no case has passed".into());
    }
    let figures = json!({ "passed": passed, "failed": failures.len() });
    Ok(Outcome {
        line: format!("{passed} cases equal Python's results, {} differ", failures.len()),
        figures: figures.as_object().cloned().unwrap_or_default(),
        failures,
        skipped: false,
    })
}

/// What differs from a recording; `None` for a file that is none.
fn differences(file: &Path, device: &Device) -> Result<Option<Vec<String>>> {
    let meta: Json = serde_json::from_slice(&std::fs::read(file)?)?;
    let run = match (meta.get("case"), meta.get("trace")) {
        (Some(_), _) => case::run,
        (_, Some(_)) => trace::run,
        _ => return Ok(None),
    };
    let bytes = std::fs::read(file.with_extension("safetensors"))?;
    Ok(Some(run(&meta, &bytes, device)?))
}
