//! Random combinations of options of every class: models are built, run, trained a step and asked
//! to generate, and must keep what they promise. The combinations are the same in every run;
//! `PROPTEST_CASES` and `PROPTEST_RNG_SEED` ask for more of them, or for others.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cached;
mod case;
mod choices;
#[path = "../behaviour/common.rs"]
#[allow(dead_code)]
mod common;
mod draw;
mod gradients;
mod illegal;
mod influence;
mod inputs;
mod layers;
mod losses;
mod run;
mod wrappers;
