//! Sums, means, extremes and softmax along axes.

use super::shape::{cast, keep_boolean, permute, reshape};
use crate::error::invalid;
use crate::{Array, DType, Result, Tensor};
use xt_kernels::ops::elementwise::{self, Unary};
use xt_kernels::ops::extremes::{self, Extreme};
use xt_kernels::ops::softmax::Mask;

/// The axes to reduce, sorted; all axes if `dims` is `None`.
pub(super) fn axes(x: &Tensor, dims: Option<&[usize]>) -> Result<Vec<usize>> {
    let mut axes = dims.map_or_else(|| (0..x.rank()).collect(), <[usize]>::to_vec);
    axes.sort_unstable();
    if let Some(pair) = axes.windows(2).find(|pair| pair[0] == pair[1]) {
        return invalid(format!("axis {} is there more than once", pair[0]));
    }
    match axes.iter().find(|a| **a >= x.rank()) {
        Some(axis) => invalid(format!("there is no axis {axis} in shape {:?}", x.dims())),
        None => Ok(axes),
    }
}

/// The shape of `x` after a reduction: with `keep`, the reduced axes have size 1, else they are
/// removed.
pub(super) fn reduced(x: &Tensor, axes: &[usize], keep: bool) -> Vec<usize> {
    let left = |(i, d): (usize, &usize)| match (axes.contains(&i), keep) {
        (false, _) => Some(*d),
        (true, true) => Some(1),
        (true, false) => None,
    };
    x.dims().iter().enumerate().filter_map(left).collect()
}

/// Sum over `dims`, or over all axes. The sum of integers and booleans is i64, as in PyTorch.
pub fn sum(x: &Tensor, dims: Option<&[usize]>, keep: bool) -> Result<Tensor> {
    let axes = axes(x, dims)?;
    let a = x.array()?;
    let y = if axes.is_empty() && a.dtype().is_float() {
        a
    } else {
        xt_kernels::ops::reduce::sum(&a, &axes)?
    };
    let (from, kept) = (x.dims().to_vec(), reduced(x, &axes, true));
    let y = Tensor::record(y, &[x], move |g| {
        Ok(vec![Some(g.reshape(kept.as_slice())?.broadcast_as(from.as_slice())?)])
    });
    reshape(&y, &reduced(x, &axes, keep))
}

/// Mean over `dims`, or over all axes; NaN if there are no elements. Half precision is accumulated
/// in f32.
pub fn mean(x: &Tensor, dims: Option<&[usize]>, keep: bool) -> Result<Tensor> {
    if !x.dtype().is_float() {
        let kind = x.scalar_type().map_or("?", |k| k.name());
        return invalid(format!(
            "mean needs floating-point values, got {kind}: cast the tensor to f32 first"
        ));
    }
    if matches!(x.dtype(), DType::F16 | DType::BF16) {
        return cast(&mean(&cast(x, DType::F32, false)?, dims, keep)?, x.dtype(), false);
    }
    let count: usize = axes(x, dims)?.iter().map(|a| x.dim(*a)).product();
    super::affine(&sum(x, dims, keep)?, 1.0 / count as f64, 0.0)
}

/// Maximum over `dims`, or over all axes. Equal maxima share the gradient. If there is a NaN, the
/// result is NaN and the gradient goes to the NaN elements.
pub fn max(x: &Tensor, dims: Option<&[usize]>, keep: bool) -> Result<Tensor> {
    extreme(x, dims, keep, Extreme::Max)
}

/// Minimum over `dims`, or over all axes; gradients as for [`max`].
pub fn min(x: &Tensor, dims: Option<&[usize]>, keep: bool) -> Result<Tensor> {
    extreme(x, dims, keep, Extreme::Min)
}

/// Returns an error if one of the axes has size 0.
fn check_filled(x: &Tensor, axes: &[usize], kind: Extreme) -> Result<()> {
    let what = if kind == Extreme::Max { "largest" } else { "smallest" };
    match axes.iter().find(|axis| x.dim(**axis) == 0) {
        Some(axis) => invalid(format!(
            "there is no {what} of nothing: axis {axis} of shape {:?} is empty",
            x.dims()
        )),
        None => Ok(()),
    }
}

fn extreme(x: &Tensor, dims: Option<&[usize]>, keep: bool, kind: Extreme) -> Result<Tensor> {
    let axes = axes(x, dims)?;
    check_filled(x, &axes, kind)?;
    let a = x.array()?;
    let y = if axes.is_empty() { a.clone() } else { extremes::extreme(&a, &axes, kind)? };
    let shape = reduced(x, &axes, keep);
    if !x.dtype().is_float() {
        return reshape(&keep_boolean(x, y), &shape);
    }
    let kept = y.clone();
    let y = Tensor::record(y, &[x], move |g| {
        xt_kernels::memory::alloc::check_like(&a, g.dtype(), 2)?;
        let missing = elementwise::mul(&a.ne(&a)?, &kept.ne(&kept)?)?;
        let hit = elementwise::add(&a.eq(&kept)?, &missing)?.to_dtype(g.dtype())?;
        let count =
            if axes.is_empty() { hit.clone() } else { xt_kernels::ops::reduce::sum(&hit, &axes)? };
        let share = elementwise::div(&g.reshape(kept.dims())?, &count)?;
        Ok(vec![Some(elementwise::mul(&hit, &share)?)])
    });
    reshape(&y, &shape)
}

/// Index of the maximum along `axis`, i64: the first one if several are equal, or the first NaN.
pub fn argmax(x: &Tensor, axis: usize, keep: bool) -> Result<Tensor> {
    position(x, axis, keep, Extreme::Max)
}

/// Index of the minimum along `axis`; see [`argmax`].
pub fn argmin(x: &Tensor, axis: usize, keep: bool) -> Result<Tensor> {
    position(x, axis, keep, Extreme::Min)
}

fn position(x: &Tensor, axis: usize, keep: bool, kind: Extreme) -> Result<Tensor> {
    axes(x, Some(&[axis]))?;
    check_filled(x, &[axis], kind)?;
    let indices = Tensor::constant(extremes::position(&x.array()?, axis, kind)?);
    reshape(&indices, &reduced(x, &[axis], keep))
}

/// The permutation that swaps `axis` with the last axis; it is its own inverse.
fn to_end(x: &Tensor, axis: usize) -> Result<Vec<usize>> {
    axes(x, Some(&[axis]))?;
    let mut order: Vec<usize> = (0..x.rank()).collect();
    order.swap(axis, x.rank() - 1);
    Ok(order)
}

/// Softmax along `axis`.
pub fn softmax(x: &Tensor, axis: usize) -> Result<Tensor> {
    on_last_axis(x, axis, |x| super::masked_softmax(x, &Mask::default()))
}

/// Logarithm of the softmax along `axis`.
pub fn log_softmax(x: &Tensor, axis: usize) -> Result<Tensor> {
    on_last_axis(x, axis, |x| {
        let last = x.rank() - 1;
        let a = x.array()?;
        if a.elem_count() == 0 {
            return Ok(x.clone());
        }
        let centred = elementwise::sub(&a, &extremes::extreme(&a, &[last], Extreme::Max)?)?;
        let total =
            xt_kernels::ops::reduce::sum(&elementwise::unary(&centred, Unary::Exp)?, &[last])?;
        let y = elementwise::sub(&centred, &elementwise::unary(&total, Unary::Log)?)?;
        let kept = y.clone();
        Ok(Tensor::record(y, &[x], move |g| {
            let weights: Array = elementwise::unary(&kept, Unary::Exp)?;
            let total = xt_kernels::ops::reduce::sum(g, &[last])?;
            Ok(vec![Some(elementwise::sub(g, &elementwise::mul(&weights, &total)?)?)])
        }))
    })
}

/// Applies `f`, which works on the last axis, along `axis`.
fn on_last_axis(x: &Tensor, axis: usize, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    if !x.dtype().is_float() {
        return invalid("softmax needs floating-point values: cast the tensor to f32 first");
    }
    let order = to_end(x, axis)?;
    if axis + 1 == x.rank() {
        return f(x);
    }
    permute(&f(&permute(x, &order)?)?, &order)
}
