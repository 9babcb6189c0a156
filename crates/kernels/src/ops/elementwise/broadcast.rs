//! Loops over pairs of elements of arrays that are broadcast.

use super::map::zip;
use crate::host;
use crate::host::parallel::{build_uninit, PIECE};
use crate::ops::layout::{contiguous, RowCursor};
use crate::{Array, Element, Result, Shape};
use std::mem::MaybeUninit;

/// Writes `f(x, y)` for each pair.
fn zip_slices<T: Copy>(xs: &[T], ys: &[T], zs: &mut [MaybeUninit<T>], f: impl Fn(T, T) -> T) {
    for ((z, x), y) in zs.iter_mut().zip(xs).zip(ys) {
        *z = MaybeUninit::new(f(*x, *y));
    }
}

/// Applies `f` to each pair of elements of `a` and `b`, with broadcasting.
pub(super) fn broadcast<T: Element>(
    a: &Array,
    b: &Array,
    f: impl Fn(T, T) -> T + Sync,
) -> Result<Array> {
    if a.dims() == b.dims() {
        // SAFETY: `zip_slices` writes an output for each pair of inputs.
        return unsafe { zip::<T>(a, b, |xs, ys, zs| zip_slices(xs, ys, zs, &f)) };
    }
    let dims = a.shape().broadcast_shape_binary_op(b.shape(), "broadcast")?;
    let (a, b) = (contiguous(a)?, contiguous(b)?);
    let axes = Axes::new(&dims, &a, &b)?;
    let (xs, ys) = (host::slice::<T>(&a)?, host::slice::<T>(&b)?);
    let (xs, ys): (&[T], &[T]) = (&xs, &ys);
    // SAFETY: `write_piece` fills the piece row by row until it is complete.
    let z = unsafe {
        build_uninit(dims.elem_count(), PIECE, |piece, zs| {
            axes.write_piece((xs, ys), piece * PIECE, zs, &f)
        })
    }?;
    host::array(z, dims)
}

/// The axes of a broadcast result. Adjacent axes that both operands traverse with uniform strides
/// are merged.
struct Axes {
    /// Sizes of all axes but the last.
    outer: Vec<usize>,
    /// Strides of both operands along the outer axes.
    outer_strides: [Vec<usize>; 2],
    /// Size of the last axis.
    width: usize,
    /// Strides of both operands along the last axis: 1, or 0 if one element is broadcast to the
    /// row.
    strides: [usize; 2],
}

impl Axes {
    /// Merges the axes of the shape `dims`, to which `a` and `b` are broadcast.
    fn new(dims: &Shape, a: &Array, b: &Array) -> Result<Self> {
        let (a, b) = (a.broadcast_as(dims)?, b.broadcast_as(dims)?);
        let mut axes: Vec<(usize, [usize; 2])> = Vec::new();
        for (axis, dim) in dims.dims().iter().enumerate().filter(|(_, dim)| **dim != 1) {
            let strides = [a.stride()[axis], b.stride()[axis]];
            match axes.last_mut() {
                Some((before, wider)) if (0..2).all(|i| wider[i] == dim * strides[i]) => {
                    (*before, *wider) = (*before * dim, strides);
                }
                _ => axes.push((*dim, strides)),
            }
        }
        let (width, strides) = axes.pop().unwrap_or((1, [0, 0]));
        let outer_strides = [0, 1].map(|i| axes.iter().map(|(_, strides)| strides[i]).collect());
        Ok(Self {
            outer: axes.into_iter().map(|(dim, _)| dim).collect(),
            outer_strides,
            width,
            strides,
        })
    }

    /// Writes the piece `zs` of the result, which starts at element `first`.
    fn write_piece<T: Copy>(
        &self,
        (xs, ys): (&[T], &[T]),
        first: usize,
        mut zs: &mut [MaybeUninit<T>],
        f: impl Fn(T, T) -> T,
    ) {
        let (row, mut column) = (first / self.width, first % self.width);
        let [mut x, mut y] =
            [0, 1].map(|i| RowCursor::new(&self.outer, &self.outer_strides[i], row));
        while !zs.is_empty() {
            let (now, rest) = zs.split_at_mut(zs.len().min(self.width - column));
            let from = |values: &'_ [T], cursor: &RowCursor, stride: usize| {
                cursor.offset + stride * column..values.len()
            };
            let (xs, ys) = (&xs[from(xs, &x, self.strides[0])], &ys[from(ys, &y, self.strides[1])]);
            match self.strides {
                [0, 0] => now.fill(MaybeUninit::new(f(xs[0], ys[0]))),
                [0, _] => {
                    now.iter_mut().zip(ys).for_each(|(z, y)| *z = MaybeUninit::new(f(xs[0], *y)))
                }
                [_, 0] => {
                    now.iter_mut().zip(xs).for_each(|(z, x)| *z = MaybeUninit::new(f(*x, ys[0])))
                }
                _ => zip_slices(xs, ys, now, &f),
            }
            (zs, column) = (rest, 0);
            x.advance();
            y.advance();
        }
    }
}
