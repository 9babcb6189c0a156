//! Loss functions.

use super::arithmetic::{affine, mul, sub};
use super::layers::{check_bias, check_linear, linear};
use super::reduce::mean;
use super::unary::tanh;
use crate::error::invalid;
use crate::{is_grad_enabled, Array, DType, Result, Tensor};
use xt_kernels as kernels;
pub use xt_kernels::ops::cross_entropy::CrossEntropy;
use xt_kernels::ops::elementwise;
use xt_kernels::ops::linear_cross_entropy::{LossArgs, NeedsGrad};

/// Mean cross-entropy: `logits` (.., classes), `targets` i64 (..). `of` says which targets count.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor, of: CrossEntropy) -> Result<Tensor> {
    let Some((classes, rows)) = logits.dims().split_last() else {
        return invalid("cross-entropy: the logits need an axis of classes");
    };
    check_targets(targets, rows)?;
    if !logits.dtype().is_float() {
        let kind = logits.scalar_type().map_or("?", |k| k.name());
        return invalid(format!(
            "cross-entropy needs floating-point logits, got {kind}: cast the tensor to f32 first"
        ));
    }
    let flat = kernels::ops::layout::contiguous(&logits.array()?)?
        .reshape((rows.iter().product::<usize>(), *classes))?;
    let targets = targets.array()?;
    let loss = kernels::ops::cross_entropy::forward(&flat, &targets, of)?;
    let dims = logits.dims().to_vec();
    Ok(Tensor::record(loss, &[logits], move |g| {
        let d = kernels::ops::cross_entropy::backward(&flat, &targets, of, g)?;
        Ok(vec![Some(d.reshape(dims.as_slice())?)])
    }))
}

/// Checks that `targets` is i64 of shape `rows`.
fn check_targets(targets: &Tensor, rows: &[usize]) -> Result<()> {
    if rows != targets.dims() || targets.dtype() != DType::I64 {
        let remedy =
            if targets.dtype() == DType::I64 { "" } else { ": convert them with `.to('i64')`" };
        return invalid(format!(
            "cross-entropy: targets must be i64 of shape {rows:?}, got {} of shape {:?}{remedy}",
            targets.scalar_type().map_or("?", |k| k.name()),
            targets.dims()
        ));
    }
    Ok(())
}

/// `x` times `factor`, which has one element. On a GPU the factor is not read back.
fn times(x: &Array, factor: &Array) -> Result<Array> {
    if !x.device().is_cpu() {
        return Ok(elementwise::mul(x, factor)?);
    }
    match factor.to_dtype(DType::F64)?.to_scalar::<f64>()? {
        1.0 => Ok(x.clone()),
        factor => Ok(elementwise::affine(x, factor, 0.0)?),
    }
}

/// [`cross_entropy`] of `x Wᵀ + bias` without materialising all logits: `x` (.., in), `weight`
/// (classes, in), `bias` (classes), `targets` i64 (..).
///
/// If a graph is recorded, the forward pass computes the gradients too.
pub fn linear_cross_entropy(
    x: &Tensor,
    (weight, bias): (&Tensor, Option<&Tensor>),
    targets: &Tensor,
    of: CrossEntropy,
) -> Result<Tensor> {
    softclamped_cross_entropy(x, (weight, bias), targets, of, None)
}

/// [`linear_cross_entropy`] of logits with a limit c, `softclamp`: each is `c tanh(logit / c)`.
pub fn softclamped_cross_entropy(
    x: &Tensor,
    (weight, bias): (&Tensor, Option<&Tensor>),
    targets: &Tensor,
    of: CrossEntropy,
    softclamp: Option<f64>,
) -> Result<Tensor> {
    check_linear(x, weight)?;
    check_bias(weight, bias)?;
    let (dims, inner) = (x.dims().to_vec(), weight.dim(1));
    let rows = &dims[..dims.len() - 1];
    check_targets(targets, rows)?;
    if weight.packed().is_some() {
        let logits = linear(x, weight, bias)?;
        return match softclamp {
            Some(limit) => {
                let tanh = tanh(&affine(&logits, 1.0 / limit, 0.0)?)?;
                cross_entropy(&affine(&tanh, limit, 0.0)?, targets, of)
            }
            None => cross_entropy(&logits, targets, of),
        };
    }
    let a = kernels::ops::layout::contiguous(&x.array()?)?
        .reshape((rows.iter().product::<usize>(), inner))?;
    let (w, b, t) = (weight.array()?, bias.map(Tensor::array).transpose()?, targets.array()?);
    let needs = |tensor: &Tensor| is_grad_enabled() && tensor.requires_grad();
    let needs_grad =
        NeedsGrad { x: needs(x), weight: needs(weight), bias: bias.is_some_and(needs) };
    let of = LossArgs { x: &a, weight: &w, bias: b.as_ref(), targets: &t, of, softclamp };
    let (loss, grads) = kernels::ops::linear_cross_entropy::forward(&of, needs_grad)?;
    let inputs: Vec<&Tensor> = [x, weight].into_iter().chain(bias).collect();
    let biased = bias.is_some();
    Ok(Tensor::record(loss, &inputs, move |g| {
        let scaled = |grad: &Option<Array>| grad.as_ref().map(|grad| times(grad, g)).transpose();
        let x = scaled(&grads.x)?.map(|d| d.reshape(dims.as_slice())).transpose()?;
        let mut all = vec![x, scaled(&grads.weight)?];
        if biased {
            all.push(scaled(&grads.bias)?);
        }
        Ok(all)
    }))
}

/// Mean squared error of two tensors of the same shape.
pub fn mse(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.dims() != b.dims() {
        return invalid(format!("mse: shapes {:?} and {:?} differ", a.dims(), b.dims()));
    }
    let d = sub(a, b)?;
    mean(&mul(&d, &d)?, None, false)
}
