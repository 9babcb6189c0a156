//! From token ids to the input of the layers.

use super::{TokenTensors, TransformerWrapper};
use crate::ids::{out_of_vocabulary, wrong_ids};
use crate::layers::{dropout, scaled, LayerTensors};
use crate::models::memory::shift_down;
use crate::{Array, Ctx, DType, Device, Error, Result, Tensor};
use xt_autograd::ops;

impl TransformerWrapper {
    /// The input of the layers, `(batch, n, dim)`, and its accompanying tensors, for tokens that
    /// follow `past` positions of the layers. Memory tokens, class tokens and embeddings are
    /// prepended only in the first step (`past` is 0), in this order.
    pub(super) fn layer_inputs(
        &self,
        x: &Tensor,
        with: &TokenTensors,
        past: usize,
        ctx: &Ctx,
    ) -> Result<(Tensor, LayerTensors)> {
        let fronts = [self.pool.class(), self.memory_tokens.as_ref()];
        let front: usize = fronts.iter().flatten().map(|tokens| tokens.count()).sum();
        let prepended = with.prepend_embeds.as_ref().map_or(0, |front| front.dim(1));
        let mut embedded = self.embed(x, with, past.saturating_sub(front + prepended), ctx)?;
        let mut inputs = with.layers.clone();
        if inputs.segments.is_some() {
            refuse_front(self.memory_tokens.is_some(), "`num_memory_tokens`")?;
            if let Some(option) = self.pool.option() {
                let reason = "documents of a row have no output of their own";
                return Error::shape(format!("segment_ids do not go with `{option}`: {reason}"));
            }
            refuse_front(prepended > 0, "prepend_embeds")?;
        }
        for tokens in fronts.into_iter().flatten() {
            tokens.extend_masks(&mut inputs)?;
            if past == 0 {
                embedded = tokens.prepend(&embedded)?;
            }
        }
        if self.layers.takes_pos() {
            inputs.pos = behind_front(with.pos.as_ref(), front + prepended)?;
        }
        inputs.mems = shift_down(&inputs.mems, self.shift_mem_down);
        inputs.mem_masks = shift_down(&inputs.mem_masks, self.shift_mem_down);
        Ok((embedded, inputs))
    }

    /// The embeddings of tokens that follow `past` earlier ones: i64 `(batch, n)` to
    /// `(batch, n, dim)`. Embeddings are prepended only if `past` is 0.
    fn embed(&self, x: &Tensor, with: &TokenTensors, past: usize, ctx: &Ctx) -> Result<Tensor> {
        if x.rank() != 2 || x.dtype() != DType::I64 {
            return wrong_ids("token ids", "(batch, length)", x);
        }
        if let Some(segments) = &with.layers.segments {
            segments.check([x.dim(0), x.dim(1)])?;
        }
        let found = self.token_emb.forward(x); // (batch, n, emb_dim)
        let found =
            found.map_err(|error| out_of_vocabulary(x, self.num_tokens, None).unwrap_or(error))?;
        let mut y = scaled(&found, self.emb_scale)?;
        let pos = self.pos_emb.of_segments(with.pos.as_ref(), with.layers.segments.as_deref())?;
        if let Some(positions) = self.pos_emb.forward_after(past, x.dim(1), pos.as_ref())? {
            y = ops::add(&y, &positions)?;
        }
        y = self.kinds.add(y, &with.embed_ids)?;
        if let Some(more) = &with.sum_embeds {
            y = ops::add(&y, more)?;
        }
        if let Some(norm) = &self.post_emb_norm {
            y = norm.forward(&y)?;
        }
        if let Some(front) = with.prepend_embeds.as_ref().filter(|_| past == 0) {
            y = prepended(front, &y, self.emb_dim)?;
        }
        y = fraction_of_gradient(&y, self.emb_frac_gradient)?;
        y = dropout(&y, self.emb_dropout, ctx)?;
        match &self.project_emb {
            Some(project) => project.forward(&y),
            None => Ok(y),
        }
    }
}

/// The positions for the layers of the integers `pos`, `(n)` or `(batch, n)`, of the sequence.
/// `front` vectors before it come first, and move it on, as they do without given positions.
pub(in crate::models) fn behind_front(
    pos: Option<&Tensor>,
    front: usize,
) -> Result<Option<Tensor>> {
    let Some(pos) = pos.filter(|pos| pos.dtype() == DType::I64 && pos.rank() > 0) else {
        return Ok(None);
    };
    if front == 0 {
        return Ok(Some(pos.clone()));
    }
    let mut dims = pos.dims().to_vec();
    let columns = dims.pop().unwrap_or(0);
    dims.push(front + columns);
    let numbers = pos.array()?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<i64>()?;
    let row = |row: &[i64]| -> Vec<i64> {
        let moved = row.iter().map(|place| place.saturating_add(front as i64));
        (0..front as i64).chain(moved).collect()
    };
    let all = numbers.chunks(columns.max(1)).flat_map(row).collect::<Vec<_>>();
    Ok(Some(Tensor::constant(Array::from_vec(all, &dims[..], &pos.device())?)))
}

/// Refuses what stands in front of the sequence where rows consist of several documents.
pub(in crate::models) fn refuse_front(is_there: bool, what: &str) -> Result<()> {
    if !is_there {
        return Ok(());
    }
    let reason = "they precede the first document alone";
    Error::shape(format!("segment_ids do not go with {what}: {reason}"))
}

/// Prepends `front`, `(batch, count, dim)`, to `x`, `(batch, n, dim)`.
pub(in crate::models) fn prepended(front: &Tensor, x: &Tensor, dim: usize) -> Result<Tensor> {
    if front.rank() != 3 || front.dim(0) != x.dim(0) || front.dim(2) != dim {
        return Error::shape(format!(
            "prepend_embeds must have shape ({}, count, {dim}), got {:?}",
            x.dim(0),
            front.dims()
        ));
    }
    Ok(ops::cat(&[front, x], 1)?)
}

/// Returns `x`, but scales its gradient by `fraction` in the backward pass.
///
/// Source: CogView, <https://arxiv.org/abs/2105.13290>.
fn fraction_of_gradient(x: &Tensor, fraction: f64) -> Result<Tensor> {
    if fraction == 1.0 {
        return Ok(x.clone());
    }
    let still = ops::affine(&x.detach()?, 1.0 - fraction, 0.0)?;
    Ok(ops::add(&ops::affine(x, fraction, 0.0)?, &still)?)
}
