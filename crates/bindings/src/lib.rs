//! The common part of both addons: every function of `ts/native/native.ts` in terms of Rust types.
//! The addons only convert handles and errors; neither contains model logic.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod context;
mod guard;
mod model;
mod ops;
mod options;
mod reader;
mod tensor;
mod training;

pub use context::{AbortFlag, Context};
pub use guard::guard;
pub use model::{
    call, child, construct, describe, entry, generation, load_state, quantization, quantize,
    release, save, train, Generating, Reply,
};
pub use ops::op;
pub use options::{resolve_groups, resolve_options};
pub use reader::{reader, Reading};
pub use tensor::{
    assign, bytes_of, device_name, from_bytes, grad, move_to, parse_device, release_leaf, set_grad,
    set_requires_grad, to_leaf, write_tensors,
};
pub use training::{
    backward, clip_grad_norm, optimizer, optimizer_load_state, optimizer_state, optimizer_step,
    write_optimizer,
};
pub use xt_core::training::Optimizer;
pub use xt_core::{Error, Model, Result, Tensor};
pub use xt_kernels::host::parallel::in_pool;
pub use xt_kernels::memory;
#[cfg(target_os = "linux")]
pub use xt_kernels::memory::blocks;

use serde_json::json;

/// Build and runtime information as JSON: version, target, SIMD variant, number of threads, whether
/// CUDA is compiled in, and the kernels that ran without an implementation for their device and
/// type, with the number of calls.
pub fn info() -> String {
    let target = if cfg!(target_family = "wasm") { "wasm" } else { "native" };
    let simd = if cfg!(target_feature = "relaxed-simd") { "relaxed" } else { "plain" };
    let fallbacks = xt_kernels::fallbacks()
        .into_iter()
        .map(|(of, count)| json!({ "kernel": of.kernel, "device": of.device, "dtype": of.dtype, "count": count }));
    json!({
        "version": xt_core::VERSION,
        "target": target,
        "simd": simd,
        "threads": xt_kernels::host::parallel::threads(),
        "cuda": cfg!(feature = "cuda"),
        "fallbacks": fallbacks.collect::<Vec<_>>(),
    })
    .to_string()
}

/// Sets the number of threads of the CPU kernels, for calls that begin later.
pub fn set_num_threads(count: usize) -> Result<()> {
    Ok(xt_kernels::host::parallel::set_threads(count)?)
}

/// Parses a JSON argument that the TypeScript layer has written itself; an error is internal.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|e| Error::Internal(format!("arguments: {e}")))
}
