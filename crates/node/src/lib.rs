//! The addon for Node: the native methods of `xt-bindings` on napi-rs. Heavy ones run on the
//! addon's own threads.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod abort;
mod errors;
// never called in a test program, which no environment loads
#[cfg_attr(test, allow(dead_code))]
mod load;
mod memory;
pub mod methods;
mod numbers;
mod promise;
#[cfg(target_os = "linux")]
mod small;
mod threads;
mod work;
