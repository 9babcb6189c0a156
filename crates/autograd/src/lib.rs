//! Tensors with gradients.
//!
//! A [`Tensor`] is values (an [`Array`]) and a place in the graph of the computation that made them. The graph is walked
//! in the order of the nodes' numbers and freed with a list of work, never by recursion, so that its depth has
//! no limit. Candle's own graph is not used: its arrays here are plain values.
//!
//! Arrays are never changed in place. A parameter that is updated gets new values and a new version; a graph that was
//! made from the old ones then refuses backward.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod backward;
mod error;
mod gradient;
mod leaf;
mod node;
pub mod ops;
mod tensor;

pub use error::{Error, Result};
pub use leaf::Leaf;
pub use node::{is_grad_enabled, no_grad, with_grad};
pub use tensor::{Kind, Tensor};
pub use xt_kernels::ops::quantized::Format;
pub use xt_kernels::{Array, DType, Device};
