//! Holds the benchmarks in `benches/`.
