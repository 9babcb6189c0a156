//! The common part of both addons: the native methods in terms of Rust types (`methods`). The
//! addons only convert handles and errors; neither contains model logic.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod context;
mod device;
mod guard;
pub mod methods;
mod ops;

pub use context::{AbortFlag, Context};
pub use device::parse_device;
pub use guard::guard;
pub use xt_core::{Device, Error, Model, Result, ScalarType, Tensor};
pub use xt_kernels::host::parallel::in_pool;
pub use xt_kernels::memory;
#[cfg(target_os = "linux")]
pub use xt_kernels::memory::blocks;

/// Parses a JSON argument that the TypeScript layer has written itself; an error is internal.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|e| Error::Internal(format!("arguments: {e}")))
}
