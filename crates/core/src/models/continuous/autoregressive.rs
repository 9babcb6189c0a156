//! The autoregressive loss over continuous vectors.

use super::{ContinuousTensors, ContinuousTransformerWrapper};
use crate::layers::LayerReturns;
use crate::{Ctx, Error, Mode, Result, Tensor};
use std::sync::Arc;
use xt_autograd::ops;
use xt_kernels::ops::elementwise;

/// A transformer over continuous vectors that is trained to predict the next vector.
pub struct ContinuousAutoregressiveWrapper {
    net: Arc<ContinuousTransformerWrapper>,
    mode: Mode,
}

impl ContinuousAutoregressiveWrapper {
    /// Wraps `net`, whose weights are shared.
    pub fn new(net: Arc<ContinuousTransformerWrapper>) -> Self {
        Self { net, mode: Mode::default() }
    }

    /// Training or evaluation mode of this wrapper; `net` has its own.
    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    /// The wrapped transformer.
    pub fn net(&self) -> &ContinuousTransformerWrapper {
        &self.net
    }

    /// The mean squared error of each vector given the vectors before it. `x` is `(batch, n, dim)`,
    /// with `n` at least 2. The mask selects the input positions whose predictions count; the last
    /// column of a mask with `n` columns is dropped. The ids of packed documents have n columns.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if a tensor does not fit.
    pub fn forward(&self, x: &Tensor, with: &ContinuousTensors, ctx: &Ctx) -> Result<Tensor> {
        if x.rank() != 3 || x.dim(1) < 2 {
            return Error::shape(format!(
                "a sequence must have shape (batch, length, dim), length at least 2, got {:?}",
                x.dims()
            ));
        }
        let n = x.dim(1);
        let (input, target) = (ops::narrow(x, 1, 0, n - 1)?, ops::narrow(x, 1, 1, n - 1)?);
        let mut with = with.clone();
        if let Some(mask) = with.layers.mask.as_ref().filter(|m| m.rank() == 2 && m.dim(1) == n) {
            with.layers.mask = Some(ops::narrow(mask, 1, 0, n - 1)?);
        }
        let segments = with.layers.segments.take();
        if let Some(segments) = &segments {
            segments.check([x.dim(0), n])?;
            with.layers.segments = Some(Arc::new(segments.without_last()));
        }
        let (out, _) = self.net.forward(&input, &with, false, LayerReturns::default(), ctx)?;
        require_width(&out, target.dim(2))?;
        // bool, (batch, n - 1)
        let counted = match (&with.layers.mask, &segments) {
            (Some(mask), Some(segments)) => Some(Tensor::boolean(elementwise::mul(
                &mask.array()?,
                &segments.predicted()?.array()?,
            )?)),
            (None, Some(segments)) => Some(segments.predicted()?),
            (mask, None) => mask.clone(),
        };
        let Some(mask) = &counted else {
            return Ok(ops::mse(&out, &target)?);
        };
        let difference = ops::sub(&out, &target)?;
        let rows = ops::reshape(mask, &[mask.dim(0), mask.dim(1), 1])?;
        let squares = ops::mul(&difference, &difference)?;
        let counted = ops::where_cond(&rows, &squares, &ops::scalar_like(&squares, 0.0)?)?;
        let count =
            mask.array()?.to_dtype(xt_autograd::DType::F64)?.sum_all()?.to_scalar::<f64>()?;
        Ok(ops::affine(
            &ops::sum(&counted, None, false)?,
            1.0 / (count * target.dim(2) as f64),
            0.0,
        )?)
    }
}

/// Checks that the output of the model has the width of its input.
pub(super) fn require_width(out: &Tensor, width: usize) -> Result<()> {
    if out.dim(2) == width {
        return Ok(());
    }
    let got = out.dim(2);
    Error::shape(format!(
        "the model gives vectors of {got} features for inputs of {width}: `dim_out` must equal `dim_in`"
    ))
}
