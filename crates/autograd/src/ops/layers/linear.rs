//! Linear layers.

use crate::error::invalid;
use crate::{is_grad_enabled, Error, Result, Tensor};
use xt_kernels::ops::quantized::Packed;
use xt_kernels::{self as kernels, Array};

/// `x Wᵀ` for each of several weights: `x` (.., in), each weight (out, in), each result (.., out).
/// One node; the matrix products run as one batch.
pub fn linear_all(x: &Tensor, weights: &[Tensor]) -> Result<Vec<Tensor>> {
    weights.iter().try_for_each(|weight| check_linear(x, weight))?;
    let packed: Vec<_> = weights.iter().filter_map(Tensor::packed).collect();
    let graph =
        is_grad_enabled() && (x.requires_grad() || weights.iter().any(Tensor::requires_grad));
    if !graph && packed.len() == weights.len() {
        let packed: Vec<_> = packed.iter().map(AsRef::as_ref).collect();
        let all = kernels::ops::quantized::forward_all(&x.array()?, &packed)?;
        return Ok(all.into_iter().map(Tensor::constant).collect());
    }
    if !packed.is_empty() {
        return weights.iter().map(|weight| linear(x, weight, None)).collect();
    }
    let arrays = weights.iter().map(Tensor::array).collect::<Result<Vec<_>>>()?;
    let a = x.array()?;
    let all = kernels::ops::linear::forward_all(&a, &arrays)?;
    let inputs: Vec<&Tensor> = std::iter::once(x).chain(weights).collect();
    let (of_input, of_weights) =
        (x.requires_grad(), weights.iter().map(Tensor::requires_grad).collect::<Vec<_>>());
    Ok(Tensor::record_all(all, &inputs, move |grads| {
        let present: Vec<(usize, &Array)> =
            grads.iter().enumerate().filter_map(|(i, g)| Some((i, g.as_ref()?))).collect();
        let mut of_all = vec![None; 1 + arrays.len()];
        if of_input && !present.is_empty() {
            let layers: Vec<_> =
                present.iter().map(|(i, g)| ((*g).clone(), arrays[*i].clone())).collect();
            of_all[0] = Some(kernels::ops::linear::grad_input_all(&layers)?);
        }
        let needed: Vec<_> = present.into_iter().filter(|(i, _)| of_weights[*i]).collect();
        let grads: Vec<_> = needed.iter().map(|(_, g)| (*g).clone()).collect();
        for ((i, _), d) in needed.iter().zip(kernels::ops::linear::grad_weight_all(&grads, &a)?) {
            of_all[1 + i] = Some(d);
        }
        Ok(of_all)
    }))
}

/// Checks that `x` is (.., in), `weight` is (out, in), and that their types agree.
pub(crate) fn check_linear(x: &Tensor, weight: &Tensor) -> Result<()> {
    if x.rank() == 0 || weight.rank() != 2 || x.dim(x.rank() - 1) != weight.dim(1) {
        return invalid(format!(
            "a layer with weights {:?} does not take {:?}",
            weight.dims(),
            x.dims()
        ));
    }
    if x.dtype() != weight.dtype() {
        return invalid(format!(
            "the input is {:?}, the weights are {:?}; cast one of them",
            x.dtype(),
            weight.dtype()
        ));
    }
    Ok(())
}

/// Checks that `bias` is (out) for `weight` (out, in).
pub(crate) fn check_bias(weight: &Tensor, bias: Option<&Tensor>) -> Result<()> {
    if let Some(bias) = bias.filter(|bias| bias.dims() != [weight.dim(0)]) {
        return invalid(format!(
            "a layer with weights {:?} does not take a bias {:?}",
            weight.dims(),
            bias.dims()
        ));
    }
    Ok(())
}

/// `x Wᵀ + bias`: `x` (.., in), `weight` (out, in), `bias` (out). Result: (.., out).
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    check_linear(x, weight)?;
    check_bias(weight, bias)?;
    if let Some(packed) = weight.packed() {
        return quantized_linear(x, (weight, &packed), bias);
    }
    let (a, w) = (x.array()?, weight.array()?);
    let b = bias.map(Tensor::array).transpose()?;
    let y = kernels::ops::linear::forward(&a, &w, b.as_ref())?;
    let needs = (x.requires_grad(), weight.requires_grad(), bias.is_some());
    let inputs: Vec<&Tensor> = [x, weight].into_iter().chain(bias).collect();
    Ok(Tensor::record(y, &inputs, move |g| {
        let g = kernels::ops::layout::contiguous(g)?;
        let of_input = needs.0.then(|| kernels::ops::linear::grad_input(&g, &w)).transpose()?;
        let of_weight = needs.1.then(|| kernels::ops::linear::grad_weight(&g, &a)).transpose()?;
        let of_bias = needs.2.then(|| kernels::ops::linear::grad_bias(&g)).transpose()?;
        Ok([of_input, of_weight].into_iter().chain(needs.2.then_some(of_bias)).collect())
    }))
}

/// [`linear`] with a quantized weight, which records no graph.
///
/// # Errors
/// [`Error::Quantized`] if recording is enabled and an operand requires a gradient.
fn quantized_linear(
    x: &Tensor,
    (weight, packed): (&Tensor, &Packed),
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    if is_grad_enabled() && [x, weight].into_iter().chain(bias).any(Tensor::requires_grad) {
        let (shape, format) = (weight.dims().to_vec(), packed.format().name());
        return Err(Error::Quantized { shape, format, what: "training" });
    }
    let bias = bias.map(Tensor::array).transpose()?;
    Ok(Tensor::constant(kernels::ops::quantized::forward(&x.array()?, packed, bias.as_ref())?))
}
