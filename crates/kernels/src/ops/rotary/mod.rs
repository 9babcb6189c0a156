//! Rotary position embeddings: rotate pairs of features by an angle that grows with the position.
//!
//! Shapes: `x` is (batch, n, heads, dim), `cos` and `sin` are (n, half). For f < half, features f
//! and f + half form a pair ([`Pairs::Halves`]), or 2 f and 2 f + 1 ([`Pairs::Neighbours`]).
//! Features from 2 half on are not rotated.
//!
//! Sources: RoFormer, <https://arxiv.org/abs/2104.09864>, which pairs neighbours; GPT-NeoX,
//! <https://arxiv.org/abs/2204.06745>, which pairs halves.

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

/// Which features are rotated together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairs {
    /// One of the first half of the rotated features with one of the second half.
    Halves,
    /// Two features that follow each other.
    Neighbours,
}

/// Kernel of [`rotate`].
#[derive(Clone)]
struct Rotate {
    x: Array,
    cos: Array,
    sin: Array,
    pairs: Pairs,
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
        let rest = narrow_on_host(x, 3, 2 * half, dim - 2 * half)?;
        let rotated = |a: &HostArray, b: &HostArray| -> Result<(HostArray, HostArray)> {
            let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
            Ok((first, (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?))
        };
        if self.pairs == Pairs::Halves {
            let (a, b) = (narrow_on_host(x, 3, 0, half)?, narrow_on_host(x, 3, half, half)?);
            let (first, second) = rotated(&a, &b)?;
            return Ok(HostArray::cat(&[&first, &second, &rest], 3)?.into());
        }
        let (batch, _, heads, _) = x.dims4()?;
        let pairs = narrow_on_host(x, 3, 0, 2 * half)?.reshape((batch, n, heads * half, 2))?;
        let part = |i| narrow_on_host(&pairs, 3, i, 1)?.reshape((batch, n, heads, half));
        let (first, second) = rotated(&part(0)?, &part(1)?)?;
        let column = |t: HostArray| t.reshape((batch, n, heads, half, 1));
        let joined = HostArray::cat(&[&column(first)?, &column(second)?], 4)?;
        Ok(HostArray::cat(&[&joined.reshape((batch, n, heads, 2 * half))?, &rest], 3)?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        rotate_cpu::<T>(self)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        let sign = if self.direction == Direction::Forward { 1.0 } else { -1.0 };
        let neighbours = self.pairs == Pairs::Neighbours;
        cuda::rotate(&self.x, [&self.cos, &self.sin], (neighbours, sign), gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |([b, n, h, d], half): ([usize; 4], usize)| {
            use {Direction::*, Pairs::*};
            let all = [(Halves, Forward), (Halves, Transposed), (Neighbours, Forward)];
            all.into_iter().chain([(Neighbours, Transposed)]).map(move |(pairs, direction)| Self {
                x: normal64(&[b, n, h, d], 1),
                cos: normal64(&[n, half], 2),
                sin: normal64(&[n, half], 3),
                pairs,
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
pub fn rotate(
    x: &Array,
    (cos, sin): (&Array, &Array),
    pairs: Pairs,
    direction: Direction,
) -> Result<Array> {
    run(&Rotate { x: x.clone(), cos: cos.clone(), sin: sin.clone(), pairs, direction })
}

/// CPU kernel of [`rotate`].
fn rotate_cpu<T: Real>(of: &Rotate) -> Result<Array> {
    let (x, cos, sin) = (contiguous(&of.x)?, contiguous(&of.cos)?, contiguous(&of.sin)?);
    let ((_, n, heads, dim), (_, half)) = (x.dims4()?, cos.dims2()?);
    let (xs, cs, ss) = (host::slice::<T>(&x)?, host::slice::<T>(&cos)?, host::slice::<T>(&sin)?);
    let (xs, cs, ss): (&[T], &[T], &[T]) = (&xs, &cs, &ss);
    let sign = if of.direction == Direction::Forward { T::ONE } else { -T::ONE };
    let width = (heads * dim).max(1); // one position
    let count = rows_per_piece(width);
    let write = |piece: usize, y: &mut [MaybeUninit<T>]| {
        for (r, y) in y.chunks_exact_mut(width).enumerate() {
            let row = piece * count + r;
            let (cos, sin) = (nth_chunk(cs, row % n, half), nth_chunk(ss, row % n, half));
            let x = nth_chunk(xs, row, width);
            match of.pairs {
                Pairs::Halves => rotate_position(x, y, dim, (cos, sin), sign),
                Pairs::Neighbours => rotate_neighbours(x, y, dim, (cos, sin), sign),
            }
        }
    };
    // SAFETY: each piece consists of whole positions, and `rotate_position` and
    // `rotate_neighbours` write every element of each position.
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

/// Rotates all heads of one position, whose pairs are neighbours.
#[simd]
fn rotate_neighbours<T: Real>(
    x: &[T],
    y: &mut [MaybeUninit<T>],
    dim: usize,
    (cos, sin): (&[T], &[T]),
    sign: T,
) {
    let rotated = 2 * cos.len();
    for (y, x) in y.chunks_exact_mut(dim.max(1)).zip(x.chunks_exact(dim.max(1))) {
        let ((x, still), (y, y_still)) = (x.split_at(rotated), y.split_at_mut(rotated));
        let pairs = y.chunks_exact_mut(2).zip(x.chunks_exact(2));
        for ((y, x), (cos, sin)) in pairs.zip(cos.iter().zip(sin)) {
            let s = sign * *sin;
            y[0] = MaybeUninit::new(x[0] * *cos - x[1] * s);
            y[1] = MaybeUninit::new(x[1] * *cos + x[0] * s);
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
        assert!(rotate(&x, (&short, &table), Pairs::Halves, Direction::Forward).is_err());
    }

    #[test]
    fn the_transpose_is_the_gradient() {
        let of = |dims: &[usize], seed| on_device(&f64s(&normal(dims, seed)));
        let (x, g) = (of(&[1, 3, 2, 6], 1), of(&[1, 3, 2, 6], 2));
        let (cos, sin) = (of(&[3, 2], 3), of(&[3, 2], 4));
        for pairs in [Pairs::Halves, Pairs::Neighbours] {
            let turned = |x: &Array, direction| rotate(x, (&cos, &sin), pairs, direction).unwrap();
            let dx = turned(&g, Direction::Transposed);
            gradcheck(&x, &g, &dx, |x| turned(&on_device(x), Direction::Forward));
        }
    }
}
