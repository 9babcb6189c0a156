//! Layers, models, training and generation of x-transformers.
//!
//! Nothing here knows JavaScript, files, threads, clocks or terminals. [`models`] has the public classes; [`Model::build`]
//! makes one from its name and options and runs it with arguments by name, as bindings and checkpoints need it.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod attention;
pub mod checkpoint;
mod context;
mod error;
pub mod generation;
mod ids;
pub mod layers;
pub mod models;
mod params;
pub mod position;
pub mod training;
mod value;

pub use context::{Ctx, Mode, Rng};
pub use error::{Error, Result};
pub use models::{LoadReport, Model};
pub use params::{Entry, EntryKind, Init, Param, Params};
pub use value::{Args, Value};
pub use xt_autograd::{no_grad, with_grad, Array, DType, Device, Format, Kind, Leaf, Tensor};

/// The version that checkpoints carry.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
