//! Linear layers on few rows, `y = x Wᵀ + bias`, whose weights are divided among the threads.

use crate::host::gemm::blas::Blas;
use crate::host::gemv::kernel::StridedRows;
use crate::host::parallel::{build_zeroed, for_each, nth_chunk, rows_per_piece, threads, zeros};
use crate::Result;

/// The largest number of rows for which these functions are used. With more rows, packing the
/// weights (gemm) is faster.
pub const MOST_ROWS: usize = if cfg!(target_family = "wasm") { 24 } else { 16 };

/// The least number of weights that a thread processes at a time.
const GRAIN: usize = 32 * 1024;

/// A linear layer.
#[derive(Clone, Copy)]
pub struct Layer<'a, T> {
    /// The weights (n, k), row-major.
    pub weight: &'a [T],
    /// The bias (n).
    pub bias: Option<&'a [T]>,
}

/// Computes `x Wᵀ + bias`, (m, n), for each layer: `x` is (m, k) with a small m. The weights of all
/// layers are divided among the threads.
///
/// # Errors
/// If memory is short.
pub fn products<T: Blas>(
    x: &[T],
    layers: &[Layer<T>],
    (m, k): (usize, usize),
) -> Result<Vec<Vec<T>>> {
    let sizes: Vec<_> = layers.iter().map(|layer| (layer.weight.len() / k, layer.bias)).collect();
    parallel_products(&sizes, (m, k), |layer, first, y| {
        T::gemv(
            x,
            StridedRows { data: &layers[layer].weight[first * k..], stride: k, width: k },
            y,
        );
    })
}

/// [`products`] for layers that are given as (n, bias), with the products computed by `f`.
/// `f(layer, first, y)` writes the products with the rows of the layer from row `first` on to `y`,
/// which is (rows, m). The results are (m, n).
///
/// # Errors
/// If memory is short.
pub fn parallel_products<T: Blas>(
    layers: &[(usize, Option<&[T]>)],
    (m, k): (usize, usize),
    f: impl Fn(usize, usize, &mut [T]) + Sync,
) -> Result<Vec<Vec<T>>> {
    let all: usize = layers.iter().map(|(n, _)| n).sum();
    let columns = (GRAIN / k).max(all.div_ceil(8 * threads())).next_multiple_of(4);
    // one (n, m) result for each layer, so that each thread writes contiguous memory
    let mut transposed =
        layers.iter().map(|(n, _)| zeros::<T>(n * m)).collect::<Result<Vec<_>>>()?;
    let pieces = transposed.iter_mut().enumerate().flat_map(|(layer, y)| {
        y.chunks_mut(columns * m).enumerate().map(move |(i, y)| (layer, i, y))
    });
    for_each(pieces.collect(), |_, (layer, i, y)| {
        f(layer, i * columns, y);
        if let Some(bias) = layers[layer].1 {
            for (y, b) in y.chunks_exact_mut(m).zip(nth_chunk(bias, i, columns)) {
                y.iter_mut().for_each(|y| *y += *b);
            }
        }
    });
    if m == 1 {
        return Ok(transposed);
    }
    let transpose = |transposed: Vec<T>| {
        let n = transposed.len() / m;
        let rows = rows_per_piece(n);
        build_zeroed(transposed.len(), rows * n, |piece, y: &mut [T]| {
            for (row, y) in y.chunks_exact_mut(n.max(1)).enumerate() {
                let from = transposed[piece * rows + row..].iter().step_by(m);
                y.iter_mut().zip(from).for_each(|(y, x)| *y = *x);
            }
        })
    };
    transposed.into_iter().map(transpose).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, normal};
    use crate::{Array, Device};

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
    fn equals_the_plain_product_for_odd_sizes() {
        for (m, n, k) in SIZES {
            let (x, w, b) = (normal(&[m, k], 1), normal(&[n, k], 2), normal(&[n], 3));
            let flat = |a: &Array| a.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let plain = x.host().unwrap().matmul(&w.host().unwrap().t().unwrap()).unwrap();
            for bias in [None, Some(flat(&b))] {
                let with_bias = || plain.broadcast_add(b.host().unwrap()).unwrap();
                let want = if bias.is_some() { with_bias() } else { plain.clone() };
                let (weight, half) = (flat(&w), n / 2 * k);
                let layer = Layer { weight: &weight, bias: bias.as_deref() };
                let [upper, lower] =
                    [&weight[..half], &weight[half..]].map(|weight| Layer { weight, bias: None });
                let got = products(&flat(&x), &[layer, upper, lower], (m, k)).unwrap();
                let array = |i: usize| {
                    Array::from_slice(&got[i], (m, got[i].len() / m), &Device::Cpu).unwrap()
                };
                assert_close(&array(0), &want.into(), 1e-5);
                assert_close(
                    &Array::cat(&[&array(1), &array(2)], 1).unwrap(),
                    &plain.clone().into(),
                    1e-5,
                );
            }
        }
    }
}
