//! What the head reads of the output of the layers: each position, class tokens, or a mean.

use crate::models::memory::PrefixTokens;
use crate::{Error, Params, Result, Tensor};
use xt_autograd::ops;
use xt_options::heads::PoolOptions;

/// What the head reads.
pub enum Pool {
    /// Each position.
    Positions,
    /// The class tokens, which precede the sequence.
    Class(PrefixTokens),
    /// The mean over the positions that are not masked.
    Mean,
}

impl Pool {
    /// Registers the class tokens, if there are any.
    pub fn new(options: Option<&PoolOptions>, dim: usize, p: &mut Params) -> Self {
        match options {
            Some(o) if o.use_cls_token => {
                Self::Class(PrefixTokens::class(o.num_cls_tokens.get(), dim, p))
            }
            Some(o) if o.average_pool_embed => Self::Mean,
            _ => Self::Positions,
        }
    }

    /// The class tokens.
    pub fn class(&self) -> Option<&PrefixTokens> {
        match self {
            Self::Class(tokens) => Some(tokens),
            _ => None,
        }
    }

    /// The option that takes the positions away; `None` if there is none.
    pub fn option(&self) -> Option<&'static str> {
        match self {
            Self::Positions => None,
            Self::Class(_) => Some("use_cls_token"),
            Self::Mean => Some("average_pool_embed"),
        }
    }

    /// What the head reads of `x`, `(batch, n, dim)`: `(batch, n, dim)`, `(batch, count, dim)` of
    /// several class tokens, or `(batch, dim)`. `mask` is bool `(batch, n)`.
    pub fn forward(&self, x: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        match self {
            Self::Positions => Ok(x.clone()),
            Self::Class(tokens) if tokens.count() == 1 => {
                Ok(ops::reshape(&tokens.only(x)?, &[x.dim(0), x.dim(2)])?)
            }
            Self::Class(tokens) => tokens.only(x),
            Self::Mean => mean(x, mask),
        }
    }
}

/// The mean of `x`, `(batch, n, dim)`, over the positions where `mask` is true; 0 if it is true
/// nowhere in a row.
fn mean(x: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let Some(mask) = mask else { return Ok(ops::mean(x, Some(&[1]), false)?) };
    if mask.dims() != [x.dim(0), x.dim(1)] {
        return Error::shape(format!(
            "mask must have shape {:?}, got {:?}",
            [x.dim(0), x.dim(1)],
            mask.dims()
        ));
    }
    let zero = ops::scalar_like(x, 0.0)?;
    let wide = ops::reshape(mask, &[x.dim(0), x.dim(1), 1])?;
    let sum = ops::sum(&ops::where_cond(&wide, x, &zero)?, Some(&[1]), false)?; // (batch, dim)
    let ones = Tensor::constant(mask.array()?.to_dtype(x.dtype())?);
    let count = ops::maximum(&ops::sum(&ones, Some(&[1]), true)?, &ops::scalar_like(x, 1.0)?)?;
    Ok(ops::div(&sum, &count)?)
}
