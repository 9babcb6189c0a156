//! Functions of one element.

use crate::error::invalid;
use crate::{Array, Result, Tensor};

fn float(x: &Tensor, name: &str) -> Result<Array> {
    if !x.dtype().is_float() {
        return invalid(format!("{name} needs floating-point values, got {}", x.kind().map_or("?", |k| k.name())));
    }
    x.array()
}

pub fn neg(x: &Tensor) -> Result<Tensor> {
    let y = if x.dtype().is_float() { x.array()?.neg()? } else { x.array()?.affine(-1.0, 0.0)? };
    Ok(Tensor::record(y, &[x], |g| Ok(vec![Some(g.neg()?)])))
}

pub fn exp(x: &Tensor) -> Result<Tensor> {
    let y = float(x, "exp")?.exp()?;
    let kept = y.clone();
    Ok(Tensor::record(y, &[x], move |g| Ok(vec![Some((g * &kept)?)])))
}

/// The natural logarithm.
pub fn log(x: &Tensor) -> Result<Tensor> {
    let a = float(x, "log")?;
    Ok(Tensor::record(a.log()?, &[x], move |g| Ok(vec![Some((g / &a)?)])))
}

pub fn sqrt(x: &Tensor) -> Result<Tensor> {
    let y = float(x, "sqrt")?.sqrt()?;
    let kept = y.clone();
    Ok(Tensor::record(y, &[x], move |g| Ok(vec![Some(((g / &kept)? * 0.5)?)])))
}

/// The gradient at 0 is 0, as in PyTorch.
pub fn abs(x: &Tensor) -> Result<Tensor> {
    let a = x.array()?;
    let y = a.abs()?;
    Ok(Tensor::record(y, &[x], move |g| Ok(vec![Some((g * a.sign()?)?)])))
}

pub fn tanh(x: &Tensor) -> Result<Tensor> {
    let y = float(x, "tanh")?.tanh()?;
    let kept = y.clone();
    Ok(Tensor::record(y, &[x], move |g| Ok(vec![Some((g * (1.0 - kept.sqr()?)?)?)])))
}
