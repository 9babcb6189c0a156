//! Tensor kernels on plain arrays, without an autograd graph and without options.
//!
//! `ops` has a file or a folder per operation. Each contains a `reference` built from candle's
//! unfused operations, which runs on the host for every dtype, optimised implementations for the
//! CPU and for GPUs that are tested against the reference, and the gradient. `host` has the
//! building blocks of the CPU implementations, `cuda` those of the GPU implementations. `memory`
//! counts allocated memory and refuses allocations that do not fit. An [`Array`] contains values
//! only; the autograd graph is in `xt-autograd`.

// The lint forbids candle's `narrow`, which is wrong for views without elements. The tests of
// `layout` cover those; other tests may call candle's methods.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)
)]

mod array;
#[cfg(feature = "cuda")]
pub mod cuda;
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
mod transfer;

pub use array::{Array, Element};
pub use candle_core::{DType, Shape};
pub use device::Device;
pub use error::{Error, Result};
pub use kernel::{fallbacks, Arrays, Fallback};
pub use transfer::{transfers, Transfers};
