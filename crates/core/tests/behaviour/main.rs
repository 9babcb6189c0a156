//! What models promise, beyond the recorded cases: initial values, modes, randomness, generation, checkpoints, training.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod checkpoint;
mod common;
mod damaged;
mod dropout;
mod forgetful_mask;
mod generation;
mod gradients;
mod influence;
mod initial_values;
mod modes;
mod names;
mod optimizers;
mod refusals;
mod sampling;
mod state;
