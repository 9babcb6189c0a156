//! Building blocks of layers. Each is one node of the graph over a fused kernel.

mod attention;
mod feedforward;
mod linear;
mod norm;

pub use attention::{attention, expand_distance_bias, masked_softmax, rotary, AttentionSettings};
pub use feedforward::{feedforward, Layer};
pub(crate) use linear::{check_bias, check_linear};
pub use linear::{linear, linear_all};
pub use norm::{
    l2_norm, layer_norm, layer_norm_with_residual, rms_norm, rms_norm_with_residual, scale_norm,
    scale_norm_with_residual,
};

use crate::error::invalid;
use crate::{Array, Result, Tensor};
use std::sync::Arc;
use xt_kernels as kernels;
use xt_kernels::ops::activation::Activation;
use xt_kernels::ops::token_shift::Shifts;
use xt_kernels::philox::Stream;

pub use xt_kernels::ops::feedforward::Inner;

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
/// `by`, see [`kernels::ops::token_shift`]; `mask` is bool, (batch, n), and `ranges` are i64,
/// (batch, n, 2).
pub fn token_shift(
    x: &Tensor,
    by: Arc<[i64]>,
    mask: Option<&Tensor>,
    ranges: Option<&Array>,
) -> Result<Tensor> {
    let (mask, ranges) = (mask.map(Tensor::array).transpose()?, ranges.cloned());
    let shifts = Shifts { by: &by, mask: mask.as_ref(), ranges: ranges.as_ref() };
    let y = kernels::ops::token_shift::forward(&x.array()?, shifts)?;
    Ok(Tensor::record(y, &[x], move |g| {
        let shifts = Shifts { by: &by, mask: mask.as_ref(), ranges: ranges.as_ref() };
        Ok(vec![Some(kernels::ops::token_shift::backward(g, shifts)?)])
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
