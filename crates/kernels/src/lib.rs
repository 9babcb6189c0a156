//! Kernels on plain arrays, without graph or options.
//!
//! One file per operation. Each has a `reference` made of candle's own unfused operations, which runs on every device
//! and dtype, a CPU version for f32 and f64 that is tested against it, and its gradient. An [`Array`] holds values;
//! the graph of derivatives is the business of `xt-autograd`.

// what has no elements is tried in the tests of `layout`; elsewhere they may take candle's own views
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods))]

pub mod activation;
pub mod alloc;
pub mod attention;
#[cfg(target_os = "linux")]
pub mod blocks;
pub mod convert;
pub mod cross_entropy;
pub mod dropout;
pub mod elementwise;
pub mod embedding;
pub mod extremes;
pub mod feedforward;
pub mod glu;
pub mod gru;
pub mod in_place;
pub mod layer_norm;
pub mod layout;
pub mod linear;
pub mod linear_cross_entropy;
pub mod matmul;
pub mod memory;
pub mod optimizer;
pub mod parallel;
pub mod philox;
pub mod quantized;
pub mod reduce;
pub mod rotary;
pub mod scale_norm;
pub mod softmax;
pub mod sparse_topk;
pub mod token_shift;

mod buffer;
mod cpu;
mod jobs;
#[cfg(not(target_family = "wasm"))]
mod limits;
#[cfg(target_os = "linux")]
mod pages;
mod product;
mod shortage;
mod simd;
mod skinny;
#[cfg(test)]
mod testing;

pub use candle_core::{DType, Device, DeviceLocation, Error, Result, Shape, Tensor as Array};
