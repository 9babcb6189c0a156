//! Behaviour of models beyond the recorded cases: initial values, modes, randomness, generation,
//! checkpoints, training.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod activations;
mod adafactor;
mod average;
mod beams;
mod cached_generation;
mod checkpoint;
mod checkpointing;
mod columns;
mod common;
mod context_positions;
mod coverage;
mod damaged;
mod deep;
#[path = "../support/device.rs"]
mod device;
mod dropout;
mod explicit_cache;
mod forgetful_mask;
mod generation;
mod gradients;
mod influence;
mod initial_values;
mod label_smoothing;
mod lora;
mod masked_generation;
mod masked_losses;
mod memories;
mod modern_attention;
mod modern_blocks;
mod modern_feedforward;
mod modern_heads;
mod modern_layers;
mod modern_pools;
mod modern_positions;
mod modern_prompts;
mod modern_rotary;
mod modern_stack;
mod modes;
mod muon;
mod names;
mod optimizers;
mod options;
mod per_layer;
mod prompts;
mod python_files;
mod quantize;
mod raises_in_python;
mod raises_in_python_positions;
mod refusals;
mod sampling;
mod score;
mod segments;
mod single_layers;
mod state;
mod token_dropout;
mod torch_files;
mod torch_optimizers;
mod vit;
mod windows;
mod writing;
