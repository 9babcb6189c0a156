//! Tensors with automatic differentiation.
//!
//! A [`Tensor`] is an [`Array`] of values with a place in the autograd graph of the computation
//! that produced it. The backward pass visits the nodes in descending order of their ids, and the
//! graph is freed with a work list; neither is recursive, so the depth of a graph has no limit.
//! Candle's own graph is not used: candle arrays only store values.
//!
//! Arrays are immutable once they are shared. An update gives a parameter new values and a new
//! version; the backward pass of a graph recorded from an older version returns an error.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod backward;
mod checkpoint;
mod error;
mod gradient;
mod leaf;
mod node;
/// Differentiable operations.
pub mod ops;
mod reads;
mod scalar_type;
mod tensor;

pub use checkpoint::checkpoint;
pub use error::{Error, Result};
pub use leaf::Leaf;
pub use node::{is_grad_enabled, no_grad, with_grad};
pub use scalar_type::ScalarType;
pub use tensor::Tensor;
pub use xt_kernels::ops::quantized::Format;
pub use xt_kernels::{Array, DType, Device};
