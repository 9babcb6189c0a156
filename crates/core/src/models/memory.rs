//! Memories: learned tokens before the sequence, and hidden states of earlier segments.

use crate::ids::require_bool;
use crate::layers::LayerTensors;
use crate::{Array, DType, Error, Init, Param, Params, Result, Tensor};
use xt_autograd::ops;

/// Learned vectors that precede the sequence.
///
/// Source: Memory Transformer, <https://arxiv.org/abs/2006.11527>.
pub struct MemoryTokens {
    /// `(count, dim)`.
    tokens: Param,
    count: usize,
}

impl MemoryTokens {
    /// Registers the vectors, `(count, dim)`; `None` if `count` is 0.
    pub fn new(count: usize, dim: usize, p: &mut Params) -> Option<Self> {
        (count > 0).then(|| Self {
            tokens: p.add("memory_tokens", &[count, dim], Init::Normal { std: 1.0 }),
            count,
        })
    }

    /// The number of memory tokens.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Prepends the memory tokens: `(batch, n, dim)` to `(batch, count + n, dim)`.
    pub fn prepend(&self, x: &Tensor) -> Result<Tensor> {
        let front = ops::broadcast_to(&self.tokens.tensor(), &[x.dim(0), self.count, x.dim(2)])?;
        Ok(ops::cat(&[&front, x], 1)?)
    }

    /// Extends the masks over the sequence so that they allow the memory tokens.
    pub fn extend_masks(&self, with: &mut LayerTensors) -> Result<()> {
        for mask in [&mut with.mask, &mut with.self_attn_context_mask] {
            *mask = mask.as_ref().map(|m| allowed_in_front(m, 1, self.count)).transpose()?;
        }
        if let Some(mask) = &with.attn_mask {
            let rows = mask.rank().saturating_sub(2);
            let wider = allowed_in_front(mask, rows + 1, self.count)?;
            with.attn_mask = Some(allowed_in_front(&wider, rows, self.count)?);
        }
        Ok(())
    }

    /// Removes the memory tokens: `(batch, count + n, dim)` to `(batch, n, dim)`.
    pub fn cut(&self, x: &Tensor) -> Result<Tensor> {
        Ok(ops::narrow(x, 1, self.count, x.dim(1) - self.count)?)
    }
}

/// Prepends `count` allowed entries to `mask` along `axis`.
fn allowed_in_front(mask: &Tensor, axis: usize, count: usize) -> Result<Tensor> {
    require_bool(mask, "a mask")?;
    if axis >= mask.rank() {
        return Error::shape(format!(
            "a mask must have more than {axis} axes, got shape {:?}",
            mask.dims()
        ));
    }
    let mut dims = mask.dims().to_vec();
    dims[axis] = count;
    let front = Tensor::boolean(Array::ones(dims, DType::U8, &mask.device())?);
    Ok(ops::cat(&[&front, mask], axis)?)
}

/// Assigns memories to layers that are `by` positions lower; the memories of the lowest `by` layers
/// go to the highest ones.
///
/// Source: ERNIE-Doc, <https://arxiv.org/abs/2012.15688>.
pub fn shifted_down(mems: &[Tensor], by: usize) -> Vec<Tensor> {
    let mut mems = mems.to_vec();
    let by = by.min(mems.len());
    mems.rotate_left(by);
    mems
}

/// The memories for the next segment, `(batch, count, dim)` for each self attention: the old
/// memories followed by the input of the self attention, cut to the last `most` positions (0: all),
/// detached from the autograd graph.
///
/// Source: Transformer-XL, <https://arxiv.org/abs/1901.02860>.
pub fn next_memories(old: &[Tensor], hiddens: &[Tensor], most: usize) -> Result<Vec<Tensor>> {
    let next = |(i, hidden): (usize, &Tensor)| -> Result<Tensor> {
        let whole = match old.get(i) {
            Some(old) => ops::cat(&[&old.detach()?, &hidden.detach()?], 1)?,
            None => hidden.detach()?,
        };
        let keep = if most == 0 { whole.dim(1) } else { most.min(whole.dim(1)) };
        let cut = ops::narrow(&whole, 1, whole.dim(1) - keep, keep)?;
        // a copy, so that the part that was cut off can be freed
        Ok(Tensor::constant(cut.array()?.copy()?))
    };
    hiddens.iter().enumerate().map(next).collect()
}
