//! NVIDIA GPUs.
//!
//! This module is a stub: no device can be opened, so none of this code runs. It defines the types
//! that CUDA implementations of kernels need. `cargo check --features cuda` reports kernels without
//! a CUDA implementation.

mod array;
mod gpu;

pub use array::Array;
pub use gpu::{gpu, Gpu};
