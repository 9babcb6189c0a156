//! GPUs of NVIDIA.
//!
//! So far a stub: no device can be opened, so that none of this runs. It has the types that kernels need for their
//! twins, and `cargo check --features cuda` tells which kernel has forgotten its own.

mod array;
mod gpu;

pub use array::Array;
pub use gpu::{gpu, Gpu};
