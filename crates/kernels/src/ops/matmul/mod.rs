//! Batched matrix products of strided arrays: `y = alpha · a b`.
//!
//! Shapes: `a` is (batch.., m, k), `b` is (batch.., k, n), `y` is (batch.., m, n). Batch axes are
//! broadcast: they must be equal, or 1 in one of the operands. Transposed and permuted views are
//! read in place, so products over attention heads need no copy.

#[cfg(feature = "cuda")]
mod cuda;
mod dims;
#[cfg(feature = "cuda")]
pub(crate) use cuda::Product;

use crate::array::{HostArray, HostResult};
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::host::gemm::blas::Blas;
use crate::host::gemm::product::write_product;
use crate::host::gemm::view::{Init, View};
use crate::host::parallel::{for_each_piece, multiplications, product_parallelism, threads};
use crate::host::{self, Real, Slice};
use crate::kernel::{arrays, run, Kernel};
use crate::memory::alloc;
#[cfg(test)]
use crate::testing::normal64;
use crate::{Array, Result};
use dims::output_dims;
use gemm::Parallelism;
use std::mem::MaybeUninit;
#[cfg(feature = "cuda")]
use std::sync::Arc;

/// Kernel of [`matmul`].
#[derive(Clone)]
struct MatMul {
    a: Array,
    b: Array,
    alpha: f64,
}

arrays!(MatMul { a, b });

/// [`matmul`] for host arrays.
pub(crate) fn on_host(a: &HostArray, b: &HostArray, alpha: f64) -> HostResult<HostArray> {
    let y = a.contiguous()?.broadcast_matmul(&b.contiguous()?)?;
    match alpha {
        1.0 => Ok(y),
        _ => y.affine(alpha, 0.0),
    }
}

impl Kernel for MatMul {
    const NAME: &'static str = "matmul";
    type Out = Array;

    fn check(&self) -> Result<()> {
        let dims = output_dims(&self.a, &self.b)?;
        alloc::check_on(&self.a.device(), &dims, self.a.dtype())
    }

    fn reference(&self) -> Result<Array> {
        Ok(on_host(self.a.host()?, self.b.host()?, self.alpha)?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        batched::<T>(&self.a, &self.b, self.alpha, output_dims(&self.a, &self.b)?)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        cuda::matmul(&self.a, &self.b, self.alpha, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let shapes: [(&[usize], &[usize]); 6] = [
            (&[3, 5], &[5, 7]),
            (&[2, 3, 5], &[2, 5, 7]),
            (&[4, 2, 3, 5], &[1, 2, 5, 1]),
            (&[2, 3, 5], &[5, 7]),
            (&[1, 1], &[1, 1]),
            (&[2, 130, 140], &[2, 140, 131]),
        ];
        let of = |(a, b): (&[usize], &[usize])| {
            [1.0, 0.5].map(|alpha| Self { a: normal64(a, 1), b: normal64(b, 2), alpha })
        };
        let heads = normal64(&[2, 6, 3, 4], 3).permute(&[0, 2, 1, 3]).unwrap(); // (b, h, n, d) as a view
        let keys = heads.t().unwrap();
        shapes.into_iter().flat_map(of).chain([Self { a: heads, b: keys, alpha: 1.0 }]).collect()
    }
}

/// Computes `alpha · a b` for `a` (batch.., m, k) and `b` (batch.., k, n). Returns (batch.., m, n).
///
/// # Errors
/// If the shapes do not fit together, or the types of the operands differ.
pub fn matmul(a: &Array, b: &Array, alpha: f64) -> Result<Array> {
    run(&MatMul { a: a.clone(), b: b.clone(), alpha })
}

/// The matrices of a batched operand, which share a storage and strides.
struct Matrix<'a, T> {
    storage: Slice<'a, T>,
    /// Index of the first element of each matrix of the batch.
    offsets: Vec<usize>,
    /// Stride between rows.
    row: isize,
    /// Stride between columns.
    column: isize,
}

impl<'a, T: Real> Matrix<'a, T> {
    /// The matrices of `array`, one for each index of the broadcast batch shape `batch`; axes of
    /// size 1 repeat.
    fn new(array: &'a Array, batch: &[usize]) -> Result<Self> {
        let (storage, start) = host::strided::<T>(array)?;
        let (dims, strides) = (array.dims(), array.stride());
        let own = dims.len() - 2;
        alloc::check(&[batch.iter().product(), 2], crate::DType::I64)?;
        let mut offsets = vec![start];
        for (i, size) in batch.iter().enumerate() {
            let axis = (i + own).checked_sub(batch.len()).filter(|axis| dims[*axis] != 1);
            let stride = axis.map_or(0, |axis| strides[axis]);
            offsets =
                offsets.iter().flat_map(|o| (0..*size).map(move |k| o + k * stride)).collect();
        }
        Ok(Self { storage, offsets, row: strides[own] as isize, column: strides[own + 1] as isize })
    }
}

/// CPU kernel of [`matmul`]. `dims` is the shape of the result.
fn batched<T: Blas>(a: &Array, b: &Array, alpha: f64, dims: Vec<usize>) -> Result<Array> {
    let (batch, tail) = dims.split_at(dims.len() - 2);
    let (m, n, k) = (tail[0], tail[1], a.dims()[a.rank() - 1]);
    if k == 0 {
        // The sums are empty, and the storages may contain no element to point to.
        return Array::zeros(dims, T::DTYPE, &a.device());
    }
    let (lhs, rhs) = (Matrix::<T>::new(a, batch)?, Matrix::<T>::new(b, batch)?);
    let (ls, rs): (&[T], &[T]) = (&lhs.storage, &rhs.storage);
    let count = dims.iter().product();
    let mut y = alloc::with_capacity::<T>(count)?;
    let uninit = &mut y.spare_capacity_mut()[..count];
    let multiply = |i: usize, out: &mut [MaybeUninit<T>], threads: Parallelism| {
        let l = View { data: &ls[lhs.offsets[i]..], row: lhs.row, column: lhs.column };
        let r = View { data: &rs[rhs.offsets[i]..], row: rhs.row, column: rhs.column };
        // SAFETY: with `Init::Zero` the product does not read `out`, which is uninitialised.
        unsafe { write_product(out, n, (m, n, k), l, r, T::of(alpha), Init::Zero, threads) };
    };
    let matrices = lhs.offsets.len();
    if m * n > 0 && matrices >= threads() && matrices > 1 {
        // Each thread computes whole matrices, so that no thread waits for others within a small
        // product.
        let matrices_at_once = (SMALL / multiplications(&[m, n, k.max(1)])).max(1) as usize;
        for_each_piece(uninit, matrices_at_once * m * n, |piece, y| {
            for (i, out) in y.chunks_mut(m * n).enumerate() {
                multiply(piece * matrices_at_once + i, out, Parallelism::None);
            }
        });
    } else if m * n > 0 {
        for (i, out) in uninit.chunks_mut(m * n).enumerate() {
            multiply(i, out, product_parallelism(m, n, k));
        }
    }
    // SAFETY: every matrix of the batch was written, and together they consist of `count` numbers.
    unsafe { y.set_len(count) };
    host::array(y, dims)
}

/// Small matrices of a batch are grouped until each task has at least this many multiplications.
const SMALL: u64 = 64 * 64 * 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_matches_reference, normal, on_device};

    #[test]
    fn equals_the_reference() {
        assert_matches_reference::<MatMul>(1e-5);
    }

    #[test]
    fn empty_and_misfitting_shapes() {
        let of = |a: &[usize], b: &[usize]| {
            matmul(&on_device(&normal(a, 1)), &on_device(&normal(b, 2)), 1.0)
        };
        assert_eq!(of(&[2, 0, 3], &[2, 3, 4]).unwrap().dims(), [2, 0, 4]);
        let zero = of(&[2, 0], &[0, 4]).unwrap();
        assert_eq!(zero.to_vec2::<f32>().unwrap(), [[0.0; 4]; 2]);
        let message = of(&[2, 3], &[4, 2]).unwrap_err().to_string();
        assert!(message.contains("[2, 3] and [4, 2]"), "{message}");
    }
}
