//! A bias of attention's scores that depends on the distance alone, and its form as a matrix over queries and keys.
//!
//! Shapes: by distance, (heads, i + j - 1), number n is for query r and key c with n = c + i - 1 - r: a query's row of the matrix is one piece
//! of memory, and the next query's begins one number earlier. As a matrix, (heads, i, j).

use crate::host::parallel::computed;
use crate::host::{self, dispatch, Real};
use crate::ops::layout::{contiguous, narrow};
use crate::ops::reduce::add_assign;
use crate::{Array, Result};

/// Whether `bias` is one of i queries and j keys.
pub(super) fn check(bias: &Array, heads: usize, i: usize, j: usize) -> Result<()> {
    if bias.dims() == [heads, count(i, j)] {
        return Ok(());
    }
    candle_core::bail!("a bias {:?} does not fit {heads} heads, {i} queries and {j} keys", bias.dims())
}

fn count(i: usize, j: usize) -> usize {
    (i + j).saturating_sub(1)
}

/// The bias as a matrix, on candle's own operations.
pub fn spread_reference(bias: &Array, i: usize, j: usize) -> Result<Array> {
    check(bias, bias.dim(0)?, i, j)?;
    crate::memory::alloc::check(&[bias.dim(0)?, i, j], bias.dtype())?;
    let rows = (0..i).map(|r| narrow(bias, 1, i - 1 - r, j)).collect::<Result<Vec<_>>>()?;
    match rows.is_empty() {
        true => Array::zeros((bias.dim(0)?, i, j), bias.dtype(), bias.device()),
        false => Array::stack(&rows, 1),
    }
}

/// The gradient by distance from that of the matrix, on candle's own operations.
pub fn gather_reference(grad: &Array) -> Result<Array> {
    let (heads, i, j) = grad.dims3()?;
    let zero = Array::zeros((heads, count(i, j)), grad.dtype(), grad.device())?;
    (0..i).try_fold(zero, |sum, r| sum + narrow(grad, 1, r, 1)?.squeeze(1)?.pad_with_zeros(1, i - 1 - r, r)?)
}

/// The bias as a matrix.
pub fn spread(bias: &Array, i: usize, j: usize) -> Result<Array> {
    dispatch!(bias, T => spread_cpu::<T>(bias, i, j), else spread_reference(bias, i, j))
}

fn spread_cpu<T: Real>(bias: &Array, i: usize, j: usize) -> Result<Array> {
    let bias = contiguous(bias)?;
    let heads = bias.dim(0)?;
    check(&bias, heads, i, j)?;
    let (width, values) = (count(i, j), host::slice::<T>(&bias)?);
    let values: &[T] = &values;
    let y = computed(heads * i * j, i * j, |head, y: &mut [T]| {
        for (r, row) in y.chunks_exact_mut(j.max(1)).enumerate() {
            row.copy_from_slice(&values[head * width + i - 1 - r..][..j]);
        }
    })?;
    host::array(y, (heads, i, j))
}

/// The gradient by distance from that of the matrix.
pub fn gather(grad: &Array) -> Result<Array> {
    dispatch!(grad, T => gather_cpu::<T>(grad), else gather_reference(grad))
}

fn gather_cpu<T: Real>(grad: &Array) -> Result<Array> {
    let grad = contiguous(grad)?;
    let (heads, i, j) = grad.dims3()?;
    let (width, values) = (count(i, j), host::slice::<T>(&grad)?);
    let values: &[T] = &values;
    let y = computed(heads * width, width, |head, y: &mut [T]| {
        for r in 0..i {
            add_assign(&mut y[i - 1 - r..], &values[(head * i + r) * j..][..j]);
        }
    })?;
    host::array(y, (heads, width))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, normal};

    #[test]
    fn equals_the_reference() {
        for (heads, i, j) in [(2, 3, 5), (1, 1, 7), (3, 6, 6), (2, 5, 2), (1, 4, 1)] {
            let (bias, grad) = (normal(&[heads, i + j - 1], 1), normal(&[heads, i, j], 2));
            close(&spread(&bias, i, j).unwrap(), &spread_reference(&bias, i, j).unwrap(), 0.0);
            close(&gather(&grad).unwrap(), &gather_reference(&grad).unwrap(), 1e-6);
        }
        let matrix =
            spread(&Array::arange(0f32, 4.0, &crate::Device::Cpu).unwrap().reshape((1, 4)).unwrap(), 2, 3).unwrap();
        assert_eq!(matrix.to_vec3::<f32>().unwrap(), [[[1.0, 2.0, 3.0], [0.0, 1.0, 2.0]]]);
        assert!(spread(&normal(&[2, 5], 1), 3, 4).is_err());
    }
}
