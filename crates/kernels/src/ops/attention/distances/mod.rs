//! Attention biases that depend only on the distance between query and key, and their expansion to
//! a matrix over queries and keys.
//!
//! Shapes: by distance, a bias is (heads, i + j - 1); as a matrix it is (heads, i, j). The entry
//! for query r and key c has index c + i - 1 - r. The row of the matrix for a query is therefore a
//! contiguous part of the bias, and the part for the next query starts one element earlier.

#[cfg(feature = "cuda")]
mod cuda;

use crate::array::{HostArray, HostResult};
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::host::parallel::build_zeroed;
use crate::host::{self, Real};
use crate::kernel::{arrays, run, Kernel};
use crate::memory::alloc;
use crate::ops::layout::{contiguous, narrow_on_host};
use crate::ops::reduce::add_assign;
#[cfg(test)]
use crate::testing::normal64;
use crate::{Array, Result};
#[cfg(feature = "cuda")]
use std::sync::Arc;

/// Checks that `bias` has the shape (heads, i + j - 1).
pub(super) fn check(bias: &Array, heads: usize, i: usize, j: usize) -> Result<()> {
    if bias.dims() == [heads, count(i, j)] {
        return Ok(());
    }
    bail!("a bias {:?} does not fit {heads} heads, {i} queries and {j} keys", bias.dims())
}

/// The number of distances between `i` queries and `j` keys.
fn count(i: usize, j: usize) -> usize {
    (i + j).saturating_sub(1)
}

/// Kernel of [`expand`].
#[derive(Clone)]
struct Expand {
    /// (heads, i + j - 1)
    bias: Array,
    i: usize,
    j: usize,
}

/// Kernel of [`expand_backward`].
#[derive(Clone)]
struct ExpandBackward {
    /// (heads, i, j)
    grad: Array,
}

arrays! {
    Expand { bias }
    ExpandBackward { grad }
}

/// [`expand`] for host arrays.
pub(super) fn expand_on_host(bias: &HostArray, i: usize, j: usize) -> HostResult<HostArray> {
    let rows =
        (0..i).map(|r| narrow_on_host(bias, 1, i - 1 - r, j)).collect::<HostResult<Vec<_>>>()?;
    match rows.is_empty() {
        true => HostArray::zeros((bias.dim(0)?, i, j), bias.dtype(), bias.device()),
        false => HostArray::stack(&rows, 1),
    }
}

/// [`expand_backward`] for host arrays.
pub(super) fn expand_backward_on_host(grad: &HostArray) -> HostResult<HostArray> {
    let (heads, i, j) = grad.dims3()?;
    let zero = HostArray::zeros((heads, count(i, j)), grad.dtype(), grad.device())?;
    (0..i).try_fold(zero, |sum, r| {
        sum + narrow_on_host(grad, 1, r, 1)?.squeeze(1)?.pad_with_zeros(1, i - 1 - r, r)?
    })
}

#[cfg(test)]
const SIZES: [[usize; 3]; 5] = [[2, 3, 5], [1, 1, 7], [3, 6, 6], [2, 5, 2], [1, 4, 1]];

impl Kernel for Expand {
    const NAME: &'static str = "bias by distance";
    type Out = Array;

    fn check(&self) -> Result<()> {
        check(&self.bias, self.bias.dim(0)?, self.i, self.j)
    }

    fn reference(&self) -> Result<Array> {
        alloc::check(&[self.bias.dim(0)?, self.i, self.j], self.bias.dtype())?;
        Ok(expand_on_host(self.bias.host()?, self.i, self.j)?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        expand_cpu::<T>(&self.bias, self.i, self.j)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        cuda::expand(&self.bias, (self.i, self.j), gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        SIZES.map(|[heads, i, j]| Self { bias: normal64(&[heads, i + j - 1], 1), i, j }).into()
    }
}

impl Kernel for ExpandBackward {
    const NAME: &'static str = "bias by distance, backward";
    type Out = Array;

    fn check(&self) -> Result<()> {
        self.grad.dims3().map(|_| ())
    }

    fn reference(&self) -> Result<Array> {
        Ok(expand_backward_on_host(self.grad.host()?)?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        expand_backward_cpu::<T>(&self.grad)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        let (_, i, j) = self.grad.dims3()?;
        cuda::collect(&self.grad, count(i, j), gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        SIZES.map(|dims| Self { grad: normal64(&dims, 2) }).into()
    }
}

/// Expands a bias by distance, (heads, i + j - 1), to a matrix, (heads, i, j).
///
/// # Errors
/// If the shape of `bias` does not fit `i` queries and `j` keys.
pub fn expand(bias: &Array, i: usize, j: usize) -> Result<Array> {
    run(&Expand { bias: bias.clone(), i, j })
}

/// Backward pass of [`expand`]: sums the gradient of the matrix, (heads, i, j), over the entries of
/// each distance. Returns (heads, i + j - 1).
pub fn expand_backward(grad: &Array) -> Result<Array> {
    run(&ExpandBackward { grad: grad.clone() })
}

fn expand_cpu<T: Real>(bias: &Array, i: usize, j: usize) -> Result<Array> {
    let bias = contiguous(bias)?;
    let heads = bias.dim(0)?;
    let (width, values) = (count(i, j), host::slice::<T>(&bias)?);
    let values: &[T] = &values;
    let y = build_zeroed(heads * i * j, i * j, |head, y: &mut [T]| {
        for (r, row) in y.chunks_exact_mut(j.max(1)).enumerate() {
            row.copy_from_slice(&values[head * width + i - 1 - r..][..j]);
        }
    })?;
    host::array(y, (heads, i, j))
}

fn expand_backward_cpu<T: Real>(grad: &Array) -> Result<Array> {
    let grad = contiguous(grad)?;
    let (heads, i, j) = grad.dims3()?;
    let (width, values) = (count(i, j), host::slice::<T>(&grad)?);
    let values: &[T] = &values;
    let y = build_zeroed(heads * width, width, |head, y: &mut [T]| {
        for r in 0..i {
            add_assign(&mut y[i - 1 - r..], &values[(head * i + r) * j..][..j]);
        }
    })?;
    host::array(y, (heads, width))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_matches_reference, device, normal, on_device};

    #[test]
    fn equals_the_reference() {
        assert_matches_reference::<Expand>(0.0);
        assert_matches_reference::<ExpandBackward>(1e-6);
        let bias = Array::arange(0f32, 4.0, &device()).unwrap().reshape((1, 4)).unwrap();
        let matrix = expand(&bias, 2, 3).unwrap();
        assert_eq!(matrix.to_vec3::<f32>().unwrap(), [[[1.0, 2.0, 3.0], [0.0, 1.0, 2.0]]]);
        assert!(expand(&on_device(&normal(&[2, 5], 1)), 3, 4).is_err());
    }
}
