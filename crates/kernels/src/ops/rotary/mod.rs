//! Rotary position embeddings: rotate pairs of features by an angle that grows with the position.
//!
//! Shapes: `x` is (batch, n, heads, dim), `cos` and `sin` are (n, half). Features f and f + half,
//! for f < half, form a pair. Features from 2 half on are not rotated.
//!
//! Source: RoFormer, <https://arxiv.org/abs/2104.09864>.

#[cfg(feature = "cuda")]
mod cuda;

use crate::array::HostArray;
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::host::parallel::{build_uninit, nth_chunk, rows_per_piece};
use crate::host::{self, Real};
use crate::kernel::{arrays, run, Kernel};
use crate::ops::layout::{contiguous, narrow_on_host};
#[cfg(test)]
use crate::testing::normal64;
use crate::{Array, Result};
use std::mem::MaybeUninit;
#[cfg(feature = "cuda")]
use std::sync::Arc;
use xt_macros::simd;

/// The direction of the rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The rotation itself.
    Forward,
    /// Its transpose, which computes the gradient.
    Transposed,
}

/// Kernel of [`rotate`].
#[derive(Clone)]
struct Rotate {
    x: Array,
    cos: Array,
    sin: Array,
    direction: Direction,
}

arrays!(Rotate { x, cos, sin });

impl Kernel for Rotate {
    const NAME: &'static str = "rotary";
    type Out = Array;

    fn check(&self) -> Result<()> {
        let ((_, n, _, dim), (positions, half)) = (self.x.dims4()?, self.cos.dims2()?);
        if positions != n || self.cos.dims() != self.sin.dims() || 2 * half > dim {
            bail!(
                "rotary table {:?} does not fit {:?} (batch, n, heads, dim)",
                self.cos.dims(),
                self.x.dims()
            );
        }
        Ok(())
    }

    fn reference(&self) -> Result<Array> {
        let (x, cos, sin) = (self.x.host()?, self.cos.host()?, self.sin.host()?);
        let ((n, half), dim) = (cos.dims2()?, x.dims4()?.3);
        let table = |t: &HostArray| t.reshape((1, n, 1, half));
        let (cos, sin) = (table(cos)?, table(sin)?);
        let sin = if self.direction == Direction::Forward { sin } else { sin.neg()? };
        let (a, b) = (narrow_on_host(x, 3, 0, half)?, narrow_on_host(x, 3, half, half)?);
        let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
        let second = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
        let rest = narrow_on_host(x, 3, 2 * half, dim - 2 * half)?;
        Ok(HostArray::cat(&[&first, &second, &rest], 3)?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        rotate_cpu::<T>(&self.x, &self.cos, &self.sin, self.direction)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        let sign = if self.direction == Direction::Forward { 1.0 } else { -1.0 };
        cuda::rotate(&self.x, [&self.cos, &self.sin], sign, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |([b, n, h, d], half): ([usize; 4], usize)| {
            [Direction::Forward, Direction::Transposed].map(|direction| Self {
                x: normal64(&[b, n, h, d], 1),
                cos: normal64(&[n, half], 2),
                sin: normal64(&[n, half], 3),
                direction,
            })
        };
        [([2, 5, 3, 10], 4), ([1, 300, 4, 16], 8), ([1, 1, 1, 2], 1), ([0, 2, 2, 4], 1)]
            .into_iter()
            .flat_map(of)
            .collect()
    }
}

/// Rotates the features of `x`, (batch, n, heads, dim); `cos` and `sin` are (n, half). Returns an
/// array of the shape of `x`.
///
/// # Errors
/// If the shapes do not fit together.
pub fn rotate(x: &Array, cos: &Array, sin: &Array, direction: Direction) -> Result<Array> {
    run(&Rotate { x: x.clone(), cos: cos.clone(), sin: sin.clone(), direction })
}

/// CPU kernel of [`rotate`].
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
            let (cos, sin) = (nth_chunk(cs, row % n, half), nth_chunk(ss, row % n, half));
            rotate_position(nth_chunk(xs, row, width), y, dim, (cos, sin), sign);
        }
    };
    // SAFETY: each piece consists of whole positions, and `rotate_position` writes every element of
    // each position.
    let y = unsafe { build_uninit(xs.len(), count * width, write) }?;
    host::array(y, x.dims())
}

/// Rotates all heads of one position.
#[simd]
fn rotate_position<T: Real>(
    x: &[T],
    y: &mut [MaybeUninit<T>],
    dim: usize,
    (cos, sin): (&[T], &[T]),
    sign: T,
) {
    let half = cos.len();
    for (y, x) in y.chunks_exact_mut(dim.max(1)).zip(x.chunks_exact(dim.max(1))) {
        let ((a, rest), (y1, y_rest)) = (x.split_at(half), y.split_at_mut(half));
        let ((b, still), (y2, y_still)) = (rest.split_at(half), y_rest.split_at_mut(half));
        for (((y1, y2), (a, b)), (cos, sin)) in
            y1.iter_mut().zip(y2).zip(a.iter().zip(b)).zip(cos.iter().zip(sin))
        {
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
    use crate::testing::{assert_matches_reference, f64s, gradcheck, normal, on_device};

    #[test]
    fn equals_the_reference() {
        assert_matches_reference::<Rotate>(1e-6);
        let of = |dims: &[usize], seed| on_device(&normal64(dims, seed));
        let (x, table, short) = (of(&[2, 5, 3, 10], 1), of(&[5, 4], 3), of(&[4, 4], 2));
        assert!(rotate(&x, &short, &table, Direction::Forward).is_err());
    }

    #[test]
    fn the_transpose_is_the_gradient() {
        let of = |dims: &[usize], seed| on_device(&f64s(&normal(dims, seed)));
        let (x, g) = (of(&[1, 3, 2, 6], 1), of(&[1, 3, 2, 6], 2));
        let (cos, sin) = (of(&[3, 2], 3), of(&[3, 2], 4));
        let dx = rotate(&g, &cos, &sin, Direction::Transposed).unwrap();
        gradcheck(&x, &g, &dx, |x| rotate(&on_device(x), &cos, &sin, Direction::Forward).unwrap());
    }
}
