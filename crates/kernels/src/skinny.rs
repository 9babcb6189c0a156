//! Products of a few rows with many, `y = x Wᵀ`, and sums of many rows with a weight each: what a step of a generation does, with the weights
//! of layers and with the keys and values that are kept.
//!
//! The many rows are read once, as they lie in memory: packing them, as large products do, would cost more than the product. Sums of two
//! rows with four are in registers at a time.

use crate::cpu::Real;
use crate::parallel::{computed, part, threads};
use crate::Result;
use pulp::{Arch, Simd, WithSimd};

/// From more rows on, packing pays.
pub const MOST_ROWS: usize = 24;

/// Numbers of `w` that a thread takes at once, at least.
const GRAIN: usize = 32 * 1024;

/// Rows of memory: row number i starts at `i · stride`, and has `width` numbers.
#[derive(Clone, Copy)]
pub struct Many<'a, T> {
    pub data: &'a [T],
    pub stride: usize,
    pub width: usize,
}

impl<'a, T> Many<'a, T> {
    #[inline(always)]
    fn row(&self, i: usize) -> &'a [T] {
        &self.data[i * self.stride..][..self.width]
    }
}

/// `x Wᵀ + bias`, (m, n), for `x` (m, k) with a small m, `w` (n, k), `bias` (n).
pub fn product<T: Real>(x: &[T], w: &[T], bias: Option<&[T]>, (m, n, k): (usize, usize, usize)) -> Result<Vec<T>> {
    let columns = (GRAIN / k.max(1)).max(n.div_ceil(8 * threads())).next_multiple_of(4);
    // (n, m), so that each thread writes one piece of memory
    let turned = computed(n * m, columns * m, |piece, y: &mut [T]| {
        T::products(x, Many { data: part(w, piece, columns * k), stride: k, width: k }, y);
        if let Some(bias) = bias {
            for (y, b) in y.chunks_exact_mut(m).zip(part(bias, piece, columns)) {
                y.iter_mut().for_each(|y| *y += *b);
            }
        }
    })?;
    if m == 1 {
        return Ok(turned);
    }
    computed(m * n, n, |row, y: &mut [T]| {
        y.iter_mut().zip(turned[row..].iter().step_by(m)).for_each(|(y, x)| *y = *x);
    })
}

/// [`Real::products`], one by one.
pub fn products_reference<T: Real>(x: &[T], w: Many<T>, y: &mut [T]) {
    let m = x.len() / w.width;
    for (j, y) in y.chunks_exact_mut(m).enumerate() {
        for (y, x) in y.iter_mut().zip(x.chunks_exact(w.width)) {
            *y = crate::simd::sum_by2(x, w.row(j), |a, b| a * b);
        }
    }
}

/// [`Real::weighted_sum`], row by row.
pub fn weighted_sum_reference<T: Real>(weights: &[T], rows: Many<T>, y: &mut [T]) {
    y.fill(T::ZERO);
    for (i, weight) in weights.iter().enumerate() {
        y.iter_mut().zip(rows.row(i)).for_each(|(y, x)| *y += *weight * *x);
    }
}

/// [`Real::products`] for f32.
pub fn products_f32(x: &[f32], w: Many<f32>, y: &mut [f32]) {
    Arch::new().dispatch(Products { x, w, y });
}

/// [`Real::weighted_sum`] for f32.
pub fn weighted_sum_f32(weights: &[f32], rows: Many<f32>, y: &mut [f32]) {
    Arch::new().dispatch(WeightedSum { weights, rows, y });
}

struct Products<'a> {
    x: &'a [f32],
    w: Many<'a, f32>,
    y: &'a mut [f32],
}

impl WithSimd for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Products { x, w, y } = self;
        let m = x.len() / w.width;
        let n = y.len() / m;
        let (pairs, fours) = (m - m % 2, n - n % 4);
        for j in (0..fours).step_by(4) {
            for i in (0..pairs).step_by(2) {
                tile::<S, 2, 4>(simd, x, w, (i, j), y);
            }
            if pairs < m {
                tile::<S, 1, 4>(simd, x, w, (pairs, j), y);
            }
        }
        for j in fours..n {
            (0..m).for_each(|i| tile::<S, 1, 1>(simd, x, w, (i, j), y));
        }
    }
}

/// Products of M rows of `x`, from i on, with N rows of `w`, from j on.
#[inline(always)]
fn tile<S: Simd, const M: usize, const N: usize>(
    simd: S,
    x: &[f32],
    w: Many<f32>,
    (i, j): (usize, usize),
    y: &mut [f32],
) {
    let m = x.len() / w.width;
    let xs: [(&[S::f32s], &[f32]); M] = std::array::from_fn(|r| S::as_simd_f32s(&x[(i + r) * w.width..][..w.width]));
    let ws: [(&[S::f32s], &[f32]); N] = std::array::from_fn(|c| S::as_simd_f32s(w.row(j + c)));
    // one length for all, so that the loop checks none
    let n = xs[0].0.len();
    let (xv, wv) = (xs.map(|x| &x.0[..n]), ws.map(|w| &w.0[..n]));
    let mut sums = [[simd.splat_f32s(0.0); N]; M];
    for at in 0..n {
        let columns: [S::f32s; N] = std::array::from_fn(|c| wv[c][at]);
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

struct WeightedSum<'a> {
    weights: &'a [f32],
    rows: Many<'a, f32>,
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
            columns::<S, 8>(simd, weights, rows, done, whole);
            done += 8;
        }
        while done < whole.len() {
            columns::<S, 1>(simd, weights, rows, done, whole);
            done += 1;
        }
        let first = rows.width - rest.len();
        for (c, y) in rest.iter_mut().enumerate() {
            *y = weights.iter().enumerate().map(|(i, weight)| weight * rows.row(i)[first + c]).sum();
        }
    }
}

/// N vectors of the sum, from `at` on.
#[inline(always)]
fn columns<S: Simd, const N: usize>(simd: S, weights: &[f32], rows: Many<f32>, at: usize, y: &mut [S::f32s]) {
    let mut sums = [simd.splat_f32s(0.0); N];
    for (i, weight) in weights.iter().enumerate() {
        let weight = simd.splat_f32s(*weight);
        let row = &S::as_simd_f32s(rows.row(i)).0[at..][..N];
        for c in 0..N {
            sums[c] = simd.mul_add_e_f32s(weight, row[c], sums[c]);
        }
    }
    y[at..at + N].copy_from_slice(&sums);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, normal};
    use crate::{Array, Device};

    fn values(dims: &[usize], seed: u64) -> Vec<f32> {
        normal(dims, seed).flatten_all().unwrap().to_vec1().unwrap()
    }

    fn near(got: &[f32], want: &[f32]) {
        let array = |values: &[f32]| Array::from_vec(values.to_vec(), values.len(), &Device::Cpu).unwrap();
        close(&array(got), &array(want), 1e-5);
    }

    const SIZES: [(usize, usize, usize); 8] =
        [(1, 1, 1), (1, 9, 16), (2, 5, 33), (3, 700, 17), (4, 4, 64), (7, 130, 300), (16, 515, 100), (1, 64, 72)];

    #[test]
    fn equals_the_plain_product_for_odd_sizes() {
        for (m, n, k) in SIZES {
            let (x, w, b) = (normal(&[m, k], 1), normal(&[n, k], 2), normal(&[n], 3));
            let flat = |a: &Array| a.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let plain = x.matmul(&w.t().unwrap()).unwrap();
            for bias in [None, Some(flat(&b))] {
                let want = if bias.is_some() { plain.broadcast_add(&b).unwrap() } else { plain.clone() };
                let got = product(&flat(&x), &flat(&w), bias.as_deref(), (m, n, k)).unwrap();
                close(&Array::from_vec(got, (m, n), &Device::Cpu).unwrap(), &want, 1e-5);
            }
        }
    }

    #[test]
    fn rows_apart_in_memory_give_what_the_reference_gives() {
        for (m, n, k) in SIZES {
            let stride = k + 3;
            let (x, rows, weights) = (values(&[m, k], 1), values(&[n, stride], 2), values(&[n], 3));
            let rows = Many { data: &rows, stride, width: k };
            let (mut got, mut want) = (vec![9.0; n * m], vec![0.0; n * m]);
            products_f32(&x, rows, &mut got);
            products_reference(&x, rows, &mut want);
            near(&got, &want);
            let (mut got, mut want) = (vec![9.0; k], vec![0.0; k]);
            weighted_sum_f32(&weights, rows, &mut got);
            weighted_sum_reference(&weights, rows, &mut want);
            near(&got, &want);
        }
    }
}
