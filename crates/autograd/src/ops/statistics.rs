//! Variance, norms, products, running sums, and truth along axes.

use super::arithmetic::power;
use super::reduce::{axes, reduced, sum};
use super::shape::{cast, narrow, reshape};
use super::unary::require_float;
use super::Comparison;
use crate::error::invalid;
use crate::{Array, DType, Result, Tensor};
use xt_kernels::memory::alloc;
use xt_kernels::ops::elementwise::{affine, div, mul, sub, unary, Unary};
use xt_kernels::ops::reduce::sum as sum_of;

/// Runs `f` in f32 for half precision, whose sums would lose too much.
fn in_f32(x: &Tensor, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    match x.dtype() {
        half @ (DType::F16 | DType::BF16) => cast(&f(&cast(x, DType::F32, false)?)?, half, false),
        _ => f(x),
    }
}

/// Variance over `dims`, or over all axes: the sum of the squared distances from the mean, divided
/// by the number of elements less `correction`. As in PyTorch, a number of 0 or less divides as 0:
/// the variance is infinite then, or NaN where all elements are equal.
pub fn var(x: &Tensor, dims: Option<&[usize]>, correction: f64, keep: bool) -> Result<Tensor> {
    spread(x, dims, (correction, false), keep)
}

/// Standard deviation, the root of [`var`]. Its gradient is 0 where it is 0, as in PyTorch.
pub fn std(x: &Tensor, dims: Option<&[usize]>, correction: f64, keep: bool) -> Result<Tensor> {
    spread(x, dims, (correction, true), keep)
}

/// The variance, or with `root` the standard deviation.
fn spread(
    x: &Tensor,
    dims: Option<&[usize]>,
    (correction, root): (f64, bool),
    keep: bool,
) -> Result<Tensor> {
    require_float(x, if root { "std" } else { "var" })?;
    let axes = axes(x, dims)?;
    let shape = reduced(x, &axes, keep);
    in_f32(x, |x| {
        let a = x.array()?;
        // the distances from the mean, and their squares
        alloc::check_like(&a, a.dtype(), 2)?;
        let count = axes.iter().map(|axis| x.dim(*axis)).product::<usize>() as f64;
        let centred = sub(&a, &affine(&sum_of(&a, &axes)?, 1.0 / count, 0.0)?)?;
        let squares = sum_of(&unary(&centred, Unary::Square)?, &axes)?;
        let share = 1.0 / (count - correction).max(0.0);
        let var = affine(&squares, share, 0.0)?;
        let y = if root { unary(&var, Unary::Sqrt)? } else { var };
        let kept = y.clone();
        let y = Tensor::record(y, &[x], move |g| {
            let g = g.reshape(kept.dims())?;
            let slope = match root {
                true => affine(&over(&g, &kept, &kept)?, share, 0.0)?,
                false => affine(&g, 2.0 * share, 0.0)?,
            };
            Ok(vec![Some(mul(&centred, &slope)?)])
        });
        reshape(&y, &shape)
    })
}

/// `g / by`, and 0 where `y` is 0.
fn over(g: &Array, by: &Array, y: &Array) -> Result<Array> {
    let zero = y.zeros_like()?;
    Ok(y.eq(&zero)?.where_cond(&zero, &div(g, by)?)?)
}

/// The `p`-norm over `dims`, or over all axes, as PyTorch's `vector_norm`: `(Σ |x|^p)^(1/p)`, the
/// greatest or least absolute value if `p` is infinite, and the number of elements that are not 0
/// if `p` is 0. The gradient at 0 is 0.
///
/// # Errors
/// The type is not floating-point, `p` is NaN, or there is no element and `p` is infinite.
pub fn norm(x: &Tensor, dims: Option<&[usize]>, p: f64, keep: bool) -> Result<Tensor> {
    require_float(x, "norm")?;
    if p.is_nan() {
        return invalid("norm: p is NaN");
    }
    in_f32(x, |x| match p {
        f64::INFINITY => super::max(&super::abs(x)?, dims, keep),
        f64::NEG_INFINITY => super::min(&super::abs(x)?, dims, keep),
        1.0 => sum(&super::abs(x)?, dims, keep),
        0.0 => {
            // in the graph, but without a gradient, as in PyTorch
            let counted = super::compare_with(x, 0.0, Comparison::Ne)?.array()?;
            sum(&Tensor::record(counted.to_dtype(x.dtype())?, &[x], |_| Ok(vec![None])), dims, keep)
        }
        _ => p_norm(x, dims, p, keep),
    })
}

/// [`norm`] for finite `p` but 0.
fn p_norm(x: &Tensor, dims: Option<&[usize]>, p: f64, keep: bool) -> Result<Tensor> {
    let axes = axes(x, dims)?;
    let shape = reduced(x, &axes, keep);
    let a = x.array()?;
    alloc::check_like(&a, a.dtype(), 2)?;
    let raised = |x: &Array, p: f64| -> Result<Array> {
        match p {
            1.0 => Ok(x.clone()),
            2.0 => Ok(unary(x, Unary::Square)?),
            0.5 => Ok(unary(x, Unary::Sqrt)?),
            _ => power(x, &Array::full(p, x.dims(), &x.device())?),
        }
    };
    let sizes = unary(&a, Unary::Abs)?;
    let y = raised(&sum_of(&raised(&sizes, p)?, &axes)?, 1.0 / p)?;
    let kept = y.clone();
    let y = Tensor::record(y, &[x], move |g| {
        alloc::check_like(&a, a.dtype(), 3)?;
        let scale = over(&g.reshape(kept.dims())?, &raised(&kept, p - 1.0)?, &kept)?;
        let sizes = unary(&a, Unary::Abs)?;
        // at 0 the slope of |x| is 0, however steep the power is there
        let slope = mul(&unary(&a, Unary::Sign)?, &raised(&sizes, p - 1.0)?)?;
        let slope = a.eq(&a.zeros_like()?)?.where_cond(&a.zeros_like()?, &slope)?;
        Ok(vec![Some(mul(&slope, &scale)?)])
    });
    reshape(&y, &shape)
}

/// Product over `dims`, or over all axes; 1 if there are no elements. That of integers and booleans
/// is i64, as in PyTorch, and wraps. Halves are multiplied with each other, so that gradients need
/// no division by elements, which may be 0.
pub fn product(x: &Tensor, dims: Option<&[usize]>, keep: bool) -> Result<Tensor> {
    let axes = axes(x, dims)?;
    let wide = if x.dtype().is_float() { x.clone() } else { cast(x, DType::I64, false)? };
    in_f32(&wide, |x| {
        let mut y = x.clone();
        for axis in &axes {
            y = product_along(y, *axis)?;
        }
        reshape(&y, &reduced(x, &axes, keep))
    })
}

fn product_along(mut y: Tensor, axis: usize) -> Result<Tensor> {
    if y.dim(axis) == 0 {
        let mut dims = y.dims().to_vec();
        dims[axis] = 1;
        alloc::check_on(&y.device(), &dims, y.dtype())?;
        let (ones, none) = (Array::ones(dims, y.dtype(), &y.device())?, y.array()?);
        return Ok(Tensor::record(ones, &[&y], move |_| Ok(vec![Some(none.clone())])));
    }
    while y.dim(axis) > 1 {
        let (count, half) = (y.dim(axis), y.dim(axis) / 2);
        let pairs = super::mul(&narrow(&y, axis, 0, half)?, &narrow(&y, axis, half, half)?)?;
        y = match count % 2 {
            0 => pairs,
            _ => super::cat(&[&pairs, &narrow(&y, axis, count - 1, 1)?], axis)?,
        };
    }
    Ok(y)
}

/// Running sums along `axis`. Those of integers and booleans are i64, as in PyTorch.
pub fn cumsum(x: &Tensor, axis: usize) -> Result<Tensor> {
    axes(x, Some(&[axis]))?;
    let a = x.array()?;
    // the result, and a conversion of the type
    alloc::check_on(&x.device(), x.dims(), DType::F64)?;
    let y = xt_kernels::ops::cumsum::cumsum(&a, axis, false)?;
    Ok(Tensor::record(y, &[x], move |g| {
        Ok(vec![Some(xt_kernels::ops::cumsum::cumsum(g, axis, true)?)])
    }))
}

/// Whether an element over `dims`, or over all axes, is not 0. NaN counts as true.
pub fn any(x: &Tensor, dims: Option<&[usize]>, keep: bool) -> Result<Tensor> {
    let count = sum(&cast(&x.detach()?, DType::U8, true)?, dims, keep)?;
    super::compare_with(&count, 0.0, Comparison::Ne)
}

/// Whether all elements over `dims`, or over all axes, are not 0. NaN counts as true; without
/// elements the result is true.
pub fn all(x: &Tensor, dims: Option<&[usize]>, keep: bool) -> Result<Tensor> {
    let count = sum(&super::logical_not(&x.detach()?)?, dims, keep)?;
    super::compare_with(&count, 0.0, Comparison::Eq)
}
