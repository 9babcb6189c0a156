//! Sub-layers whose backward pass computes them again.

use super::AttentionLayers;
use crate::attention::AttentionInputs;
use crate::layers::sublayer::SubLayer;
use crate::position::{Rotation, ScoreBias};
use crate::segments::Bounds;
use crate::{Ctx, Error, Result, Tensor};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;
use xt_autograd::checkpoint;

/// [`AttentionInputs`] that outlive the forward pass, without those that may have a graph.
struct Kept {
    mask: Option<Tensor>,
    mem_mask: Option<Tensor>,
    context_mask: Option<Tensor>,
    attn_mask: Option<Tensor>,
    rotation: Option<Arc<Rotation>>,
    bias: Option<Arc<ScoreBias>>,
    positions: Option<Tensor>,
    causal: Option<bool>,
    bounds: Option<Arc<Bounds>>,
    has_source: bool,
    has_context: bool,
    has_mem: bool,
    has_first_values: bool,
}

impl Kept {
    /// Runs the sub-layer on its input, followed by the input of the block beside it, the context,
    /// the memories and the values of the first attention, if there are any.
    fn run(&self, layer: &SubLayer, tensors: &[Tensor], ctx: &Ctx) -> Result<Tensor> {
        let mut tensors = tensors.iter();
        let x = tensors.next().ok_or_else(|| Error::Internal("no input".into()))?;
        let source = if self.has_source { tensors.next() } else { None };
        // computed by each sub-layer for itself, so that its gradient flows
        let bias = self.bias.as_deref().map(|bias| bias.for_call(self.positions.clone()));
        let inputs = AttentionInputs {
            context: if self.has_context { tensors.next() } else { None },
            mem: if self.has_mem { tensors.next() } else { None },
            first_values: if self.has_first_values { tensors.next() } else { None },
            mask: self.mask.as_ref(),
            mem_mask: self.mem_mask.as_ref(),
            context_mask: self.context_mask.as_ref(),
            attn_mask: self.attn_mask.as_ref(),
            rotation: self.rotation.as_ref(),
            bias: bias.as_ref(),
            bounds: self.bounds.as_ref(),
            causal: self.causal,
            ..AttentionInputs::default()
        };
        Ok(layer.forward(x, source, &inputs, None, ctx)?.y)
    }
}

impl AttentionLayers {
    /// The output of a sub-layer, `(batch, n, dim)`, of whose graph only the inputs are kept; see
    /// [`SubLayer::forward`].
    /// `with` must ask for no maps, and have no previous scores and no past.
    pub(super) fn checkpointed(
        &self,
        layer: &Arc<SubLayer>,
        x: &Tensor,
        source: Option<&Tensor>,
        with: &AttentionInputs,
        ctx: &Ctx,
    ) -> Result<Tensor> {
        let kept = Kept {
            mask: with.mask.cloned(),
            mem_mask: with.mem_mask.cloned(),
            context_mask: with.context_mask.cloned(),
            attn_mask: with.attn_mask.cloned(),
            rotation: with.rotation.cloned(),
            bias: with.bias.and(self.bias.clone()),
            positions: with.bias.and_then(|bias| bias.positions().cloned()),
            causal: with.causal,
            bounds: with.bounds.cloned(),
            has_source: source.is_some(),
            has_context: with.context.is_some(),
            has_mem: with.mem.is_some(),
            has_first_values: with.first_values.is_some(),
        };
        let inputs: Vec<&Tensor> = [Some(x), source, with.context, with.mem, with.first_values]
            .into_iter()
            .flatten()
            .collect();
        let (start, training, layer) = (ctx.rng.clone(), ctx.training, layer.clone());
        let draws = Arc::new(AtomicU32::new(start.draws()));
        let end = draws.clone();
        let y = checkpoint(&inputs, move |tensors| -> Result<Tensor> {
            // the same random numbers each time
            let rng = start.clone();
            let y =
                kept.run(&layer, tensors, &Ctx::new(&rng, &|| false).with_training(training))?;
            end.store(rng.draws(), Ordering::Relaxed);
            Ok(y)
        })?;
        ctx.rng.skip_to(draws.load(Ordering::Relaxed));
        Ok(y)
    }
}
