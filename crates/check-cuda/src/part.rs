//! A part of the check: how it is run, and what it reports.

use crate::error::Result;
use serde_json::{json, Map, Value as Json};
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use xt_core::Device;

/// What all parts need.
pub struct Setup {
    /// Whether to use small sizes, for an emulated GPU.
    pub quick: bool,
    /// The folder of this program, which has the other files.
    pub folder: PathBuf,
}

impl Setup {
    /// # Errors
    /// If this program's own path is not known.
    pub fn new(quick: bool) -> Result<Self> {
        let program = std::env::current_exe()?;
        let folder = program.parent().ok_or("the program is in no folder")?.to_path_buf();
        Ok(Self { quick, folder })
    }

    /// The GPU that is checked.
    ///
    /// # Errors
    /// If there is none that can be used; the message says why.
    pub fn gpu(&self) -> Result<Device> {
        Ok(Device::cuda(0)?)
    }

    /// One of two sizes.
    pub fn size<T>(&self, large: T, small: T) -> T {
        if self.quick {
            small
        } else {
            large
        }
    }
}

/// A part of the check.
pub struct Part {
    /// Its name, for `--only`.
    pub name: &'static str,
    /// What it does, for the help.
    pub what: &'static str,
    /// Its time limit in seconds.
    pub limit: u64,
    /// Does it.
    pub run: fn(&Setup) -> Result<Outcome>,
}

/// What a part found.
#[derive(Default)]
pub struct Outcome {
    /// A summary in one line.
    pub line: String,
    /// The figures.
    pub figures: Map<String, Json>,
    /// What is wrong; nothing if the part passed.
    pub failures: Vec<String>,
    /// Whether the part could not run, for a reason that is no failure: the line says it.
    pub skipped: bool,
}

/// What is reported about a part.
pub struct Report {
    /// The name of the part.
    pub name: &'static str,
    /// What it found.
    pub outcome: Outcome,
    seconds: f64,
    limit: u64,
}

/// Failures that are printed; the file has all of them.
const PRINTED: usize = 8;

impl Report {
    /// Whether nothing is wrong.
    pub fn ok(&self) -> bool {
        self.outcome.failures.is_empty()
    }

    /// A line for the terminal, and what is wrong below it.
    pub fn text(&self) -> String {
        let Outcome { line, failures, skipped, .. } = &self.outcome;
        let mark = match (self.ok(), skipped) {
            (false, _) => "FAILED",
            (true, true) => "skipped",
            (true, false) => "ok",
        };
        let mut text = format!("{mark:<8} {:<12} {:>6.1} s  {line}", self.name, self.seconds);
        failures.iter().take(PRINTED).for_each(|failure| {
            text += &format!("\n           {}", failure.replace('\n', "\n           "));
        });
        if failures.len() > PRINTED {
            text += &format!("\n           and {} more", failures.len() - PRINTED);
        }
        text
    }

    /// All of it, for the file.
    pub fn json(&self) -> Json {
        let Outcome { line, figures, failures, skipped } = &self.outcome;
        json!({
            "part": self.name, "ok": self.ok(), "skipped": skipped, "line": line,
            "seconds": self.seconds, "limit": self.limit,
            "figures": figures, "failures": failures,
        })
    }
}

/// Runs a part in this process, and prints its outcome as JSON; returns whether it passed.
pub fn run_here(part: &Part, setup: &Setup) -> bool {
    let outcome = (part.run)(setup).unwrap_or_else(|error| Outcome {
        line: "ended early".into(),
        failures: vec![error.to_string()],
        ..Outcome::default()
    });
    let Outcome { line, figures, failures, skipped } = &outcome;
    let json =
        json!({ "line": line, "figures": figures, "failures": failures, "skipped": skipped });
    println!("{json}");
    failures.is_empty()
}

/// Runs a part in a process of its own, which is ended at the time limit.
///
/// # Errors
/// If the process cannot be started.
pub fn run_apart(part: &Part, setup: &Setup) -> Result<Report> {
    let start = Instant::now();
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--part", part.name]).stdout(Stdio::piped());
    if setup.quick {
        command.arg("--quick");
    }
    let (ended, text) = wait(command.spawn()?, Duration::from_secs(part.limit))?;
    let json: Option<Json> = text.lines().last().and_then(|line| serde_json::from_str(line).ok());
    let mut outcome = json.map(|json| outcome(&json)).unwrap_or_default();
    if let Some(reason) = ended {
        outcome.line = reason.clone();
        outcome.failures.push(reason);
    }
    let seconds = start.elapsed().as_secs_f64();
    Ok(Report { name: part.name, outcome, seconds, limit: part.limit })
}

fn outcome(json: &Json) -> Outcome {
    let text = |json: &Json| json.as_str().unwrap_or_default().to_string();
    Outcome {
        line: text(&json["line"]),
        figures: json["figures"].as_object().cloned().unwrap_or_default(),
        failures: json["failures"].as_array().into_iter().flatten().map(text).collect(),
        skipped: json["skipped"].as_bool().unwrap_or(false),
    }
}

/// Waits for a process at most `limit`; returns why it did not end by itself, if so, and what it
/// has printed.
fn wait(mut child: Child, limit: Duration) -> Result<(Option<String>, String)> {
    let start = Instant::now();
    let output = child.stdout.take();
    // read beside, so that the process never waits for a full pipe
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        output.map(|mut output| output.read_to_end(&mut text));
        String::from_utf8_lossy(&text).into_owned()
    });
    let mut late = false;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > limit && !late {
            late = true;
            child.kill()?;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let text = reader.join().unwrap_or_default();
    let reason = match status.code() {
        _ if late => Some(format!("took longer than {} s", limit.as_secs())),
        Some(0 | 1) => None,
        _ => Some(format!("ended unexpectedly: {status}")),
    };
    Ok((reason, text))
}
