//! Matrix products with few rows, `y = x Wᵀ`, and weighted sums of rows. A decoding step of text
//! generation consists of these: products with the weights of layers, and products with and sums
//! over cached keys and values.
//!
//! The rows of the large matrix are read once, directly from memory: packing them, as gemm does,
//! would cost more than the product. A tile of dot products, of two rows of `x` with four of `W`,
//! is accumulated in registers.

use crate::host::Real;
use pulp::{Arch, Simd, WithSimd};

/// A matrix whose row `i` starts at `i · stride` and has `width` elements. Data after the last row
/// that is used is expected to be read next and is prefetched.
#[derive(Clone, Copy)]
pub struct StridedRows<'a, T> {
    /// The elements of all rows, from the first row on.
    pub data: &'a [T],
    /// Distance between the starts of rows, in elements.
    pub stride: usize,
    /// Elements of a row.
    pub width: usize,
}

impl<'a, T> StridedRows<'a, T> {
    /// Row `i`, of `width` elements.
    #[inline(always)]
    fn row(&self, i: usize) -> &'a [T] {
        &self.data[i * self.stride..][..self.width]
    }
}

/// Reference of [`Blas::gemv`](crate::host::gemm::blas::Blas::gemv): one dot product at a time.
pub fn gemv_reference<T: Real>(x: &[T], w: StridedRows<T>, y: &mut [T]) {
    let m = x.len() / w.width;
    for (j, y) in y.chunks_exact_mut(m).enumerate() {
        for (y, x) in y.iter_mut().zip(x.chunks_exact(w.width)) {
            *y = crate::host::simd::sum_by2(x, w.row(j), |a, b| a * b);
        }
    }
}

/// Reference of [`Blas::weighted_sum`](crate::host::gemm::blas::Blas::weighted_sum): one row at a
/// time.
pub fn weighted_sum_reference<T: Real>(weights: &[T], rows: StridedRows<T>, y: &mut [T]) {
    y.fill(T::ZERO);
    for (i, weight) in weights.iter().enumerate() {
        y.iter_mut().zip(rows.row(i)).for_each(|(y, x)| *y += *weight * *x);
    }
}

/// [`Blas::gemv`](crate::host::gemm::blas::Blas::gemv) for f32.
pub fn gemv_f32(x: &[f32], w: StridedRows<f32>, y: &mut [f32]) {
    Arch::new().dispatch(Gemv { x, w, y });
}

/// [`Blas::weighted_sum`](crate::host::gemm::blas::Blas::weighted_sum) for f32.
pub fn weighted_sum_f32(weights: &[f32], rows: StridedRows<f32>, y: &mut [f32]) {
    Arch::new().dispatch(WeightedSum { weights, rows, y });
}

/// Arguments of [`gemv_f32`]: `x` (m, k), `w` (n, k), `y` (n, m).
struct Gemv<'a> {
    x: &'a [f32],
    w: StridedRows<'a, f32>,
    y: &'a mut [f32],
}

impl WithSimd for Gemv<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Gemv { x, w, y } = self;
        let m = x.len() / w.width;
        let n = y.len() / m;
        let fours = n - n % 4;
        // a tile of 4 x 4 accumulators needs 21 registers
        let tall = if S::REGISTER_COUNT >= 32 { m - m % 4 } else { 0 };
        let pairs = m - m % 2;
        for j in (0..fours).step_by(4) {
            let ahead = j * w.stride + PREFETCH_DISTANCE < w.data.len();
            for i in (0..tall).step_by(4) {
                tile::<S, 4, 4>(simd, x, w, (i, j), ahead && i == 0, y);
            }
            for i in (tall..pairs).step_by(2) {
                tile::<S, 2, 4>(simd, x, w, (i, j), ahead && i == 0, y);
            }
            if pairs < m {
                tile::<S, 1, 4>(simd, x, w, (pairs, j), ahead && m == 1, y);
            }
        }
        for j in fours..n {
            (0..m).for_each(|i| tile::<S, 1, 1>(simd, x, w, (i, j), false, y));
        }
    }
}

/// Prefetch distance, in f32 elements.
const PREFETCH_DISTANCE: usize = 8 * 1024;

/// Prefetches the address [`PREFETCH_DISTANCE`] elements after `at`. The processor then loads more
/// at a time into its L2 cache than for reads alone.
#[inline(always)]
fn fetch_ahead<T>(at: *const T) {
    fetch(at.cast::<f32>().wrapping_add(PREFETCH_DISTANCE).cast());
}

/// Prefetches the cache line at `at` into the L2 cache.
#[inline(always)]
fn fetch(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch is a hint and is valid for any address.
    unsafe {
        use core::arch::x86_64::{_mm_prefetch, _MM_HINT_T1};
        _mm_prefetch(at.cast::<i8>(), _MM_HINT_T1);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Prefetches the first part of `data`, which will be read soon.
pub fn prefetch<T>(data: &[T]) {
    const LINE: usize = 64;
    let bytes = std::mem::size_of_val(data).min(PREFETCH_DISTANCE * size_of::<f32>());
    (0..bytes)
        .step_by(LINE)
        .for_each(|at| fetch(data.as_ptr().cast::<u8>().wrapping_add(at).cast()));
}

/// Writes the dot products of M rows of `x`, from row `i` on, with N rows of `w`, from row `j` on.
/// `ahead` says whether to prefetch.
#[inline(always)]
fn tile<S: Simd, const M: usize, const N: usize>(
    simd: S,
    x: &[f32],
    w: StridedRows<f32>,
    (i, j): (usize, usize),
    ahead: bool,
    y: &mut [f32],
) {
    let m = x.len() / w.width;
    let xs: [(&[S::f32s], &[f32]); M] =
        std::array::from_fn(|r| S::as_simd_f32s(&x[(i + r) * w.width..][..w.width]));
    let ws: [(&[S::f32s], &[f32]); N] = std::array::from_fn(|c| S::as_simd_f32s(w.row(j + c)));
    // slices of equal length, so that the loop needs no bounds checks
    let n = xs[0].0.len();
    let (xv, wv) = (xs.map(|x| &x.0[..n]), ws.map(|w| &w.0[..n]));
    let mut sums = [[simd.splat_f32s(0.0); N]; M];
    for at in 0..n {
        let columns: [S::f32s; N] = std::array::from_fn(|c| wv[c][at]);
        if ahead {
            wv.iter().for_each(|row| fetch_ahead(row.as_ptr().wrapping_add(at)));
        }
        for r in 0..M {
            let row = xv[r][at];
            for c in 0..N {
                sums[r][c] = simd.mul_add_e_f32s(row, columns[c], sums[r][c]);
            }
        }
    }
    for c in 0..N {
        for r in 0..M {
            let rest: f32 = xs[r].1.iter().zip(ws[c].1).map(|(x, w)| x * w).sum();
            y[(j + c) * m + i + r] = simd.reduce_sum_f32s(sums[r][c]) + rest;
        }
    }
}

/// Arguments of [`weighted_sum_f32`]: `weights` (n), `rows` (n, width), `y` (width).
struct WeightedSum<'a> {
    weights: &'a [f32],
    rows: StridedRows<'a, f32>,
    y: &'a mut [f32],
}

impl WithSimd for WeightedSum<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let WeightedSum { weights, rows, y } = self;
        let (whole, rest) = S::as_mut_simd_f32s(y);
        let mut done = 0;
        while whole.len() - done >= 8 {
            sum_columns::<S, 8>(simd, weights, rows, done, whole);
            done += 8;
        }
        while whole.len() - done >= 4 {
            sum_columns::<S, 4>(simd, weights, rows, done, whole);
            done += 4;
        }
        while done < whole.len() {
            sum_columns::<S, 1>(simd, weights, rows, done, whole);
            done += 1;
        }
        let first = rows.width - rest.len();
        for (c, y) in rest.iter_mut().enumerate() {
            *y =
                weights.iter().enumerate().map(|(i, weight)| weight * rows.row(i)[first + c]).sum();
        }
    }
}

/// Computes N vectors of the weighted sum, from vector `at` on.
#[inline(always)]
fn sum_columns<S: Simd, const N: usize>(
    simd: S,
    weights: &[f32],
    rows: StridedRows<f32>,
    at: usize,
    y: &mut [S::f32s],
) {
    let mut sums = [simd.splat_f32s(0.0); N];
    for (i, weight) in weights.iter().enumerate() {
        let weight = simd.splat_f32s(*weight);
        let row = &S::as_simd_f32s(rows.row(i)).0[at..][..N];
        if N > 1 && i * rows.stride + PREFETCH_DISTANCE < rows.data.len() {
            row.iter().for_each(|x| fetch_ahead(x));
        }
        for c in 0..N {
            sums[c] = simd.mul_add_e_f32s(weight, row[c], sums[c]);
        }
    }
    y[at..at + N].copy_from_slice(&sums);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, normal};
    use crate::{Array, Device};

    fn values(dims: &[usize], seed: u64) -> Vec<f32> {
        normal(dims, seed).flatten_all().unwrap().to_vec1().unwrap()
    }

    fn assert_near(got: &[f32], want: &[f32]) {
        let array =
            |values: &[f32]| Array::from_vec(values.to_vec(), values.len(), &Device::Cpu).unwrap();
        assert_close(&array(got), &array(want), 1e-5);
    }

    const SIZES: [(usize, usize, usize); 8] = [
        (1, 1, 1),
        (1, 9, 16),
        (2, 5, 33),
        (3, 700, 17),
        (4, 4, 64),
        (7, 130, 300),
        (16, 515, 100),
        (1, 64, 72),
    ];

    #[test]
    fn rows_apart_in_memory_give_what_the_reference_gives() {
        for (m, n, k) in SIZES {
            let stride = k + 3;
            let (x, rows, weights) = (values(&[m, k], 1), values(&[n, stride], 2), values(&[n], 3));
            let rows = StridedRows { data: &rows, stride, width: k };
            let (mut got, mut want) = (vec![9.0; n * m], vec![0.0; n * m]);
            gemv_f32(&x, rows, &mut got);
            gemv_reference(&x, rows, &mut want);
            assert_near(&got, &want);
            let (mut got, mut want) = (vec![9.0; k], vec![0.0; k]);
            weighted_sum_f32(&weights, rows, &mut got);
            weighted_sum_reference(&weights, rows, &mut want);
            assert_near(&got, &want);
        }
    }
}
