//! What attention is computed of, and its gradients.

use super::distances;
use crate::error::bail;
use crate::ops::dropout::Dropout;
use crate::ops::softmax::Mask;
use crate::{Array, Result};

/// What attention is made of.
#[derive(Clone)]
pub struct AttentionArgs {
    pub q: Array,
    pub k: Array,
    pub v: Array,
    pub bias: Option<Array>,
    pub scale: f64,
    pub mask: Mask,
    /// Of the weights.
    pub dropout: Option<Dropout>,
}

/// Gradients of the inputs, in their shapes.
pub struct Gradients {
    pub q: Array,
    pub k: Array,
    pub v: Array,
    pub bias: Option<Array>,
}

impl AttentionArgs {
    /// The shape of the output; an error where the operands do not fit.
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
