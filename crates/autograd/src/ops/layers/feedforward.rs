//! Feed-forward networks.

use super::linear::{check_bias, check_linear, linear};
use super::{activation, glu};
use crate::{is_grad_enabled, Result, Tensor};
use xt_kernels as kernels;
use xt_kernels::ops::feedforward::Inner;

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
