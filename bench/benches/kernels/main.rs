//! Throughput of every kernel, forward and backward.
//!
//! Products report elem/s with one element per floating-point operation, so read FLOP/s: a product
//! of (m, k) and (k, n) has 2 m k n of them. All others are bound by memory and report B/s over
//! what they read and write once, or at least must: temporary arrays do not count. At the end
//! stands what each reaches of the processor's peak.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod layers;
mod memory;
mod peak;
mod products;
mod setup;
mod shares;

use criterion::{criterion_group, Criterion};

criterion_group! {
    name = kernels;
    config = setup::config();
    targets = products::matmul, products::attention, products::linear, products::feedforward,
        products::linear_cross_entropy, products::quantized, layers::gru, layers::glu, layers::token_shift, layers::sparse_topk,
        layers::layer_norm, layers::scale_norm, layers::softmax, layers::extremes, layers::order, layers::activation, layers::cross_entropy,
        layers::rotary, memory::add, memory::broadcast, memory::layout, memory::dropout, memory::embedding,
        memory::optimizer, memory::random
}

fn main() {
    let peak = peak::Peak::measure();
    kernels();
    Criterion::default().configure_from_args().final_summary();
    shares::print(peak);
}
