//! Sums, means, extremes and softmax along axes.

use super::shape::{permute, reshape};
use crate::error::invalid;
use crate::{Array, DType, Result, Tensor};
use xt_kernels::elementwise::{self, Unary};
use xt_kernels::softmax::Mask;

/// The axes to reduce: all where none are given.
fn axes(x: &Tensor, dims: Option<&[usize]>) -> Result<Vec<usize>> {
    let mut axes = dims.map_or_else(|| (0..x.rank()).collect(), <[usize]>::to_vec);
    axes.sort_unstable();
    axes.dedup();
    match axes.iter().find(|a| **a >= x.rank()) {
        Some(axis) => invalid(format!("there is no axis {axis} in shape {:?}", x.dims())),
        None => Ok(axes),
    }
}

/// `dims` with the reduced axes of size 1, or without them.
fn reduced(x: &Tensor, axes: &[usize], keep: bool) -> Vec<usize> {
    let left = |(i, d): (usize, &usize)| match (axes.contains(&i), keep) {
        (false, _) => Some(*d),
        (true, true) => Some(1),
        (true, false) => None,
    };
    x.dims().iter().enumerate().filter_map(left).collect()
}

/// Sum over `dims`, or over all axes.
pub fn sum(x: &Tensor, dims: Option<&[usize]>, keep: bool) -> Result<Tensor> {
    let axes = axes(x, dims)?;
    let a = x.array()?;
    let y = if axes.is_empty() { a } else { xt_kernels::reduce::sum(&a, &axes)? };
    let (from, kept) = (x.dims().to_vec(), reduced(x, &axes, true));
    let y =
        Tensor::record(y, &[x], move |g| Ok(vec![Some(g.reshape(kept.as_slice())?.broadcast_as(from.as_slice())?)]));
    reshape(&y, &reduced(x, &axes, keep))
}

/// Mean over `dims`, or over all axes.
pub fn mean(x: &Tensor, dims: Option<&[usize]>, keep: bool) -> Result<Tensor> {
    if !x.dtype().is_float() {
        return invalid("mean needs floating-point values; cast first");
    }
    let count: usize = axes(x, dims)?.iter().map(|a| x.dim(*a)).product();
    super::affine(&sum(x, dims, keep)?, 1.0 / count as f64, 0.0)
}

/// Largest value over `dims`, or over all axes; equal ones share the gradient.
pub fn max(x: &Tensor, dims: Option<&[usize]>, keep: bool) -> Result<Tensor> {
    extreme(x, dims, keep, true)
}

/// Smallest value over `dims`, or over all axes; equal ones share the gradient.
pub fn min(x: &Tensor, dims: Option<&[usize]>, keep: bool) -> Result<Tensor> {
    extreme(x, dims, keep, false)
}

fn extreme(x: &Tensor, dims: Option<&[usize]>, keep: bool, largest: bool) -> Result<Tensor> {
    let axes = axes(x, dims)?;
    if axes.iter().any(|a| x.dim(*a) == 0) {
        return invalid(format!("no largest or smallest of nothing: shape {:?}", x.dims()));
    }
    let a = x.array()?;
    let mut y = a.clone();
    for axis in &axes {
        y = if largest { y.max_keepdim(*axis)? } else { y.min_keepdim(*axis)? };
    }
    let kept = y.clone();
    let y = Tensor::record(y, &[x], move |g| {
        xt_kernels::alloc::check_like(&a, g.dtype(), 2)?;
        let hit = a.broadcast_eq(&kept)?.to_dtype(g.dtype())?;
        let count = if axes.is_empty() { hit.clone() } else { xt_kernels::reduce::sum(&hit, &axes)? };
        let share = elementwise::div(&g.reshape(kept.dims())?, &count)?;
        Ok(vec![Some(elementwise::mul(&hit, &share)?)])
    });
    let axes = self::axes(x, dims)?;
    reshape(&y, &reduced(x, &axes, keep))
}

/// Position of the largest value along `axis`, i64; the first one where several are equal.
pub fn argmax(x: &Tensor, axis: usize, keep: bool) -> Result<Tensor> {
    axes(x, Some(&[axis]))?;
    if x.dim(axis) == 0 {
        return invalid(format!("no largest of nothing: shape {:?}", x.dims()));
    }
    let a = x.array()?;
    let y = if keep { a.argmax_keepdim(axis)? } else { a.argmax(axis)? };
    Ok(Tensor::constant(y.to_dtype(DType::I64)?))
}

/// The order of axes that brings `axis` to the end; it is its own inverse.
fn to_end(x: &Tensor, axis: usize) -> Result<Vec<usize>> {
    axes(x, Some(&[axis]))?;
    let mut order: Vec<usize> = (0..x.rank()).collect();
    order.swap(axis, x.rank() - 1);
    Ok(order)
}

/// Softmax along `axis`.
pub fn softmax(x: &Tensor, axis: usize) -> Result<Tensor> {
    along(x, axis, |x| super::masked_softmax(x, &Mask::default()))
}

/// Logarithm of the softmax along `axis`.
pub fn log_softmax(x: &Tensor, axis: usize) -> Result<Tensor> {
    along(x, axis, |x| {
        let last = x.rank() - 1;
        let a = x.array()?;
        let centred = elementwise::sub(&a, &a.max_keepdim(last)?)?;
        let total = xt_kernels::reduce::sum(&elementwise::unary(&centred, Unary::Exp)?, &[last])?;
        let y = elementwise::sub(&centred, &elementwise::unary(&total, Unary::Log)?)?;
        let kept = y.clone();
        Ok(Tensor::record(y, &[x], move |g| {
            let weights: Array = elementwise::unary(&kept, Unary::Exp)?;
            let total = xt_kernels::reduce::sum(g, &[last])?;
            Ok(vec![Some(elementwise::sub(g, &elementwise::mul(&weights, &total)?)?)])
        }))
    })
}

fn along(x: &Tensor, axis: usize, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    if !x.dtype().is_float() {
        return invalid("softmax needs floating-point values; cast first");
    }
    let order = to_end(x, axis)?;
    if axis + 1 == x.rank() {
        return f(x);
    }
    permute(&f(&permute(x, &order)?)?, &order)
}
