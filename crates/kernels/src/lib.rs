//! Kernels on plain arrays, without graph or options.
//!
//! `ops` has a file for each operation: a `reference` made of candle's own unfused operations, which runs on every device and
//! dtype, a version for the processor that is tested against it, and its gradient. `host` is what those versions are made of,
//! `memory` counts what they take and refuses what there is no room for. An [`Array`] holds values; the graph of
//! derivatives is the business of `xt-autograd`.

// what has no elements is tried in the tests of `layout`; elsewhere they may take candle's own views
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods))]

mod array;
#[cfg(feature = "cuda")]
mod cuda;
mod device;
mod error;
pub mod host;
mod kernel;
pub mod memory;
pub mod ops;
pub mod philox;
#[cfg(any(test, feature = "cuda"))]
mod registry;

#[cfg(test)]
mod testing;

pub use array::{transfers, Array, Element, Transfers};
pub use candle_core::{DType, Shape};
pub use device::Device;
pub use error::{Error, Result};
pub use kernel::{fallbacks, Arrays, Fallback};
