//! Helpers of the kernels' tests.

use crate::kernel::{run, Arrays, Kernel};
use crate::ops::layout::narrow;
use crate::philox::Stream;
use crate::{Array, DType, Device};

/// Seeded normal numbers, f32.
pub fn normal(dims: &[usize], seed: u64) -> Array {
    let values = Stream { seed, call: 0, draw: 0 }.normal(dims.iter().product());
    Array::from_vec(values, dims, &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap()
}

/// Seeded normal numbers, f64.
pub fn normal64(dims: &[usize], seed: u64) -> Array {
    let values = Stream { seed, call: 0, draw: 0 }.normal(dims.iter().product());
    Array::from_vec(values, dims, &Device::Cpu).unwrap()
}

/// `f` of each number of an array of f64.
pub fn map(x: &Array, f: impl Fn(f64) -> f64) -> Array {
    Array::from_vec(values(x).into_iter().map(f).collect(), x.dims(), &Device::Cpu).unwrap()
}

pub fn values(x: &Array) -> Vec<f64> {
    x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Fails where shapes differ, or a value by more than `tolerance` times the largest.
#[track_caller]
pub fn close(got: &Array, want: &Array, tolerance: f64) {
    near(got, want, tolerance, 1e-2);
}

/// [`close`], where the largest number counts as `least` at least.
#[track_caller]
fn near(got: &Array, want: &Array, tolerance: f64, least: f64) {
    assert_eq!(got.dims(), want.dims());
    let (got, want) = (values(got), values(want));
    let scale = want.iter().fold(least, |m, x| m.max(x.abs()));
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

/// The types that kernels are tested in.
const TYPES: [DType; 4] = [DType::F64, DType::F32, DType::F16, DType::BF16];

/// How far a type may be off, in units of the largest number, where f32 may be off by `tolerance`. Half precision is
/// rounded after each of candle's operations.
fn allowed(dtype: DType, tolerance: f64) -> f64 {
    match dtype {
        _ if tolerance == 0.0 => 0.0,
        DType::F16 => 1e-2,
        DType::BF16 => 8e-2,
        DType::F64 => 1e-6 * tolerance,
        _ => tolerance,
    }
}

/// An array of the same values that lies in memory in another way.
type View = fn(&Array) -> Array;

fn transposed(x: &Array) -> Array {
    match x.rank() {
        0 | 1 => x.clone(),
        _ => x.t().unwrap().copy().unwrap().t().unwrap(),
    }
}

/// Within a larger one, of which all other numbers are NaN.
fn inside(x: &Array) -> Array {
    let mut y = x.clone();
    for axis in 0..x.rank() {
        let mut dims = y.dims().to_vec();
        dims[axis] = 1;
        let edge = Array::full(f64::NAN, dims, &Device::Cpu).unwrap().to_dtype(x.dtype()).unwrap();
        y = Array::cat(&[&edge, &y, &edge], axis).unwrap();
    }
    x.dims().iter().enumerate().fold(y, |y, (axis, size)| narrow(&y, axis, 1, *size).unwrap())
}

fn outputs(out: &impl Arrays) -> Vec<Array> {
    let mut all = Vec::new();
    out.each(&mut |array| all.push(array.clone()));
    all
}

/// Whether a kernel's case takes part in the types of half precision: sums of many of them are far off.
const MOST_IN_HALF: usize = 5_000;

/// Compares what runs for each type and each way to lie in memory with the reference in f64.
///
/// `tolerance` is for f32, in units of the largest number.
pub fn twins<K: Kernel>(tolerance: f64) {
    for case in K::cases() {
        let mut count = 0;
        case.each(&mut |array| count += array.elem_count());
        for dtype in TYPES {
            let half = matches!(dtype, DType::F16 | DType::BF16);
            if half && count > MOST_IN_HALF {
                continue;
            }
            let views: [View; 3] = [Clone::clone, transposed, inside];
            for view in views {
                let (mut kernel, mut exact) = (case.clone(), case.clone());
                let floats = |f: &dyn Fn(&Array) -> Array, kernel: &mut K| {
                    kernel.each_mut(&mut |array| {
                        if array.dtype().is_float() {
                            *array = f(array);
                        }
                    });
                };
                floats(&|x| view(&x.to_dtype(dtype).unwrap()), &mut kernel);
                floats(&|x| x.to_dtype(dtype).unwrap().to_dtype(DType::F64).unwrap(), &mut exact);
                let got = outputs(&run(&kernel).unwrap());
                let want = outputs(&exact.reference().unwrap());
                assert_eq!(got.len(), want.len(), "{}", K::NAME);
                for (got, want) in got.iter().zip(&want) {
                    assert!(!want.dtype().is_float() || got.dtype().is_float(), "{}", K::NAME);
                    near(got, want, allowed(dtype, tolerance), if half { 1.0 } else { 1e-2 });
                }
            }
        }
    }
}
