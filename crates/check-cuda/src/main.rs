//! Checks and measures this library on a machine with an NVIDIA GPU, which needs nothing else: no
//! Rust, no Node, no CUDA toolkit. `npm run check:cuda` builds the folder that is copied there.
//!
//! Each part runs in a process of its own with a time limit, so that a part that hangs or dies does
//! not stop the others. It gives one line and its figures; the figures of all parts become one JSON
//! file, which is written again after each part.

mod error;
mod gpt;
mod kernels;
mod measure;
mod part;
mod parts;

use error::Result;
use part::{Report, Setup};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = "\
Usage: check-cuda [--only PART,PART] [--out FILE] [--quick]

  --only   the parts to run; without it all of them
  --out    the file for the figures (results.json)
  --quick  small sizes and few steps, for a GPU that is emulated

Parts, in this order:
";

struct Options {
    only: Vec<String>,
    out: PathBuf,
    quick: bool,
    help: bool,
    /// The part to run in this process; set by the process that runs all of them.
    part: Option<String>,
}

fn main() -> ExitCode {
    let failed = |message: String| {
        eprintln!("{message}");
        ExitCode::from(2)
    };
    let options = match options() {
        Ok(options) => options,
        Err(error) => return failed(format!("{error}\n\n{}", help())),
    };
    if options.help {
        println!("{}", help());
        return ExitCode::SUCCESS;
    }
    let setup = match Setup::new(options.quick) {
        Ok(setup) => setup,
        Err(error) => return failed(error.to_string()),
    };
    let done = match &options.part {
        Some(name) => match parts::ALL.iter().find(|part| part.name == name) {
            Some(part) => Ok(part::run_here(part, &setup)),
            None => return failed(format!("there is no part {name:?}")),
        },
        None => run_all(&options, &setup),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => failed(error.to_string()),
    }
}

fn help() -> String {
    let line = |part: &part::Part| format!("  {:<12} {}", part.name, part.what);
    HELP.to_string() + &parts::ALL.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn options() -> Result<Options> {
    use lexopt::prelude::*;
    let out = "results.json".into();
    let mut options = Options { only: Vec::new(), out, quick: false, help: false, part: None };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("help") | Short('h') => options.help = true,
            Long("quick") => options.quick = true,
            Long("out") => options.out = parser.value()?.into(),
            Long("part") => options.part = Some(parser.value()?.string()?),
            Long("only") => {
                let names = parser.value()?.string()?;
                options.only = names.split(',').map(str::to_string).collect();
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let known = |name: &String| parts::ALL.iter().any(|part| part.name == name);
    match options.only.iter().find(|name| !known(name)) {
        Some(name) => Err(format!("there is no part {name:?}").into()),
        None => Ok(options),
    }
}

/// Runs the parts one after the other; returns whether none of them failed.
fn run_all(options: &Options, setup: &Setup) -> Result<bool> {
    let mut reports: Vec<Report> = Vec::new();
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|n| n == name);
    for part in parts::ALL.iter().filter(|part| wanted(part.name)) {
        let report = part::run_apart(part, setup)?;
        println!("{}", report.text());
        reports.push(report);
        write(&options.out, &reports)?;
    }
    let ratios = parts::ratios(&reports);
    if !ratios.is_empty() {
        println!("\ntime beside PyTorch (above 1: PyTorch is slower)");
        ratios.iter().for_each(|(name, ratio)| println!("  {name:<28} {ratio:.2}"));
    }
    let failed = reports.iter().filter(|report| !report.ok()).count();
    println!("\n{} parts, {failed} failed; figures: {}", reports.len(), options.out.display());
    Ok(failed == 0)
}

fn write(file: &Path, reports: &[Report]) -> Result<()> {
    let parts: Vec<_> = reports.iter().map(Report::json).collect();
    let ratios: serde_json::Map<_, _> =
        parts::ratios(reports).into_iter().map(|(name, ratio)| (name, json!(ratio))).collect();
    let all = json!({ "version": env!("CARGO_PKG_VERSION"), "parts": parts, "ratios": ratios });
    Ok(std::fs::write(file, format!("{all:#}\n"))?)
}
