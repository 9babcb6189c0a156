//! Layers, models, training and generation of x-transformers.
//!
//! This crate does not depend on JavaScript, files, threads, clocks or terminals. [`models`]
//! contains the public model classes. [`Model::build`] constructs a model from a class name and
//! options, and [`Model::call`] runs it with named arguments; language bindings and checkpoints use
//! these two.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod activations;
pub mod attention;
pub mod checkpoint;
mod context;
mod error;
pub mod generation;
mod ids;
pub mod layers;
mod lora;
mod mask;
mod memory;
pub mod models;
mod needs;
mod params;
pub mod position;
mod segments;
pub mod training;
mod value;

pub use activations::Activations;
pub use context::{Ctx, Mode, Rng};
pub use error::{Error, Result};
pub use models::{LoadReport, Model};
pub use params::{Entry, EntryKind, Init, Param, Params};
pub use segments::Segments;
pub use value::{Args, Value};
pub use xt_autograd::{no_grad, with_grad, Array, DType, Device, Format, Leaf, ScalarType, Tensor};

/// The version of this crate, which checkpoints record.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
