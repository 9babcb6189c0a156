//! The recorded cases of the Python package, one test each. `XT_DEVICE` chooses the device:
//! `cpu` or `cuda`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod case;
mod compare;
#[path = "../support/device.rs"]
mod device;
mod trace;

use device::device;
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value as Json;
use std::path::{Path, PathBuf};
use xt_core::{Device, Result};

fn main() {
    let trials = cases().into_iter().filter_map(trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// The JSON files of the recordings.
fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test/golden");
    let entries = std::fs::read_dir(&folder).expect("the folder of recordings");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files
}

fn read(file: &Path) -> Json {
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

/// The test of one file; `None` for JSON that is neither a case nor a trace.
fn trial(file: PathBuf) -> Option<Trial> {
    let meta = read(&file);
    let run: Run = match (meta.get("case"), meta.get("trace")) {
        (Some(_), _) => case::run,
        (_, Some(_)) => trace::run,
        _ => return None,
    };
    Some(test(file, meta, run))
}

/// Gives all differences from a recording.
type Run = fn(&Json, &[u8], &Device) -> Result<Vec<String>>;

fn test(file: PathBuf, meta: Json, run: Run) -> Trial {
    let name = file.file_stem().unwrap().to_string_lossy().into_owned();
    Trial::test(name, move || {
        let bytes = std::fs::read(file.with_extension("safetensors")).unwrap();
        match run(&meta, &bytes, &device()) {
            Ok(wrong) if wrong.is_empty() => Ok(()),
            Ok(wrong) => Err(Failed::from(wrong.join("\n"))),
            Err(e) => Err(Failed::from(e.to_string())),
        }
    })
}
