//! The inputs of attention and their gradients.

use super::distances;
use crate::error::bail;
use crate::ops::dropout::Dropout;
use crate::ops::softmax::Mask;
use crate::{Array, Result};

/// The inputs and settings of attention.
#[derive(Clone)]
pub struct AttentionArgs {
    /// Queries, (batch, heads, i, d).
    pub q: Array,
    /// Keys, (batch, heads or 1, j, d).
    pub k: Array,
    /// Values, (batch, heads or 1, j, dv).
    pub v: Array,
    /// Bias of the scores by distance, (heads, i + j - 1), see [`distances`].
    pub bias: Option<Array>,
    /// Factor of the products of queries and keys.
    pub scale: f64,
    /// The keys that each query may attend to.
    pub mask: Mask,
    /// Dropout of the weights, which have the shape (batch, heads, i, j).
    pub dropout: Option<Dropout>,
}

/// The gradients of the inputs, each in the shape of its input.
pub struct Gradients {
    /// Gradient of the queries, (batch, heads, i, d).
    pub q: Array,
    /// Gradient of the keys, (batch, heads or 1, j, d).
    pub k: Array,
    /// Gradient of the values, (batch, heads or 1, j, dv).
    pub v: Array,
    /// Gradient of the bias, (heads, i + j - 1); `None` if there is no bias.
    pub bias: Option<Array>,
}

impl AttentionArgs {
    /// Returns the shape of the output, (batch, heads, i, dv).
    ///
    /// # Errors
    /// If the shapes of the operands do not fit together.
    pub(super) fn check(&self) -> Result<[usize; 4]> {
        let Self { q, k, v, bias, mask, .. } = self;
        let (batch, heads, i, d) = q.dims4()?;
        let ((kb, kh, j, kd), (vb, vh, vj, dv)) = (k.dims4()?, v.dims4()?);
        let fits = |b: usize, h: usize| b == batch && (h == heads || h == 1);
        if !fits(kb, kh) || !fits(vb, vh) || kd != d || vj != j {
            bail!("attention: shapes {:?}, {:?} and {:?} do not fit", q.dims(), k.dims(), v.dims());
        }
        if let Some(bias) = bias {
            distances::check(bias, heads, i, j)?;
        }
        mask.check([batch, heads, i, j])?;
        Ok([batch, heads, i, dv])
    }
}
