//! Random combinations of options of every class: models are built, run, trained for a step and
//! generate, and invariants are checked. The combinations are the same in every run, and with
//! `XT_SLOW=1` four times as many; `PROPTEST_CASES` and `PROPTEST_RNG_SEED` select others.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cached;
mod case;
mod choices;
#[path = "../behaviour/common.rs"]
#[allow(dead_code)]
mod common;
#[path = "../support/device.rs"]
mod device;
mod draw;
mod gradients;
mod illegal;
mod influence;
mod inputs;
mod layers;
mod losses;
mod run;
mod wrappers;
