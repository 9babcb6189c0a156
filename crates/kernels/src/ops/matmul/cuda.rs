//! Launches of the kernels in `matmul.cu`.

use super::dims::output_dims;
use crate::cuda::{kernel_args, Array as CudaArray, Axes, Gpu, Name};
use crate::error::bail;
use crate::{Array, Result};
use std::sync::Arc;

/// Threads of a block along each axis, as in `matmul.cu`.
const THREADS: u32 = 16;

/// Numbers along each axis that a block computes, and the same in the kernel for small results.
const TILE: usize = 64;
const SMALL_TILE: usize = 16;

/// The most blocks along the axis of the batch.
const BATCH_BLOCKS: usize = 65_535;

kernel_args! {
    ProductArgs {
        y: u64, a: u64, b: u64, bias: u64,
        batch: u64, m: u64, n: u64, k: u64,
        a_row: i64, a_column: i64, b_row: i64, b_column: i64,
        alpha: f64, axes: Axes<2>, accumulate: u32,
    }
}

pub(super) fn matmul(a: &Array, b: &Array, alpha: f64, gpu: &Arc<Gpu>) -> Result<Array> {
    let y = CudaArray::uninit(gpu, a.dtype(), output_dims(a, b)?)?;
    Product { alpha, ..Product::new(a, b) }.write(&y)?;
    Ok(y.into())
}

/// A matrix product with what is done to its result: `alpha · a b + bias`.
pub(crate) struct Product<'a> {
    /// (batch.., m, k)
    pub a: &'a Array,
    /// (batch.., k, n)
    pub b: &'a Array,
    /// Factor of the product.
    pub alpha: f64,
    /// Added to each row, (n).
    pub bias: Option<&'a Array>,
    /// Whether to add to what the result holds already.
    pub accumulate: bool,
}

impl<'a> Product<'a> {
    /// The plain product `a b`.
    pub fn new(a: &'a Array, b: &'a Array) -> Self {
        Self { a, b, alpha: 1.0, bias: None, accumulate: false }
    }

    /// Writes the product to `y`, which is contiguous and has its shape.
    pub fn write(self, y: &CudaArray) -> Result<()> {
        let (a, b) = (self.a, self.b);
        let dims = output_dims(a, b)?;
        let (batch, tail) = dims.split_at(dims.len() - 2);
        let (m, n, k) = (tail[0], tail[1], a.dims()[a.rank() - 1]);
        let shape = |x: &Array| [batch, &x.dims()[x.rank() - 2..]].concat();
        let (a, b) = (a.broadcast_as(shape(a))?, b.broadcast_as(shape(b))?);
        let (a_strides, a_own) = a.stride().split_at(batch.len());
        let (b_strides, b_own) = b.stride().split_at(batch.len());
        let bias = match self.bias {
            Some(bias) if !bias.is_contiguous() => bail!("a bias {:?} with gaps", bias.dims()),
            Some(bias) => bias.address()?,
            None => 0,
        };
        let matrices: usize = batch.iter().product();
        let args = ProductArgs {
            y: y.address(),
            a: a.address()?,
            b: b.address()?,
            bias,
            batch: matrices as u64,
            m: m as u64,
            n: n as u64,
            k: k as u64,
            a_row: a_own[0] as i64,
            a_column: a_own[1] as i64,
            b_row: b_own[0] as i64,
            b_column: b_own[1] as i64,
            alpha: self.alpha,
            axes: Axes::new(batch, [a_strides, b_strides])?,
            accumulate: u32::from(self.accumulate),
        };
        let (kernel, tile) = match m.min(n) <= SMALL_TILE {
            true => ("small_product", SMALL_TILE),
            false => ("product", TILE),
        };
        let tiles = m.div_ceil(tile) * n.div_ceil(tile);
        let Ok(tiles) = u32::try_from(tiles) else { bail!("a product {dims:?} is too large") };
        let name = Name { module: "matmul", kernel, dtype: a.dtype() };
        let blocks = [tiles, matrices.min(BATCH_BLOCKS) as u32];
        y.gpu().launch(name, blocks, [THREADS, THREADS], &args)
    }
}
