//! Element-wise functions of one tensor.

use crate::error::invalid;
use crate::{Array, Result, Tensor};
use xt_kernels::ops::elementwise::{affine, div, mul, sub, unary, Unary};

/// The values of `x`, or an error if its type is not floating-point. `name` is the operation.
fn require_float(x: &Tensor, name: &str) -> Result<Array> {
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
