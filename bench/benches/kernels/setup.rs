//! Inputs, and how long to measure.

use crate::shares;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use std::hint::black_box;
use std::time::{Duration, Instant};
use xt_kernels::philox::Stream;
use xt_kernels::{Array, DType, Device, Result};

/// Short: all of them take about two minutes.
pub fn config() -> Criterion {
    Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .without_plots()
}

/// The size of the model that `npm start` trains: rows (24 sequences of 128), width, heads, width
/// of a head, tokens.
pub const BATCH: usize = 24;
pub const LENGTH: usize = 128;
pub const ROWS: usize = BATCH * LENGTH;
pub const DIM: usize = 160;
pub const HEADS: usize = 5;
pub const DIM_HEAD: usize = 32;
pub const TOKENS: usize = 256;

/// Seeded normal numbers, f32.
pub fn normal(dims: &[usize], seed: u64) -> Array {
    let values = Stream { seed, call: 0, draw: 0 }.normal(dims.iter().product());
    Array::from_vec(values, dims, &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap()
}

/// Seeded indices below `bound`.
pub fn indices(count: usize, bound: usize) -> Array {
    let drawn = Stream { seed: 9, call: 0, draw: 0 }.below(bound as u64, count);
    Array::from_vec(drawn.into_iter().map(|i| i as i64).collect::<Vec<_>>(), count, &Device::Cpu)
        .unwrap()
}

/// Kernels that are measured one after the other.
pub struct Group<'a> {
    name: &'static str,
    group: BenchmarkGroup<'a, WallTime>,
}

impl<'a> Group<'a> {
    pub fn new(c: &'a mut Criterion, name: &'static str) -> Self {
        Self { name, group: c.benchmark_group(name) }
    }

    /// One kernel, of `flops` floating-point operations.
    pub fn product<T>(&mut self, name: &str, flops: usize, f: impl Fn() -> Result<T>) {
        self.run(name, Throughput::Elements(flops as u64), f);
    }

    /// One kernel that reads and writes this many f32 altogether.
    pub fn memory<T>(&mut self, name: &str, floats: usize, f: impl Fn() -> Result<T>) {
        self.run(name, Throughput::Bytes(4 * floats as u64), f);
    }

    fn run<T>(&mut self, name: &str, throughput: Throughput, f: impl Fn() -> Result<T>) {
        let whole = format!("{}: {name}", self.name);
        self.group.throughput(throughput.clone());
        self.group.bench_function(name, |b| {
            b.iter_custom(|times| {
                let start = Instant::now();
                for _ in 0..times {
                    black_box(f().unwrap());
                }
                let took = start.elapsed();
                shares::record(&whole, &throughput, took.as_secs_f64() / times as f64);
                took
            });
        });
    }

    pub fn finish(self) {
        self.group.finish();
    }
}
