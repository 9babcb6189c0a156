//! Learned tokens before the sequence, and memories: hidden states of earlier segments.

use crate::ids::require_bool;
use crate::layers::LayerTensors;
use crate::mask::allow_prefix;
use crate::{Error, Init, Param, Params, Result, Tensor};
use xt_autograd::ops;

/// Learned vectors that precede the sequence.
pub struct PrefixTokens {
    /// `(count, dim)`.
    tokens: Param,
    count: usize,
}

impl PrefixTokens {
    /// Registers memory tokens, `(count, dim)`; `None` if `count` is 0.
    ///
    /// Source: Memory Transformer, <https://arxiv.org/abs/2006.11527>.
    pub fn memory(count: usize, dim: usize, p: &mut Params) -> Option<Self> {
        (count > 0).then(|| Self {
            tokens: p.add("memory_tokens", &[count, dim], Init::Normal { std: 1.0 }),
            count,
        })
    }

    /// Registers class tokens, `(count, dim)`.
    ///
    /// Source: BERT, <https://arxiv.org/abs/1810.04805>.
    pub fn class(count: usize, dim: usize, p: &mut Params) -> Self {
        Self { tokens: p.add("cls_token", &[count, dim], Init::Normal { std: 0.02 }), count }
    }

    /// The number of vectors.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Prepends the vectors: `(batch, n, dim)` to `(batch, count + n, dim)`.
    pub fn prepend(&self, x: &Tensor) -> Result<Tensor> {
        let tokens = ops::broadcast_to(&self.tokens.tensor(), &[x.dim(0), self.count, x.dim(2)])?;
        Ok(ops::cat(&[&tokens, x], 1)?)
    }

    /// Extends the masks over the sequence so that they allow the vectors.
    pub fn extend_masks(&self, with: &mut LayerTensors) -> Result<()> {
        for mask in [&mut with.mask, &mut with.self_attn_context_mask] {
            *mask = mask.as_ref().map(|m| checked_allow_prefix(m, 1, self.count)).transpose()?;
        }
        if let Some(mask) = &with.attn_mask {
            let query_axis = mask.rank().saturating_sub(2);
            let wider = checked_allow_prefix(mask, query_axis + 1, self.count)?;
            with.attn_mask = Some(checked_allow_prefix(&wider, query_axis, self.count)?);
        }
        Ok(())
    }

    /// Removes what became of the vectors: `(batch, count + n, dim)` to `(batch, n, dim)`.
    pub fn remove(&self, x: &Tensor) -> Result<Tensor> {
        Ok(ops::narrow(x, 1, self.count, x.dim(1) - self.count)?)
    }

    /// What became of the vectors alone: `(batch, count + n, dim)` to `(batch, count, dim)`.
    pub fn only(&self, x: &Tensor) -> Result<Tensor> {
        Ok(ops::narrow(x, 1, 0, self.count)?)
    }
}

/// Prepends `count` entries that are true to `mask` along `axis`.
fn checked_allow_prefix(mask: &Tensor, axis: usize, count: usize) -> Result<Tensor> {
    require_bool(mask, "a mask")?;
    if axis >= mask.rank() {
        return Error::shape(format!(
            "a mask must have more than {axis} axes, got shape {:?}",
            mask.dims()
        ));
    }
    allow_prefix(mask, axis, count)
}

/// Assigns memories, or their masks, to layers that are `by` positions lower; those of the lowest
/// `by` layers go to the highest ones.
///
/// Source: ERNIE-Doc, <https://arxiv.org/abs/2012.15688>.
pub fn shift_down(mems: &[Tensor], by: usize) -> Vec<Tensor> {
    let mut mems = mems.to_vec();
    let by = by.min(mems.len());
    mems.rotate_left(by);
    mems
}

/// The memories for the next segment, `(batch, count, dim)` for each self attention: the old
/// memories followed by the input of the self attention, cut to the last `max_len` positions (0:
/// all), with `detach` without the autograd graph.
///
/// Source: Transformer-XL, <https://arxiv.org/abs/1901.02860>.
pub fn next_memories(
    old: &[Tensor],
    hiddens: &[Tensor],
    max_len: usize,
    detach: bool,
) -> Result<Vec<Tensor>> {
    let own = |t: &Tensor| if detach { t.detach() } else { Ok(t.clone()) };
    let next = |(i, hidden): (usize, &Tensor)| -> Result<Tensor> {
        let whole = match old.get(i) {
            Some(old) => ops::cat(&[&own(old)?, &own(hidden)?], 1)?,
            None => own(hidden)?,
        };
        let keep = if max_len == 0 { whole.dim(1) } else { max_len.min(whole.dim(1)) };
        let cut = ops::narrow(&whole, 1, whole.dim(1) - keep, keep)?;
        if cut.requires_grad() {
            return Ok(cut);
        }
        // a copy, so that the part that was cut off can be freed
        Ok(Tensor::constant(cut.array()?.copy()?))
    };
    hiddens.iter().enumerate().map(next).collect()
}
