//! Helpers of the kernels' tests.

use crate::philox::Stream;
use crate::{Array, DType, Device};

/// Seeded normal numbers, f32.
pub fn normal(dims: &[usize], seed: u64) -> Array {
    let values = Stream { seed, call: 0, draw: 0 }.normal(dims.iter().product());
    Array::from_vec(values, dims, &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap()
}

pub fn values(x: &Array) -> Vec<f64> {
    x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Fails where shapes differ, or a value by more than `tolerance` times the largest.
#[track_caller]
pub fn close(got: &Array, want: &Array, tolerance: f64) {
    assert_eq!(got.dims(), want.dims());
    let (got, want) = (values(got), values(want));
    let scale = want.iter().fold(1e-2_f64, |m, x| m.max(x.abs()));
    for (i, (g, w)) in got.iter().zip(&want).enumerate() {
        assert!((g - w).abs() <= tolerance * scale, "entry {i}: got {g}, want {w}");
    }
}

/// Compares `gradient` with central differences of `Σ weight · f(x)`, in f64.
#[track_caller]
pub fn differences(x: &Array, weight: &Array, gradient: &Array, f: impl Fn(&Array) -> Array) {
    let (x64, w, g) = (values(x), values(weight), values(gradient));
    let objective = |v: Vec<f64>| -> f64 {
        let y = f(&Array::from_vec(v, x.dims(), &Device::Cpu).unwrap());
        values(&y).iter().zip(&w).map(|(y, w)| y * w).sum()
    };
    let step = 1e-5;
    for i in 0..x64.len() {
        let moved = |d: f64| {
            let mut v = x64.clone();
            v[i] += d;
            objective(v)
        };
        let want = (moved(step) - moved(-step)) / (2.0 * step);
        assert!((g[i] - want).abs() <= 1e-5 * (1.0 + want.abs()), "entry {i}: got {}, want {want}", g[i]);
    }
}

/// The same values in f64, where differences are exact enough.
pub fn f64s(x: &Array) -> Array {
    x.to_dtype(DType::F64).unwrap()
}
