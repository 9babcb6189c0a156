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
    /// Keys, (batch, key heads, j, d). Their number divides that of the query heads; as many
    /// neighbouring query heads share one.
    pub k: Array,
    /// Values, (batch, value heads, j, dv), whose number divides that of the query heads.
    pub v: Array,
    /// Bias of the scores by distance, (heads, i + j - 1), see [`distances`].
    pub bias: Option<Array>,
    /// Scores of keys with values of 0, (heads, count), which every query sees: they take a part of
    /// the weight. No scale, bias, softcap or mask applies to them.
    pub sinks: Option<Array>,
    /// Factor of the products of queries and keys.
    pub scale: f64,
    /// Limits the scores, bias included, to -c to c: `c tanh(score / c)`.
    pub softcap: Option<f64>,
    /// The keys that each query may attend to.
    pub mask: Mask,
    /// Dropout of the weights, which have the shape (batch, heads, i, j).
    pub dropout: Option<Dropout>,
}

/// The gradients of the inputs, each in the shape of its input.
pub struct Gradients {
    /// Gradient of the queries, (batch, heads, i, d).
    pub q: Array,
    /// Gradient of the keys, (batch, key heads, j, d).
    pub k: Array,
    /// Gradient of the values, (batch, value heads, j, dv).
    pub v: Array,
    /// Gradient of the bias, (heads, i + j - 1); `None` if there is no bias.
    pub bias: Option<Array>,
    /// Gradient of the sinks, (heads, count); `None` if there are none.
    pub sinks: Option<Array>,
}

impl AttentionArgs {
    /// Attention with a factor of 1 and nothing else.
    pub fn new(q: Array, k: Array, v: Array) -> Self {
        let mask = Mask::default();
        let (bias, sinks, softcap, dropout) = (None, None, None, None);
        Self { q, k, v, bias, sinks, scale: 1.0, softcap, mask, dropout }
    }

    /// Returns the shape of the output, (batch, heads, i, dv).
    ///
    /// # Errors
    /// If the shapes of the operands do not fit together.
    pub(super) fn check(&self) -> Result<[usize; 4]> {
        let Self { q, k, v, bias, sinks, mask, .. } = self;
        let (batch, heads, i, d) = q.dims4()?;
        let ((kb, kh, j, kd), (vb, vh, vj, dv)) = (k.dims4()?, v.dims4()?);
        let fits = |b: usize, h: usize| b == batch && h > 0 && heads.is_multiple_of(h);
        if !fits(kb, kh) || !fits(vb, vh) || kd != d || vj != j {
            bail!("attention: shapes {:?}, {:?} and {:?} do not fit", q.dims(), k.dims(), v.dims());
        }
        if let Some(bias) = bias {
            distances::check(bias, heads, i, j)?;
        }
        if let Some(sinks) = sinks {
            if sinks.dims2()?.0 != heads || sinks.dtype() != q.dtype() {
                bail!("attention: sinks {:?} for {heads} heads", sinks.dims());
            }
        }
        mask.check([batch, heads, i, j])?;
        Ok([batch, heads, i, dv])
    }
}
