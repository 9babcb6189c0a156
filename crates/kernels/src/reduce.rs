//! Sums along axes.

use crate::cpu::{self, dispatch, Real};
use crate::layout::contiguous;
use crate::linear::{add_assign, column_sums_of};
use crate::parallel::{computed, map, part, rows_per_piece, PIECE};
use crate::simd::sum_by;
use crate::{alloc, Array, Result};
use std::borrow::Cow;

/// [`sum`] on candle's own operations.
pub fn reference(x: &Array, axes: &[usize]) -> Result<Array> {
    x.sum_keepdim(axes)
}

/// The sum of `x` over `axes`, each of which stays with size 1. They must be axes of `x`, each once.
pub fn sum(x: &Array, axes: &[usize]) -> Result<Array> {
    dispatch!(x, T => along_all::<T>(x, axes), else reference(x, axes))
}

fn along_all<T: Real>(x: &Array, axes: &[usize]) -> Result<Array> {
    let mut dims = x.dims().to_vec();
    if let Some(axis) = axes.iter().find(|axis| **axis >= dims.len()) {
        candle_core::bail!("there is no axis {axis} in shape {dims:?}");
    }
    let x = contiguous(x)?;
    let xs = cpu::slice::<T>(&x)?;
    let mut values = Cow::Borrowed(&xs[..]);
    // from the last axis on; neighbours together
    for end in (1..=dims.len()).rev() {
        let first = (0..end).rev().take_while(|axis| axes.contains(axis) && dims[*axis] != 1).last();
        let Some(first) = first else { continue };
        let size = |axes: std::ops::Range<usize>| dims[axes].iter().product::<usize>();
        values = Cow::Owned(along(&values, (size(0..first), size(first..end), size(end..dims.len())))?);
        dims[first..end].fill(1);
    }
    cpu::array(values.into_owned(), dims)
}

/// Over the middle one of three axes.
fn along<T: Real>(xs: &[T], (outer, count, inner): (usize, usize, usize)) -> Result<Vec<T>> {
    alloc::check(&[outer, inner], T::DTYPE)?;
    if inner == 1 {
        let sums = map(outer, rows_per_piece(count), |row| of_row(part(xs, row, count)));
        return Ok(sums);
    }
    if outer == 1 && inner < PIECE {
        return Ok(column_sums_of(xs, inner));
    }
    let size = (PIECE / count.max(1)).max(64);
    computed(outer * inner, size, |piece, mut sums: &mut [T]| {
        let mut at = piece * size;
        while !sums.is_empty() {
            let (block, first) = (part(xs, at / inner, count * inner), at % inner);
            let (now, rest) = sums.split_at_mut(sums.len().min(inner - first));
            block.chunks_exact(inner).for_each(|row| add_assign(now, &row[first..][..now.len()]));
            at += now.len();
            sums = rest;
        }
    })
}

/// The sum of sums of a few, so that it is shared over threads, and as exact as those.
fn of_row<T: Real>(row: &[T]) -> T {
    const FEW: usize = 1024;
    if row.len() <= FEW {
        return sum_by(row, |x| x);
    }
    of_row(&map(row.len().div_ceil(FEW), PIECE / FEW, |i| sum_by(part(row, i, FEW), |x| x)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, normal};

    #[test]
    fn equals_the_reference() {
        let cases: [(&[usize], &[usize]); 15] = [
            (&[2, 3, 5], &[2]),
            (&[2, 3, 5], &[1]),
            (&[2, 3, 5], &[0]),
            (&[2, 3, 5], &[0, 2]),
            (&[2, 3, 5], &[2, 1, 0]),
            (&[2, 3, 5], &[]),
            (&[4, 1, 6], &[1, 2]),
            (&[8, 65, 512], &[1]),
            (&[2, 3, 4, 5, 6], &[1, 3]),
            (&[3, 20_000], &[1]),
            (&[20_000, 3], &[0]),
            (&[8, 9000], &[0]),
            (&[3, 8, 9000], &[1]),
            (&[700, 3, 2], &[1]),
            (&[2, 0, 3], &[1]),
        ];
        for (dims, axes) in cases {
            let x = normal(dims, 1);
            let (got, want) = (sum(&x, axes).unwrap(), reference(&x, axes).unwrap());
            assert_eq!(got.dims(), want.dims());
            close(&got, &want, 1e-4);
        }
        let turned = normal(&[40, 30], 3).t().unwrap();
        close(&sum(&turned, &[1]).unwrap(), &reference(&turned, &[1]).unwrap(), 1e-5);
        assert!(sum(&turned, &[2]).is_err());
    }

    /// One after the other, these would come to 1,087,937.
    #[test]
    fn a_long_sum_is_as_exact_as_a_short_one() {
        let x = Array::full(0.1f32, 10_000_000, &crate::Device::Cpu).unwrap();
        let total = sum(&x, &[0]).unwrap().to_vec1::<f32>().unwrap()[0];
        assert!((total - 1e6).abs() < 3.0, "{total}");
    }
}
