//! Element-wise functions of one tensor.

use super::shape::{cast, keep_boolean, record_like};
use super::Comparison;
use crate::error::invalid;
use crate::{Array, Result, Tensor};
use xt_kernels::memory::alloc;
use xt_kernels::ops::elementwise::{self, affine, binary, div, mul, sub, unary, Binary, Unary};

/// The values of `x`, or an error if its type is not floating-point. `name` is the operation.
pub(super) fn require_float(x: &Tensor, name: &str) -> Result<Array> {
    if !x.dtype().is_float() {
        let kind = x.scalar_type().map_or("?", |k| k.name());
        return invalid(format!(
            "{name} needs floating-point values, got {kind}: cast the tensor to f32 first"
        ));
    }
    x.array()
}

/// The values of `x`, or an error if it is boolean. `name` is the operation.
fn require_number(x: &Tensor, name: &str) -> Result<Array> {
    if x.is_boolean() {
        return invalid(format!(
            "{name} of truth values: take logicalNot, or cast the tensor to i64 first"
        ));
    }
    x.array()
}

/// `-x`; u8 wraps, as in PyTorch.
pub fn neg(x: &Tensor) -> Result<Tensor> {
    let a = require_number(x, "neg")?;
    let y = if a.dtype().is_float() { unary(&a, Unary::Neg)? } else { sub(&a.zeros_like()?, &a)? };
    Ok(Tensor::record(y, &[x], |g| Ok(vec![Some(unary(g, Unary::Neg)?)])))
}

/// The exponential function.
pub fn exp(x: &Tensor) -> Result<Tensor> {
    let y = unary(&require_float(x, "exp")?, Unary::Exp)?;
    let kept = y.clone();
    Ok(Tensor::record(y, &[x], move |g| Ok(vec![Some(mul(g, &kept)?)])))
}

/// The natural logarithm.
pub fn log(x: &Tensor) -> Result<Tensor> {
    let a = require_float(x, "log")?;
    Ok(Tensor::record(unary(&a, Unary::Log)?, &[x], move |g| Ok(vec![Some(div(g, &a)?)])))
}

/// The square root.
pub fn sqrt(x: &Tensor) -> Result<Tensor> {
    let y = unary(&require_float(x, "sqrt")?, Unary::Sqrt)?;
    let kept = y.clone();
    Ok(Tensor::record(y, &[x], move |g| Ok(vec![Some(affine(&div(g, &kept)?, 0.5, 0.0)?)])))
}

/// The absolute value; its gradient at 0 is 0, as in PyTorch.
pub fn abs(x: &Tensor) -> Result<Tensor> {
    let a = require_number(x, "abs")?;
    let y = unary(&a, Unary::Abs)?;
    Ok(Tensor::record(y, &[x], move |g| Ok(vec![Some(mul(g, &unary(&a, Unary::Sign)?)?)])))
}

/// The hyperbolic tangent.
pub fn tanh(x: &Tensor) -> Result<Tensor> {
    let y = unary(&require_float(x, "tanh")?, Unary::Tanh)?;
    let kept = y.clone();
    Ok(Tensor::record(y, &[x], move |g| {
        let slope = affine(&unary(&kept, Unary::Square)?, -1.0, 1.0)?;
        Ok(vec![Some(mul(g, &slope)?)])
    }))
}

/// The sine.
pub fn sin(x: &Tensor) -> Result<Tensor> {
    let a = require_float(x, "sin")?;
    Ok(Tensor::record(unary(&a, Unary::Sin)?, &[x], move |g| {
        Ok(vec![Some(mul(g, &unary(&a, Unary::Cos)?)?)])
    }))
}

/// The cosine.
pub fn cos(x: &Tensor) -> Result<Tensor> {
    let a = require_float(x, "cos")?;
    Ok(Tensor::record(unary(&a, Unary::Cos)?, &[x], move |g| {
        Ok(vec![Some(affine(&mul(g, &unary(&a, Unary::Sin)?)?, -1.0, 0.0)?)])
    }))
}

/// `x²`; of integers as [`super::mul`].
pub fn square(x: &Tensor) -> Result<Tensor> {
    if !x.dtype().is_float() {
        require_number(x, "square")?;
        return super::mul(x, x);
    }
    let a = x.array()?;
    Ok(Tensor::record(unary(&a, Unary::Square)?, &[x], move |g| {
        Ok(vec![Some(affine(&mul(g, &a)?, 2.0, 0.0)?)])
    }))
}

/// `1 / x`; integers give f32.
pub fn reciprocal(x: &Tensor) -> Result<Tensor> {
    super::div(&super::scalar_like(x, 1.0)?, x)
}

/// `1 / sqrt(x)`.
pub fn rsqrt(x: &Tensor) -> Result<Tensor> {
    reciprocal(&sqrt(x)?)
}

/// A function of steps, whose slope is 0.
fn steps(x: &Tensor, y: Array) -> Tensor {
    Tensor::record(y, &[x], |g| Ok(vec![Some(g.zeros_like()?)]))
}

/// -1, 0 or 1; 0 for NaN, as in PyTorch.
pub fn sign(x: &Tensor) -> Result<Tensor> {
    let a = require_number(x, "sign")?;
    Ok(steps(x, unary(&a, Unary::Sign)?))
}

/// Rounds to integers, which `how` selects: [`Unary::Round`], [`Unary::Floor`] or [`Unary::Ceil`].
/// Integers stay.
pub fn rounded(x: &Tensor, how: Unary) -> Result<Tensor> {
    let a = require_number(x, "rounding")?;
    match a.dtype().is_float() {
        true => Ok(steps(x, unary(&a, how)?)),
        false => Ok(x.clone()),
    }
}

/// `min(max(x, low), high)`. The gradient passes between `low` and `high`, and is 0 at and outside
/// of them, as in PyTorch from 2.15 on (before, it passed at them). NaN stays. Half precision is
/// compared in f32.
pub fn clamp(x: &Tensor, low: Option<f64>, high: Option<f64>) -> Result<Tensor> {
    let wide = xt_kernels::host::accumulation_dtype(x.dtype());
    if wide != x.dtype() {
        alloc::check_like(&x.array()?, wide, 3)?;
        return cast(&clamp(&cast(x, wide, false)?, low, high)?, x.dtype(), false);
    }
    let a = require_number(x, "clamp")?;
    if x.dtype().is_float() {
        let (low, high) = (low.unwrap_or(f64::NEG_INFINITY), high.unwrap_or(f64::INFINITY));
        let y = elementwise::clamp(&a, low, high)?;
        return Ok(Tensor::record(y, &[x], move |g| {
            Ok(vec![Some(elementwise::clamp_backward(&a, g, low, high)?)])
        }));
    }
    let bound =
        |value: Option<f64>| value.map(|value| super::scalar_like(x, value)?.array()).transpose();
    let (low, high) = (bound(low)?, bound(high)?);
    let mut y = a.clone();
    for (bound, op) in [(&low, Binary::Max), (&high, Binary::Min)] {
        if let Some(bound) = bound {
            y = binary(&y, bound, op)?;
        }
    }
    Ok(Tensor::constant(y))
}

/// A copy with its own memory.
pub fn copy(x: &Tensor) -> Result<Tensor> {
    let y = keep_boolean(x, x.array()?.copy()?);
    Ok(record_like(y, x, |g| Ok(vec![Some(g.clone())])))
}

/// Where `x` is NaN; nowhere in integers.
pub fn is_nan(x: &Tensor) -> Result<Tensor> {
    super::compare(x, x, Comparison::Ne)
}

/// Where `x` is infinite; nowhere in integers.
pub fn is_infinite(x: &Tensor) -> Result<Tensor> {
    magnitude(x, Comparison::Eq)
}

/// Where `x` is neither infinite nor NaN; everywhere in integers.
pub fn is_finite(x: &Tensor) -> Result<Tensor> {
    magnitude(x, Comparison::Lt)
}

/// Compares the absolute value with infinity.
fn magnitude(x: &Tensor, how: Comparison) -> Result<Tensor> {
    match x.dtype().is_float() {
        true => super::compare_with(&abs(&x.detach()?)?, f64::INFINITY, how),
        false => super::compare_with(x, f64::INFINITY, how),
    }
}
