//! Products of a few rows with the weights of a layer, `y = x Wᵀ + bias`: what each step of a generation does.
//!
//! Shapes: `x` is (m, k) with a small m, `w` (n, k), `bias` (n), `y` (m, n). The weights are far larger than the rest and are read once, as
//! they lie in memory; packing them, as large products do, would cost more than the product. Threads share the rows of `w`.

use crate::cpu::Real;
use crate::parallel::{computed, part, threads};
use crate::Result;
use multiversion::multiversion;

/// From more rows on, packing pays.
pub const MOST_ROWS: usize = 6;

/// Numbers that are summed apart: a register of AVX-512, two of AVX2, four of WebAssembly.
const LANES: usize = 16;
/// A tile: rows of `x` and rows of `w`, whose sums fit into registers.
const ROWS: usize = 2;
const COLUMNS: usize = 4;

/// Weights that a thread takes at once, at least.
const GRAIN: usize = 32 * 1024;

/// `x Wᵀ + bias`, (m, n).
pub fn product<T: Real>(x: &[T], w: &[T], bias: Option<&[T]>, (m, n, k): (usize, usize, usize)) -> Result<Vec<T>> {
    let columns = (GRAIN / k.max(1)).max(n.div_ceil(8 * threads())).next_multiple_of(COLUMNS);
    // (n, m), so that each thread writes one piece of memory
    let turned = computed(n * m, columns * m, |piece, y: &mut [T]| {
        rows_of_weights(x, part(w, piece, columns * k), k, y);
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

/// All products of rows of `x` with rows of `w`: `y` is (rows of w, rows of x).
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn rows_of_weights<T: Real>(x: &[T], w: &[T], k: usize, y: &mut [T]) {
    let m = x.len() / k;
    for (w, y) in w.chunks(COLUMNS * k).zip(y.chunks_mut(COLUMNS * m)) {
        let mut row = 0;
        while row < m {
            let count = (m - row).min(ROWS);
            let x = &x[row * k..(row + count) * k];
            match (count, w.len() / k) {
                (ROWS, COLUMNS) => tile::<T, ROWS, COLUMNS>(x, w, k, (y, m, row)),
                (1, COLUMNS) => tile::<T, 1, COLUMNS>(x, w, k, (y, m, row)),
                (count, _) => {
                    for (j, w) in w.chunks_exact(k).enumerate() {
                        for (i, x) in x.chunks_exact(k).enumerate().take(count) {
                            tile::<T, 1, 1>(x, w, k, (&mut y[j * m..], m, row + i));
                        }
                    }
                }
            }
            row += count;
        }
    }
}

/// M rows of `x` times N rows of `w`, into the columns from `row` on of N rows of `y`.
#[inline(always)]
fn tile<T: Real, const M: usize, const N: usize>(x: &[T], w: &[T], k: usize, (y, m, row): (&mut [T], usize, usize)) {
    let mut sums = [[[T::ZERO; LANES]; N]; M];
    let xs: [&[T]; M] = std::array::from_fn(|i| &x[i * k..(i + 1) * k]);
    let ws: [&[T]; N] = std::array::from_fn(|j| &w[j * k..(j + 1) * k]);
    let whole = k - k % LANES;
    for at in (0..whole).step_by(LANES) {
        let xv: [[T; LANES]; M] = std::array::from_fn(|i| lanes(xs[i], at));
        for j in 0..N {
            let wv = lanes(ws[j], at);
            for i in 0..M {
                for l in 0..LANES {
                    sums[i][j][l] += xv[i][l] * wv[l];
                }
            }
        }
    }
    for j in 0..N {
        for i in 0..M {
            let mut sum = T::ZERO;
            sums[i][j].iter().for_each(|x| sum += *x);
            for at in whole..k {
                sum += xs[i][at] * ws[j][at];
            }
            y[j * m + row + i] = sum;
        }
    }
}

#[inline(always)]
fn lanes<T: Real>(xs: &[T], at: usize) -> [T; LANES] {
    xs[at..].first_chunk().copied().unwrap_or([T::ZERO; LANES])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, normal};
    use crate::{Array, Device};

    #[test]
    fn equals_the_plain_product_for_odd_sizes() {
        for (m, n, k) in [(1, 1, 1), (1, 9, 16), (2, 5, 33), (3, 700, 17), (4, 4, 64), (7, 130, 300), (16, 515, 100)] {
            let (x, w, b) = (normal(&[m, k], 1), normal(&[n, k], 2), normal(&[n], 3));
            let values = |a: &Array| a.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let plain = x.matmul(&w.t().unwrap()).unwrap();
            for bias in [None, Some(values(&b))] {
                let want = if bias.is_some() { plain.broadcast_add(&b).unwrap() } else { plain.clone() };
                let got = product(&values(&x), &values(&w), bias.as_deref(), (m, n, k)).unwrap();
                close(&Array::from_vec(got, (m, n), &Device::Cpu).unwrap(), &want, 1e-5);
            }
        }
    }
}
