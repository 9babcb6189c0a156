//! Element-wise loops and reductions over a fixed number of lanes. They compile to the vector
//! instructions of the CPU that the calling function targets. They are written as `for` loops: the
//! methods of an iterator may be compiled as separate functions for the baseline CPU.

use crate::host::Real;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Number of accumulators in the reductions below; in f32, two registers of AVX-512, four of AVX2
/// or two of WebAssembly.
const LANES: usize = if cfg!(target_family = "wasm") { 8 } else { 32 };

/// Whether the current target has a fused multiply-add, `a b + c`. For use in functions that are
/// compiled for several CPUs. Without the instruction, [`f32::mul_add`] is a slow library function.
macro_rules! has_fma {
    () => {
        multiversion::target::target_cfg_f!(any(
            target_feature = "fma",
            target_feature = "avx512f",
            target_arch = "aarch64"
        ))
    };
}
pub(crate) use has_fma;

/// Elements that [`map_in_place`] processes together; in f32, one register of AVX-512, two of AVX2
/// or four of WebAssembly.
const SIDE_BY_SIDE: usize = 16;

/// Replaces each element `x` with `f(x)`.
#[inline(always)]
pub fn map_in_place<T: Real>(xs: &mut [T], f: impl Fn(T) -> T) {
    let (chunks, rest) = xs.as_chunks_mut::<SIDE_BY_SIDE>();
    // flattened into one loop: of two nested loops, the compiler may vectorise the outer one
    for x in chunks.as_flattened_mut() {
        *x = f(*x);
    }
    let (chunks, rest) = rest.as_chunks_mut::<FEW>();
    for x in chunks.as_flattened_mut() {
        *x = f(*x);
    }
    for x in rest {
        *x = f(*x);
    }
}

/// Replaces each `x` with `f(x, y)`.
#[inline(always)]
pub fn zip_in_place<T: Real>(xs: &mut [T], ys: &[T], f: impl Fn(T, T) -> T) {
    let n = xs.len().min(ys.len());
    let (xc, xs) = xs[..n].as_chunks_mut::<SIDE_BY_SIDE>();
    let (yc, ys) = ys[..n].as_chunks::<SIDE_BY_SIDE>();
    for (x, y) in xc.as_flattened_mut().iter_mut().zip(yc.as_flattened()) {
        *x = f(*x, *y);
    }
    let ((xc, xs), (yc, ys)) = (xs.as_chunks_mut::<FEW>(), ys.as_chunks::<FEW>());
    for (x, y) in xc.as_flattened_mut().iter_mut().zip(yc.as_flattened()) {
        *x = f(*x, *y);
    }
    for (x, y) in xs.iter_mut().zip(ys) {
        *x = f(*x, *y);
    }
}

/// Writes `values` to `ys`, and adds the elements of `addend` if it is given.
#[inline(always)]
pub fn write_sum<T: Real>(
    ys: &mut [MaybeUninit<T>],
    values: impl Iterator<Item = T>,
    addend: Option<&[T]>,
) {
    match addend {
        None => {
            for (y, value) in ys.iter_mut().zip(values) {
                *y = MaybeUninit::new(value);
            }
        }
        Some(addend) => {
            for ((y, value), x) in ys.iter_mut().zip(values).zip(addend) {
                *y = MaybeUninit::new(value + *x);
            }
        }
    }
}

/// Extends `range` to a multiple of [`SIDE_BY_SIDE`] elements if it then still ends within the
/// `length` elements of the row. [`map_in_place`] is faster without a remainder.
#[inline(always)]
pub fn whole_vectors(range: &Range<usize>, length: usize) -> Range<usize> {
    let end = range.start + range.len().next_multiple_of(SIDE_BY_SIDE);
    range.start..if end <= length { end } else { range.end }
}

/// The sum of `f(x)` over `xs`.
#[inline(always)]
pub fn sum_by<T: Real>(xs: &[T], f: impl Fn(T) -> T) -> T {
    reduce(xs, T::ZERO, |x| f(*x), |a, b| a + b)
}

/// The sum of `f(x, y)` over pairs of elements.
#[inline(always)]
pub fn sum_by2<T: Real>(xs: &[T], ys: &[T], f: impl Fn(T, T) -> T) -> T {
    let n = xs.len().min(ys.len());
    let (xs, ys) = (&xs[..n], &ys[..n]);
    let (xc, xr) = xs.as_chunks::<LANES>();
    let (yc, yr) = ys.as_chunks::<LANES>();
    let mut lanes = [T::ZERO; LANES];
    for (x, y) in xc.iter().zip(yc) {
        for l in 0..LANES {
            lanes[l] += f(x[l], y[l]);
        }
    }
    let mut few = fold(lanes, |a, b| a + b);
    let ((xc, xr), (yc, yr)) = (xr.as_chunks::<FEW>(), yr.as_chunks::<FEW>());
    for (x, y) in xc.iter().zip(yc) {
        for l in 0..FEW {
            few[l] += f(x[l], y[l]);
        }
    }
    let mut sum = last(few, |a, b| a + b);
    for (x, y) in xr.iter().zip(yr) {
        sum += f(*x, *y);
    }
    sum
}

/// The largest value, or `T::LOWEST` if there is none. NaN is ignored.
#[inline(always)]
pub fn max<T: Real>(xs: &[T]) -> T {
    reduce(xs, T::LOWEST, |x| *x, |best, x| if x > best { x } else { best })
}

/// Number of accumulators that [`fold`] leaves of [`LANES`]. The remainder of a row is processed in
/// chunks of this size.
const FEW: usize = 4;

/// Reduces all `f(x)` with `join`, from `start` on. All array indices are known at compile time:
/// arrays with other indices would be in memory instead of registers.
#[inline(always)]
fn reduce<T: Real>(xs: &[T], start: T, f: impl Fn(&T) -> T, join: impl Fn(T, T) -> T) -> T {
    let (chunks, rest) = xs.as_chunks::<LANES>();
    let mut lanes = [start; LANES];
    for chunk in chunks {
        for l in 0..LANES {
            lanes[l] = join(lanes[l], f(&chunk[l]));
        }
    }
    let mut few = fold(lanes, &join);
    let (chunks, rest) = rest.as_chunks::<FEW>();
    for chunk in chunks {
        for l in 0..FEW {
            few[l] = join(few[l], f(&chunk[l]));
        }
    }
    let mut all = last(few, &join);
    for x in rest {
        all = join(all, f(x));
    }
    all
}

/// Reduces the accumulators to [`FEW`], pairwise and in vectors. In a sequential reduction, each
/// step would wait for the one before.
#[inline(always)]
fn fold<T: Real>(mut lanes: [T; LANES], join: impl Fn(T, T) -> T) -> [T; FEW] {
    // forces the accumulators into memory: the compiler would split the vectors of the loop before
    // to suit the pairwise reduction
    black_box(&mut lanes);
    let mut half = LANES / 2;
    while half >= FEW {
        for l in 0..half {
            lanes[l] = join(lanes[l], lanes[l + half]);
        }
        half /= 2;
    }
    let mut few = std::array::from_fn(|l| lanes[l]);
    black_box(&mut few);
    few
}

/// Reduces the last [`FEW`] accumulators to one.
#[inline(always)]
fn last<T: Real>([a, b, c, d]: [T; FEW], join: impl Fn(T, T) -> T) -> T {
    join(join(a, c), join(b, d))
}

/// The hyperbolic tangent, with a relative error of a few units in the last place: limits multiply
/// the result for small numbers. `FMA` as for [`Real::exp`](crate::host::Real::exp).
#[inline(always)]
pub fn tanh<T: Real, const FMA: bool>(x: T) -> T {
    if size_of::<T>() == size_of::<f64>() {
        return x.tanh();
    }
    let size = x.abs();
    let shrunk = (-(size + size)).exp_down::<FMA>();
    let far = (T::ONE - shrunk) / (T::ONE + shrunk);
    // near 0 the difference has few digits: the first terms of the series
    let square = size * size;
    let near = SERIES.iter().rev().fold(T::ZERO, |sum, term| sum * square + T::of(*term)) * size;
    let tanh = if size < T::of(0.3) { near } else { far };
    if x < T::ZERO {
        -tanh
    } else {
        tanh
    }
}

/// The terms of `tanh(x) / x` in x², up to an error of 2e-9 at 0.3.
const SERIES: [f64; 6] =
    [1.0, -1.0 / 3.0, 2.0 / 15.0, -17.0 / 315.0, 62.0 / 2835.0, -1382.0 / 155_925.0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tanh_has_the_digits_of_small_numbers() {
        for step in -4000..=4000 {
            let x = (step as f32 / 500.0).powi(3) / 50.0;
            let (want, wide) = (f64::from(x).tanh(), tanh::<f64, false>(f64::from(x)));
            let got = f64::from(tanh::<f32, false>(x));
            assert!((got - want).abs() <= 4e-7 * want.abs(), "tanh({x}): {got}, not {want}");
            assert!((wide - want).abs() <= 1e-15 * want.abs());
        }
        assert!(tanh::<f32, false>(f32::NAN).is_nan());
        assert_eq!(tanh::<f32, false>(f32::INFINITY), 1.0);
        assert_eq!(tanh::<f32, false>(f32::NEG_INFINITY), -1.0);
    }

    #[test]
    fn mapping_takes_every_element_and_whole_vectors_stay_inside() {
        for n in [0, 1, 3, 4, 15, 16, 17, 39, 100] {
            let mut xs: Vec<f64> = (0..n).map(f64::from).collect();
            map_in_place(&mut xs, |x| 2.0 * x);
            assert!(xs.iter().enumerate().all(|(i, x)| *x == 2.0 * i as f64));
            let ys = xs.clone();
            zip_in_place(&mut xs, &ys, |x, y| x * y + 1.0);
            assert!(xs.iter().enumerate().all(|(i, x)| *x == (4 * i * i + 1) as f64));
        }
        let cases = [
            (0..3, 40, 0..16),
            (5..21, 40, 5..21),
            (5..22, 40, 5..37),
            (5..22, 36, 5..22),
            (7..7, 7, 7..7),
        ];
        for (range, length, want) in cases {
            assert_eq!(whole_vectors(&range, length), want);
        }
    }

    #[test]
    fn reductions_take_every_element() {
        for n in [0, 1, 3, 4, 31, 32, 33, 39, 100] {
            let xs: Vec<f64> = (0..n).map(|i| i as f64).collect();
            assert_eq!(sum_by(&xs, |x| x), (0..n).sum::<i32>() as f64);
            assert_eq!(sum_by2(&xs, &xs, |x, y| x * y), (0..n).map(|i| i * i).sum::<i32>() as f64);
            assert_eq!(max(&xs), if n == 0 { f64::MIN } else { n as f64 - 1.0 });
        }
    }
}
