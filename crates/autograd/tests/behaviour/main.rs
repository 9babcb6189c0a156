//! What tensors with gradients promise: gradients that agree with differences, and a graph that is
//! never half done.

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
