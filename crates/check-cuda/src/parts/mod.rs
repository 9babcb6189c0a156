//! The parts of the check.

mod bench;
mod copies;
mod golden;
mod gradients;
mod info;
mod pytorch;
mod training;
mod twins;
mod unit_tests;

use crate::part::{Part, Report};

/// All parts, in the order in which they run. The limits sum up to ten minutes.
pub const ALL: &[Part] = &[
    Part { name: "info", what: "the GPU and its driver", limit: 20, run: info::run },
    Part { name: "copies", what: "bandwidth, and time of a launch", limit: 30, run: copies::run },
    Part {
        name: "unit-tests",
        what: "the kernels' tests, on small and odd sizes",
        limit: 90,
        run: unit_tests::run,
    },
    Part {
        name: "kernels",
        what: "every kernel beside the CPU, on large sizes",
        limit: 110,
        run: twins::run,
    },
    Part {
        name: "golden",
        what: "models, gradients and training runs recorded from Python",
        limit: 60,
        run: golden::run,
    },
    Part {
        name: "gradients",
        what: "outputs and gradients of larger models beside the CPU",
        limit: 60,
        run: gradients::run,
    },
    Part {
        name: "training",
        what: "200 steps: losses, memory, copies",
        limit: 80,
        run: training::run,
    },
    Part { name: "bench", what: "speed of kernels and models", limit: 90, run: bench::run },
    Part {
        name: "pytorch",
        what: "the same in PyTorch, if it is here",
        limit: 60,
        run: pytorch::run,
    },
];

/// PyTorch's time by ours, for what both have measured.
pub fn ratios(reports: &[Report]) -> Vec<(String, f64)> {
    let figures = |name: &str| {
        reports.iter().find(|report| report.name == name).map(|report| &report.outcome.figures)
    };
    let (Some(ours), Some(theirs)) = (figures("bench"), figures("pytorch")) else {
        return Vec::new();
    };
    let seconds = |json: &serde_json::Value| json["seconds"].as_f64();
    let ratio = |(name, json): (&String, &serde_json::Value)| {
        let (own, other) = (seconds(json)?, seconds(theirs.get(name)?)?);
        Some((name.clone(), other / own))
    };
    ours.iter().filter_map(ratio).collect()
}
