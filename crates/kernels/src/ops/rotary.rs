//! Rotary positions: turns pairs of features by an angle that grows with the position.
//!
//! Shapes: `x` is (batch, n, heads, dim); `cos` and `sin` are (n, half): feature f and feature f + half, f < half,
//! turn together, features from 2 half on stay.
//! Source: RoFormer, <https://arxiv.org/abs/2104.09864>.

use crate::host::parallel::{part, rows_per_piece, written};
use crate::host::{self, dispatch, Real};
use crate::ops::layout::{contiguous, narrow};
use crate::{Array, Result};
use multiversion::multiversion;
use std::mem::MaybeUninit;

/// Which way: the map itself, or its transpose, which is its gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Forward,
    Transposed,
}

/// The turn on candle's own operations.
pub fn reference(x: &Array, cos: &Array, sin: &Array, direction: Direction) -> Result<Array> {
    let (n, half) = cos.dims2()?;
    let dim = x.dims4()?.3;
    let table = |t: &Array| t.reshape((1, n, 1, half));
    let (cos, sin) = (table(cos)?, table(sin)?);
    let sin = if direction == Direction::Forward { sin } else { sin.neg()? };
    let (a, b) = (narrow(x, 3, 0, half)?, narrow(x, 3, half, half)?);
    let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
    let second = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
    Array::cat(&[&first, &second, &narrow(x, 3, 2 * half, dim - 2 * half)?], 3)
}

/// Turns the features of `x`.
pub fn rotate(x: &Array, cos: &Array, sin: &Array, direction: Direction) -> Result<Array> {
    let ((_, n, _, dim), (positions, half)) = (x.dims4()?, cos.dims2()?);
    if positions != n || cos.dims() != sin.dims() || 2 * half > dim {
        candle_core::bail!("rotary table {:?} does not fit {:?} (batch, n, heads, dim)", cos.dims(), x.dims());
    }
    dispatch!(x, T => rotate_cpu::<T>(x, cos, sin, direction), else reference(x, cos, sin, direction))
}

fn rotate_cpu<T: Real>(x: &Array, cos: &Array, sin: &Array, direction: Direction) -> Result<Array> {
    let (x, cos, sin) = (contiguous(x)?, contiguous(cos)?, contiguous(sin)?);
    let ((_, n, heads, dim), (_, half)) = (x.dims4()?, cos.dims2()?);
    let (xs, cs, ss) = (host::slice::<T>(&x)?, host::slice::<T>(&cos)?, host::slice::<T>(&sin)?);
    let (xs, cs, ss): (&[T], &[T], &[T]) = (&xs, &cs, &ss);
    let sign = if direction == Direction::Forward { T::ONE } else { -T::ONE };
    let width = (heads * dim).max(1); // one position
    let count = rows_per_piece(width);
    let write = |piece: usize, y: &mut [MaybeUninit<T>]| {
        for (r, y) in y.chunks_exact_mut(width).enumerate() {
            let row = piece * count + r;
            let (cos, sin) = (part(cs, row % n, half), part(ss, row % n, half));
            turn(part(xs, row, width), y, dim, (cos, sin), sign);
        }
    };
    // SAFETY: positions are whole, and all of each is written.
    let y = unsafe { written(xs.len(), count * width, write) }?;
    host::array(y, x.dims())
}

/// Turns every head of one position.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn turn<T: Real>(x: &[T], y: &mut [MaybeUninit<T>], dim: usize, (cos, sin): (&[T], &[T]), sign: T) {
    let half = cos.len();
    for (y, x) in y.chunks_exact_mut(dim.max(1)).zip(x.chunks_exact(dim.max(1))) {
        let ((a, rest), (y1, y_rest)) = (x.split_at(half), y.split_at_mut(half));
        let ((b, still), (y2, y_still)) = (rest.split_at(half), y_rest.split_at_mut(half));
        for (((y1, y2), (a, b)), (cos, sin)) in y1.iter_mut().zip(y2).zip(a.iter().zip(b)).zip(cos.iter().zip(sin)) {
            let s = sign * *sin;
            *y1 = MaybeUninit::new(*a * *cos - *b * s);
            *y2 = MaybeUninit::new(*b * *cos + *a * s);
        }
        for (y, x) in y_still.iter_mut().zip(still) {
            *y = MaybeUninit::new(*x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, differences, f64s, normal};

    #[test]
    fn equals_the_reference_in_both_directions() {
        let (x, cos, sin) = (normal(&[2, 5, 3, 10], 1), normal(&[5, 4], 2), normal(&[5, 4], 3));
        for direction in [Direction::Forward, Direction::Transposed] {
            let want = reference(&x, &cos, &sin, direction).unwrap();
            close(&rotate(&x, &cos, &sin, direction).unwrap(), &want, 1e-6);
        }
        assert!(rotate(&x, &normal(&[4, 4], 2), &sin, Direction::Forward).is_err());
    }

    #[test]
    fn the_transpose_is_the_gradient() {
        let (x, g) = (f64s(&normal(&[1, 3, 2, 6], 1)), f64s(&normal(&[1, 3, 2, 6], 2)));
        let (cos, sin) = (f64s(&normal(&[3, 2], 3)), f64s(&normal(&[3, 2], 4)));
        let dx = rotate(&g, &cos, &sin, Direction::Transposed).unwrap();
        differences(&x, &g, &dx, |x| rotate(x, &cos, &sin, Direction::Forward).unwrap());
    }
}
