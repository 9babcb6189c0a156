//! Loops and reductions over fixed lanes: they become vector instructions of whatever processor the
//! calling function was compiled for. They are written as `for`: what an iterator's methods become
//! may stay a function of its own, which is compiled for the least of all processors.

use crate::host::Real;
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Lanes that the reductions below keep apart: two registers of AVX-512, four of AVX2, two of WebAssembly.
const LANES: usize = if cfg!(target_family = "wasm") { 8 } else { 32 };

/// Within a function that is compiled for several processors: whether the one at hand has an instruction for `a b + c`. Where there is none,
/// [`f32::mul_add`] is a slow function.
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

/// Numbers that [`map_in_place`] takes side by side: one register of AVX-512, two of AVX2, four of WebAssembly.
const SIDE_BY_SIDE: usize = 16;

/// `f` of each.
#[inline(always)]
pub fn map_in_place<T: Real>(xs: &mut [T], f: impl Fn(T) -> T) {
    let (chunks, rest) = xs.as_chunks_mut::<SIDE_BY_SIDE>();
    // as one loop: of two, the compiler may take the outer one for its vectors
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

/// `f(x, y)` in place of each x.
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

/// Writes values, each with what is beside it, where there is something.
#[inline(always)]
pub fn write_sum<T: Real>(ys: &mut [MaybeUninit<T>], values: impl Iterator<Item = T>, beside: Option<&[T]>) {
    match beside {
        None => {
            for (y, value) in ys.iter_mut().zip(values) {
                *y = MaybeUninit::new(value);
            }
        }
        Some(beside) => {
            for ((y, value), x) in ys.iter_mut().zip(values).zip(beside) {
                *y = MaybeUninit::new(value + *x);
            }
        }
    }
}

/// The range up to the end of its last vector, where a row of `length` goes on so far: [`map_in_place`] takes less time for it.
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

/// The sum of `f(x, y)` over pairs.
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

/// The largest value; `T::LOWEST` for none. NaN is passed over.
#[inline(always)]
pub fn max<T: Real>(xs: &[T]) -> T {
    reduce(xs, T::LOWEST, |x| *x, |best, x| if x > best { x } else { best })
}

/// Lanes that are left of [`LANES`] when each has been joined with others; of what remains of a row, as many go side by side.
const FEW: usize = 4;

/// What `join` makes of all `f(x)`, beginning with `start`. No array here is indexed by what only the program knows: it would have to lie in memory.
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

/// Joins lanes until a few are left: as vectors and by twos, where one after the other each would wait for the one before.
#[inline(always)]
fn fold<T: Real>(mut lanes: [T; LANES], join: impl Fn(T, T) -> T) -> [T; FEW] {
    // looked at in memory: the compiler would take the vectors of the loop before apart for what follows here
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

#[inline(always)]
fn last<T: Real>([a, b, c, d]: [T; FEW], join: impl Fn(T, T) -> T) -> T {
    join(join(a, c), join(b, d))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let cases = [(0..3, 40, 0..16), (5..21, 40, 5..21), (5..22, 40, 5..37), (5..22, 36, 5..22), (7..7, 7, 7..7)];
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
