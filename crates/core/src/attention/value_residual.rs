//! Values mixed with those of the first attention.
//!
//! Source: Value Residual Learning, <https://arxiv.org/abs/2410.17897>; with a learned share per
//! token, as in x-transformers 2.

use crate::layers::Linear;
use crate::{Error, Params, Result, Tensor};
use xt_autograd::ops::{self, Activation};

/// The mix of the values of an attention with those of the first one.
pub struct ValueResidual {
    /// The projection of the input of the values to the share of the own values, by head. Absent:
    /// the share is one half.
    mix: Option<Linear>,
}

impl ValueResidual {
    /// Registers the projection of an attention of width `dim` with this number of heads of values,
    /// if the share is `learned`.
    pub fn new(dim: usize, heads: usize, learned: bool, p: &mut Params) -> Self {
        let mut p = p.submodule("to_value_residual_mix.0");
        Self { mix: learned.then(|| Linear::new(dim, heads, true, &mut p)) }
    }

    /// `first` and `own`, both `(batch, j, heads, width)`, mixed by the share of `own` that
    /// `source`, the input of the values, `(batch, j, dim)`, gives.
    pub fn forward(&self, first: &Tensor, own: &Tensor, source: &Tensor) -> Result<Tensor> {
        if first.dims() != own.dims() {
            return Error::shape(format!(
                "add_value_residual mixes values of one shape, got {:?} and {:?}: give memories of the same length to all layers",
                first.dims(),
                own.dims()
            ));
        }
        let difference = ops::sub(own, first)?;
        let share = match &self.mix {
            None => ops::affine(&difference, 0.5, 0.0)?,
            Some(mix) => {
                let share = ops::activation(&mix.forward(source)?, Activation::Sigmoid)?;
                let share = ops::reshape(&share, &[own.dim(0), own.dim(1), own.dim(2), 1])?;
                ops::mul(&difference, &share)?
            }
        };
        Ok(ops::add(first, &share)?)
    }
}
