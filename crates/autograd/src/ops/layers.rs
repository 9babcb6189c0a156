//! Building blocks of layers. Each is one node of the graph over a fused kernel.

use crate::error::invalid;
use crate::{is_grad_enabled, Error, Result, Tensor};
use std::sync::Arc;
use xt_kernels::ops::activation::Activation;
use xt_kernels::ops::dropout::Dropout;
pub use xt_kernels::ops::feedforward::Inner;
use xt_kernels::ops::quantized::Packed;
use xt_kernels::ops::rotary::Direction;
use xt_kernels::ops::softmax::Mask;
use xt_kernels::ops::token_shift::Shifts;
use xt_kernels::philox::Stream;
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
pub(super) fn check_linear(x: &Tensor, weight: &Tensor) -> Result<()> {
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
pub(super) fn check_bias(weight: &Tensor, bias: Option<&Tensor>) -> Result<()> {
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

/// The parameters of a linear layer.
#[derive(Clone, Copy)]
pub struct Layer<'a> {
    /// The weight, (out, in).
    pub weight: &'a Tensor,
    /// The bias, (out).
    pub bias: Option<&'a Tensor>,
}

impl Layer<'_> {
    fn requires_grad(&self) -> bool {
        [self.weight].into_iter().chain(self.bias).any(Tensor::requires_grad)
    }
}

/// `down(inner(up(x)))` as one node: `x` (.., in). With a gated unit, [`Inner::Glu`], `up` has
/// twice as many outputs as `down` has inputs.
///
/// The node saves the output of `up` and recomputes `inner` in the backward pass: that is faster
/// than writing the activations to memory and reading them back.
pub fn feedforward(x: &Tensor, up: Layer, inner: Inner, down: Layer) -> Result<Tensor> {
    check_linear(x, up.weight)?;
    check_bias(up.weight, up.bias)?;
    if up.weight.packed().is_some() || down.weight.packed().is_some() {
        let up = linear(x, up.weight, up.bias)?;
        let hidden = match inner {
            Inner::Activation(kind) => activation(&up, kind)?,
            Inner::Glu(kind) => glu(&up, kind)?,
        };
        return linear(&hidden, down.weight, down.bias);
    }
    let (a, w1, w2) = (x.array()?, up.weight.array()?, down.weight.array()?);
    let [b1, b2] = [up.bias, down.bias].map(|bias| bias.map(Tensor::array).transpose());
    let (b1, b2) = (b1?, b2?);
    let graph =
        is_grad_enabled() && (x.requires_grad() || up.requires_grad() || down.requires_grad());
    let (wide, hidden) = if graph {
        let (wide, hidden) = kernels::ops::feedforward::up_and_hidden(&a, &w1, b1.as_ref(), inner)?;
        (Some(wide), hidden)
    } else {
        (None, kernels::ops::feedforward::hidden(&a, &w1, b1.as_ref(), inner)?)
    };
    let hidden = Tensor::constant(hidden);
    check_linear(&hidden, down.weight)?;
    check_bias(down.weight, down.bias)?;
    let y = kernels::ops::linear::forward(&hidden.array()?, &w2, b2.as_ref())?;
    let Some(wide) = wide else {
        return Ok(Tensor::constant(y));
    };
    let needed = |tensor: Option<&Tensor>| tensor.is_some_and(Tensor::requires_grad);
    let needs = [Some(x), Some(up.weight), up.bias, Some(down.weight), down.bias].map(needed);
    let biased = [true, true, up.bias.is_some(), true, down.bias.is_some()];
    let inputs: Vec<&Tensor> =
        [x, up.weight].into_iter().chain(up.bias).chain([down.weight]).chain(down.bias).collect();
    Ok(Tensor::record(y, &inputs, move |g| {
        use kernels::ops::linear::{grad_bias, grad_input, grad_weight};
        let g = kernels::ops::layout::contiguous(g)?;
        let [of_x, of_w1, of_b1, of_w2, of_b2] = needs;
        let [mut dx, mut dw1, mut db1, mut dw2] = [const { None }; 4];
        if of_x || of_w1 || of_b1 || of_w2 {
            let (d, hidden) = kernels::ops::feedforward::backward(&g, &w2, &wide, inner)?;
            dw2 = of_w2.then(|| grad_weight(&g, &hidden)).transpose()?;
            drop(hidden);
            dx = of_x.then(|| grad_input(&d, &w1)).transpose()?;
            dw1 = of_w1.then(|| grad_weight(&d, &a)).transpose()?;
            db1 = of_b1.then(|| grad_bias(&d)).transpose()?;
        }
        let db2 = of_b2.then(|| grad_bias(&g)).transpose()?;
        let grads = [dx, dw1, db1, dw2, db2].into_iter().zip(biased);
        Ok(grads.filter_map(|(grad, there)| there.then_some(grad)).collect())
    }))
}

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
    if x.rank() == 0 || gain.dims() != [x.dim(x.rank() - 1)] {
        return invalid(format!(
            "a norm over {:?} features does not take {:?}",
            gain.dims(),
            x.dims()
        ));
    }
    let s = kernels::ops::scale_norm::Scale { scale, eps };
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

/// Divides by the Euclidean norm over the last axis, clamped to at least 1e-12, as in PyTorch's
/// `normalize`.
pub fn l2_norm(x: &Tensor) -> Result<Tensor> {
    if x.rank() == 0 {
        return invalid("l2 norm of a scalar");
    }
    let s = kernels::ops::scale_norm::Scale { scale: 1.0, eps: 1e-12 };
    let a = x.array()?;
    let y = kernels::ops::scale_norm::forward(&a, None, s)?;
    Ok(Tensor::record(y, &[x], move |g| {
        Ok(vec![Some(kernels::ops::scale_norm::backward(&a, None, g, None, s)?.0)])
    }))
}

/// Gated linear unit: the first half of the last axis times the activation of the second half. `x`
/// is (.., 2 dim), the result (.., dim).
pub fn glu(x: &Tensor, kind: Activation) -> Result<Tensor> {
    if x.rank() == 0 || !x.dim(x.rank() - 1).is_multiple_of(2) {
        return invalid(format!(
            "a gated unit halves the last axis; it does not take {:?}",
            x.dims()
        ));
    }
    let a = x.array()?;
    let y = kernels::ops::glu::forward(&a, kind)?;
    Ok(Tensor::record(y, &[x], move |g| Ok(vec![Some(kernels::ops::glu::backward(&a, g, kind)?)])))
}

/// Shifts segments of the features of `x`, (batch, n, dim), along the positions by the offsets
/// `by`, see [`kernels::ops::token_shift`]; `mask` is bool, (batch, n).
pub fn token_shift(x: &Tensor, by: Arc<[i64]>, mask: Option<&Tensor>) -> Result<Tensor> {
    let mask = mask.map(Tensor::array).transpose()?;
    let y =
        kernels::ops::token_shift::forward(&x.array()?, Shifts { by: &by, mask: mask.as_ref() })?;
    Ok(Tensor::record(y, &[x], move |g| {
        Ok(vec![Some(kernels::ops::token_shift::backward(
            g,
            Shifts { by: &by, mask: mask.as_ref() },
        )?)])
    }))
}

/// The gates of a GRU cell: `input` and `hidden` are (.., 3 dim), `state` is (.., dim), see
/// [`kernels::ops::gru`].
pub fn gru_gates(input: &Tensor, hidden: &Tensor, state: &Tensor) -> Result<Tensor> {
    let of = kernels::ops::gru::GruArgs {
        input: input.array()?,
        hidden: hidden.array()?,
        state: state.array()?,
    };
    let y = kernels::ops::gru::forward(&of)?;
    Ok(Tensor::record(y, &[input, hidden, state], move |g| {
        Ok(kernels::ops::gru::backward(&of, g)?.into_iter().map(Some).collect())
    }))
}

/// Softmax over the last axis of the attention scores, with a mask.
pub fn masked_softmax(scores: &Tensor, mask: &Mask) -> Result<Tensor> {
    let y = kernels::ops::softmax::forward(&scores.array()?, mask)?;
    let (kept, mask) = (y.clone(), mask.clone());
    Ok(Tensor::record(y, &[scores], move |g| {
        Ok(vec![Some(kernels::ops::softmax::backward(&kept, g, &mask)?)])
    }))
}

/// `dropout(softmax(scale · q kᵀ + bias, masked)) v` without materialising the scores.
///
/// - `q`: (batch, heads, i, d)
/// - `k`: (batch, heads or 1, j, d)
/// - `v`: (batch, heads or 1, j, dv)
/// - `bias`: by relative distance, (heads, i + j - 1), see [`expand_distance_bias`]
///
/// Result: (batch, heads, i, dv).
pub fn attention(
    (q, k, v): (&Tensor, &Tensor, &Tensor),
    bias: Option<&Tensor>,
    scale: f64,
    mask: &Mask,
    dropout: Option<Dropout>,
) -> Result<Tensor> {
    let (qa, ka, va, ba) =
        (q.array()?, k.array()?, v.array()?, bias.map(Tensor::array).transpose()?);
    let of = kernels::ops::attention::AttentionArgs {
        q: qa,
        k: ka,
        v: va,
        bias: ba,
        scale,
        mask: mask.clone(),
        dropout,
    };
    let (y, saved) = kernels::ops::attention::forward(&of)?;
    let inputs: Vec<&Tensor> = [q, k, v].into_iter().chain(bias).collect();
    Ok(Tensor::record(y, &inputs, move |g| {
        let grads = kernels::ops::attention::backward(&of, &saved, g)?;
        Ok([Some(grads.q), Some(grads.k), Some(grads.v)]
            .into_iter()
            .chain(grads.bias.map(Some))
            .collect())
    }))
}

/// Expands a bias by relative distance, (heads, i + j - 1), to one over queries and keys, (heads,
/// i, j): element `n` applies to query `r` and key `n + r + 1 - i`.
pub fn expand_distance_bias(bias: &Tensor, i: usize, j: usize) -> Result<Tensor> {
    let y = kernels::ops::attention::distances::expand(&bias.array()?, i, j)?;
    Ok(Tensor::record(y, &[bias], |g| {
        Ok(vec![Some(kernels::ops::attention::distances::expand_backward(g)?)])
    }))
}

/// An activation function, element-wise: GELU, SiLU, ReLU or the logistic function.
pub fn activation(x: &Tensor, kind: Activation) -> Result<Tensor> {
    if !x.dtype().is_float() {
        return invalid(format!("{kind:?} needs floating-point values; cast first").to_lowercase());
    }
    let a = x.array()?;
    let y = kernels::ops::activation::forward(&a, kind)?;
    Ok(Tensor::record(y, &[x], move |g| {
        Ok(vec![Some(kernels::ops::activation::backward(&a, g, kind)?)])
    }))
}

/// Sets elements to 0 with probability `p`, and divides the others by `1 - p`. The backward pass
/// draws the same random numbers from `stream`.
pub fn dropout(x: &Tensor, p: f64, stream: Stream) -> Result<Tensor> {
    let y = kernels::ops::dropout::dropout(&x.array()?, p, stream)?;
    Ok(Tensor::record(y, &[x], move |g| {
        Ok(vec![Some(kernels::ops::dropout::dropout(g, p, stream)?)])
    }))
}

/// Rotary embedding: rotates pairs of features by the angles of their position. `x` is (batch, n,
/// heads, dim), `cos` and `sin` are (n, half).
pub fn rotary(x: &Tensor, cos: &Array, sin: &Array) -> Result<Tensor> {
    let y = kernels::ops::rotary::rotate(&x.array()?, cos, sin, Direction::Forward)?;
    let (cos, sin) = (cos.clone(), sin.clone());
    Ok(Tensor::record(y, &[x], move |g| {
        Ok(vec![Some(kernels::ops::rotary::rotate(g, &cos, &sin, Direction::Transposed)?)])
    }))
}
