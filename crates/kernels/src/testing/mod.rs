//! Helpers for the tests of kernels.
//!
//! `XT_DEVICE` chooses the device on which [`assert_matches_reference`] runs kernels: `cpu`, the
//! default, or `cuda`.

use crate::kernel::{run, Kernel};
use crate::ops::layout::narrow;
use crate::philox::Stream;
use crate::{Array, DType, Device};

/// Standard normal random numbers of shape `dims`, f32.
pub fn normal(dims: &[usize], seed: u64) -> Array {
    let values = Stream { seed, call: 0, draw: 0 }.normal(dims.iter().product());
    Array::from_vec(values, dims, &Device::Cpu).unwrap().to_dtype(DType::F32).unwrap()
}

/// Standard normal random numbers of shape `dims`, f64.
pub fn normal64(dims: &[usize], seed: u64) -> Array {
    let values = Stream { seed, call: 0, draw: 0 }.normal(dims.iter().product());
    Array::from_vec(values, dims, &Device::Cpu).unwrap()
}

/// Applies `f` to each element of an f64 array.
pub fn map(x: &Array, f: impl Fn(f64) -> f64) -> Array {
    Array::from_vec(values(x).into_iter().map(f).collect(), x.dims(), &Device::Cpu).unwrap()
}

/// The elements in row-major order, as f64.
pub fn values(x: &Array) -> Vec<f64> {
    x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Asserts that shapes are equal and that no element differs by more than `tolerance` times the
/// largest absolute value of `want` (at least 0.01).
#[track_caller]
pub fn assert_close(got: &Array, want: &Array, tolerance: f64) {
    assert_close_scaled(got, want, tolerance, 1e-2, "");
}

/// [`assert_close`] with `least_scale` as the lower bound of the largest absolute value; `what` is
/// compared, for the message.
#[track_caller]
fn assert_close_scaled(got: &Array, want: &Array, tolerance: f64, least_scale: f64, what: &str) {
    assert_eq!(got.dims(), want.dims());
    let (got, want) = (values(got), values(want));
    let scale = want.iter().fold(least_scale, |m, x| m.max(x.abs()));
    for (i, (g, w)) in got.iter().zip(&want).enumerate() {
        assert!((g - w).abs() <= tolerance * scale, "{what} entry {i}: got {g}, want {w}");
    }
}

/// Compares `gradient` with central differences of `Σ weight · f(x)`, in f64.
#[track_caller]
pub fn gradcheck(x: &Array, weight: &Array, gradient: &Array, f: impl Fn(&Array) -> Array) {
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
        assert!(
            (g[i] - want).abs() <= 1e-5 * (1.0 + want.abs()),
            "entry {i}: got {}, want {want}",
            g[i]
        );
    }
}

/// The same values in f64, which is precise enough for central differences.
pub fn f64s(x: &Array) -> Array {
    x.to_dtype(DType::F64).unwrap()
}

/// The dtypes that kernels are tested with.
const TYPES: [DType; 4] = [DType::F64, DType::F32, DType::F16, DType::BF16];

/// The tolerance of a dtype, relative to the largest absolute value, for a kernel with `tolerance`
/// in f32. In half precision, the reference rounds after each of candle's operations.
fn tolerance_for(dtype: DType, tolerance: f64) -> f64 {
    match dtype {
        _ if tolerance == 0.0 => 0.0,
        DType::F16 => 1e-2,
        DType::BF16 => 8e-2,
        DType::F64 => 1e-6 * tolerance,
        _ => tolerance,
    }
}

/// Returns an array of the same values with another memory layout.
type Relayout = fn(&Array) -> Array;

/// The same values with the last two axes in column-major order.
fn transposed(x: &Array) -> Array {
    match x.rank() {
        0 | 1 => x.clone(),
        _ => x.t().unwrap().copy().unwrap().t().unwrap(),
    }
}

/// A view into a larger array whose other elements are NaN.
fn embedded(x: &Array) -> Array {
    let mut y = x.clone();
    for axis in 0..x.rank() {
        let mut dims = y.dims().to_vec();
        dims[axis] = 1;
        let edge = Array::full(f64::NAN, dims, &x.device()).unwrap().to_dtype(x.dtype()).unwrap();
        y = Array::cat(&[&edge, &y, &edge], axis).unwrap();
    }
    x.dims().iter().enumerate().fold(y, |y, (axis, size)| narrow(&y, axis, 1, *size).unwrap())
}

/// Test inputs with more elements than this are not tested in half precision, where long sums are
/// inaccurate.
const MAX_ELEMENTS_IN_HALF: usize = 5_000;

/// The device that `XT_DEVICE` names.
///
/// # Panics
/// If there is no such device: a test must not pass without it.
pub fn device() -> Device {
    match std::env::var("XT_DEVICE").as_deref() {
        Err(_) | Ok("cpu") => Device::Cpu,
        Ok("cuda") => Device::cuda(0).unwrap(),
        Ok(other) => panic!("XT_DEVICE is {other:?}, neither \"cpu\" nor \"cuda\""),
    }
}

/// Lengths of rows: those in which a NaN may be missed. On a GPU, which may be an emulated one, few
/// of them: a warp has 32 threads.
pub fn lengths() -> Vec<usize> {
    match device().is_cpu() {
        true => (1..=70).collect(),
        false => vec![1, 2, 31, 33],
    }
}

/// The array on the device that `XT_DEVICE` names.
pub fn on_device(x: &Array) -> Array {
    x.to_device(&device()).unwrap()
}

/// The result of a kernel's reference, which runs on the CPU, for operands on any device.
pub fn reference<K: Kernel>(kernel: &K) -> K::Out {
    let mut on_host = kernel.clone();
    on_host.each_mut(&mut |array| *array = array.to_device(&Device::Cpu).unwrap());
    on_host.check().unwrap();
    on_host.reference().unwrap()
}

/// On a GPU, test inputs with more elements than this are tested in f32 and contiguous only: dtypes
/// and layouts are tested with smaller ones, and the GPU may be an emulated one.
const MAX_ELEMENTS_IN_ALL: usize = 20_000;

/// Compares the implementation that [`run`] selects, for each dtype and memory layout, with the
/// reference in f64.
///
/// `tolerance` is for f32, relative to the largest absolute value.
pub fn assert_matches_reference<K: Kernel>(tolerance: f64) {
    let (cases, device) = (K::cases(), device());
    // without any, this would compare nothing
    assert!(!cases.is_empty(), "{} has no cases", K::NAME);
    for (i, case) in cases.into_iter().enumerate() {
        let mut count = 0;
        case.each(&mut |array| count += array.elem_count());
        for dtype in TYPES {
            let half = matches!(dtype, DType::F16 | DType::BF16);
            if half && (count > MAX_ELEMENTS_IN_HALF || !K::HALF) {
                continue;
            }
            let large = !device.is_cpu() && count > MAX_ELEMENTS_IN_ALL;
            if large && dtype != DType::F32 {
                continue;
            }
            let relayouts: [Relayout; 3] = [Clone::clone, transposed, embedded];
            let layouts = if large { 1 } else { relayouts.len() };
            for (layout, relayout) in relayouts.into_iter().take(layouts).enumerate() {
                let (mut kernel, mut exact) = (case.clone(), case.clone());
                let floats = |f: &dyn Fn(&Array) -> Array, kernel: &mut K| {
                    kernel.each_mut(&mut |array| {
                        if array.dtype().is_float() {
                            *array = f(array);
                        }
                    });
                };
                kernel.each_mut(&mut |array| *array = array.to_device(&device).unwrap());
                floats(&|x| relayout(&x.to_dtype(dtype).unwrap()), &mut kernel);
                floats(&|x| x.to_dtype(dtype).unwrap().to_dtype(DType::F64).unwrap(), &mut exact);
                kernel.prepare();
                exact.prepare();
                let got = kernel.results(&run(&kernel).unwrap());
                let want = exact.results(&exact.reference().unwrap());
                assert_eq!(got.len(), want.len(), "{}", K::NAME);
                for (got, want) in got.iter().zip(&want) {
                    assert!(!want.dtype().is_float() || got.dtype().is_float(), "{}", K::NAME);
                    assert_close_scaled(
                        got,
                        want,
                        tolerance_for(dtype, tolerance),
                        if half { 1.0 } else { 1e-2 },
                        &format!("{}, {dtype:?}, case {i}, layout {layout},", K::NAME),
                    );
                }
            }
        }
    }
}
