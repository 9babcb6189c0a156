//! Quantised weights of linear layers, for inference, and their product `y = x Wᵀ + bias`.
//!
//! Each step of decoding reads every weight once, so its time is bounded by the number of bytes
//! read. The product converts a few rows of weights at a time to f32, in a buffer that stays in the
//! L1 cache, and multiplies them there.
//!
//! The formats and their values are those of ggml, <https://github.com/ggml-org/ggml>: blocks of 32
//! consecutive weights share a scale in f16. Unlike in ggml, scales and quants are stored in
//! separate arrays, so that both can be loaded as SIMD vectors.

mod blocks;
mod format;
mod packed;
mod product;
#[cfg(test)]
mod tests;

pub use format::Format;
pub use packed::{check, Packed};
pub use product::{forward, forward_all};
