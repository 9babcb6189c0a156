//! Normalisation of rows.

use crate::error::invalid;
use crate::{Result, Tensor};
use xt_kernels as kernels;
use xt_kernels::ops::scale_norm::Scale;

/// Layer normalisation over the last axis: `x` (.., dim), `weight` and `bias` (dim).
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    Ok(layer_norm_with_residual(x, weight, bias, eps)?.0)
}

/// [`layer_norm`] and `x` itself, for a residual branch around the norm: the kernel adds the
/// gradients of both branches.
pub fn layer_norm_with_residual(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
) -> Result<(Tensor, Tensor)> {
    if x.rank() == 0 || weight.dims() != [x.dim(x.rank() - 1)] || bias.dims() != weight.dims() {
        return invalid(format!(
            "a norm over {:?} features does not take {:?}",
            weight.dims(),
            x.dims()
        ));
    }
    let (a, w) = (x.array()?, weight.array()?);
    let y = kernels::ops::layer_norm::forward(&a, &w, &bias.array()?, eps)?;
    Ok(Tensor::record_pair((y, x.array()?), &[x, weight, bias], move |g, residual_grad| {
        let Some(g) = g else {
            return Ok(vec![residual_grad.cloned(), None, None]);
        };
        let d = kernels::ops::layer_norm::backward(&a, &w, g, residual_grad, eps)?;
        Ok(vec![Some(d.x), Some(d.weight), Some(d.bias)])
    }))
}

/// `x / max(|x| · scale, eps) · gain` over the last axis: `x` (.., dim), `gain` (dim).
pub fn scale_norm(x: &Tensor, gain: &Tensor, scale: f64, eps: f64) -> Result<Tensor> {
    Ok(scale_norm_with_residual(x, gain, scale, eps)?.0)
}

/// [`scale_norm`] and `x` itself, for a residual branch; see [`layer_norm_with_residual`].
pub fn scale_norm_with_residual(
    x: &Tensor,
    gain: &Tensor,
    scale: f64,
    eps: f64,
) -> Result<(Tensor, Tensor)> {
    by_length(x, gain, Scale { scale, eps, added: false })
}

/// `x` (.., dim) over the divisor that `s` describes, times `gain` (dim), and `x` itself.
fn by_length(x: &Tensor, gain: &Tensor, s: Scale) -> Result<(Tensor, Tensor)> {
    check_gain(x, gain)?;
    let (a, w) = (x.array()?, gain.array()?);
    let y = kernels::ops::scale_norm::forward(&a, Some(&w), s)?;
    Ok(Tensor::record_pair((y, x.array()?), &[x, gain], move |g, residual_grad| {
        let Some(g) = g else {
            return Ok(vec![residual_grad.cloned(), None]);
        };
        let (dx, dgain) = kernels::ops::scale_norm::backward(&a, Some(&w), g, residual_grad, s)?;
        Ok(vec![Some(dx), dgain])
    }))
}

fn check_gain(x: &Tensor, gain: &Tensor) -> Result<()> {
    if x.rank() == 0 || gain.dims() != [x.dim(x.rank() - 1)] {
        return invalid(format!(
            "a norm over {:?} features does not take {:?}",
            gain.dims(),
            x.dims()
        ));
    }
    Ok(())
}

/// `x / sqrt(mean(x²) + eps) · gain` over the last axis, as PyTorch's RMSNorm: `x` (.., dim),
/// `gain` (dim).
pub fn rms_norm(x: &Tensor, gain: &Tensor, eps: f64) -> Result<Tensor> {
    Ok(rms_norm_with_residual(x, gain, eps)?.0)
}

/// [`rms_norm`] and `x` itself, for a residual branch; see [`layer_norm_with_residual`].
pub fn rms_norm_with_residual(x: &Tensor, gain: &Tensor, eps: f64) -> Result<(Tensor, Tensor)> {
    let scale = (gain.elem_count() as f64).powf(-0.5);
    by_length(x, gain, Scale { scale, eps, added: true })
}

/// Divides by the Euclidean norm over the last axis, clamped to at least 1e-12, as in PyTorch's
/// `normalize`.
pub fn l2_norm(x: &Tensor) -> Result<Tensor> {
    if x.rank() == 0 {
        return invalid("l2 norm of a scalar");
    }
    let s = Scale { scale: 1.0, eps: 1e-12, added: false };
    let a = x.array()?;
    let y = kernels::ops::scale_norm::forward(&a, None, s)?;
    Ok(Tensor::record(y, &[x], move |g| {
        Ok(vec![Some(kernels::ops::scale_norm::backward(&a, None, g, None, s)?.0)])
    }))
}
