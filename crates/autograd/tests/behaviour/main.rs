//! Tensors with gradients: gradients agree with finite differences, and errors leave no
//! half-finished graph.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
mod elementwise;
mod freeing;
mod graph;
mod integers;
mod layers;
mod refusals;
mod shapes;
mod special_points;
mod statistics;
