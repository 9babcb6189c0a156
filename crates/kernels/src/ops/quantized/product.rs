//! Products with quantised weights.

use super::format::BLOCK;
use super::packed::Packed;
use crate::host::gemm::product::product_into;
use crate::host::gemm::view::{Init, View};
use crate::host::gemv::layers::parallel_products;
use crate::host::parallel::{
    for_each_piece, nth_chunk, product_parallelism, rows_per_piece, zeros,
};
use crate::host::with_width;
use crate::ops::layout::contiguous;
use crate::{host, Array, Result};

/// Number of weights that are converted to f32 at a time in a product with many rows.
const WEIGHTS_AT_ONCE: usize = 256 * 1024;

/// Largest number of rows of the input that are multiplied by weights in the L1 cache.
const MAX_FEW_ROWS: usize = if cfg!(target_family = "wasm") { 24 } else { 96 };

/// Computes `x Wᵀ + bias` for `x` (.., width) and `bias` (rows), f32 on the CPU. Returns
/// (.., rows).
pub fn forward(x: &Array, weight: &Packed, bias: Option<&Array>) -> Result<Array> {
    let x = contiguous(x)?;
    let xs = host::slice::<f32>(&x)?;
    let bias = bias.map(contiguous).transpose()?;
    let bs = bias.as_ref().map(host::slice::<f32>).transpose()?;
    let (m, n, k) = (xs.len() / weight.width, weight.rows, weight.width);
    let y = if is_few(m) && n > 0 {
        parallel_products(&[(n, bs.as_deref())], (m, k), |_, first, y| {
            weight.products(&xs, first, y)
        })?
        .swap_remove(0)
    } else {
        many_rows(&xs, weight, bs.as_deref())?
    };
    host::array(y, with_width(&x, n))
}

/// Computes `x Wᵀ` for several weights of the same width and `x` (.., width). Returns an array
/// (.., rows) for each weight. With few rows of input, all products run in one parallel pass.
pub fn forward_all(x: &Array, weights: &[&Packed]) -> Result<Vec<Array>> {
    let Some(k) = weights.first().map(|weight| weight.width) else { return Ok(Vec::new()) };
    let m = x.elem_count() / k;
    if !is_few(m) || weights.iter().any(|weight| weight.rows == 0) {
        return weights.iter().map(|weight| forward(x, weight, None)).collect();
    }
    let x = contiguous(x)?;
    let xs = host::slice::<f32>(&x)?;
    let sizes: Vec<_> = weights.iter().map(|weight| (weight.rows, None)).collect();
    let all = parallel_products(&sizes, (m, k), |i, first, y| weights[i].products(&xs, first, y))?;
    all.into_iter()
        .zip(weights)
        .map(|(y, weight)| host::array(y, with_width(&x, weight.rows)))
        .collect()
}

fn is_few(rows: usize) -> bool {
    (1..=MAX_FEW_ROWS).contains(&rows)
}

/// Computes the product with many rows of input: some rows of the weight at a time, each by a
/// matrix product.
fn many_rows(xs: &[f32], weight: &Packed, bias: Option<&[f32]>) -> Result<Vec<f32>> {
    let (m, n, k) = (xs.len() / weight.width, weight.rows, weight.width);
    let mut y = zeros::<f32>(m * n)?;
    if y.is_empty() {
        return Ok(y);
    }
    let at_once = (WEIGHTS_AT_ONCE / k).max(BLOCK).min(n);
    let mut scratch = zeros::<f32>(at_once * k)?;
    // If one product computes whole rows of `y`, it writes them directly.
    let mut columns = if at_once < n { zeros::<f32>(m * at_once)? } else { Vec::new() };
    for first in (0..n).step_by(at_once) {
        let count = at_once.min(n - first);
        let rows = &mut scratch[..count * k];
        weight.dequantize_parallel(first, rows);
        let init = bias.map_or(Init::Zero, |bias| Init::Bias(&bias[first..first + count]));
        let out = if at_once < n { &mut columns[..m * count] } else { &mut y };
        product_into(
            out,
            count,
            (m, count, k),
            View::row_major(xs, k),
            View::transposed(rows, k),
            1.0,
            init,
            product_parallelism(m, count, k),
        );
        if at_once < n {
            let (columns, height) = (&columns[..m * count], rows_per_piece(n));
            for_each_piece(&mut y, height * n, |i, y| {
                let columns = nth_chunk(columns, i, height * count).chunks_exact(count);
                for (y, columns) in y.chunks_exact_mut(n).zip(columns) {
                    y[first..first + count].copy_from_slice(columns);
                }
            });
        }
    }
    Ok(y)
}
