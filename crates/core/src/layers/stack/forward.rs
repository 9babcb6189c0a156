//! The walk through the sub-layers of a stack.

use super::tensors::{Intermediates, LayerReturns, LayerTensors, LayersOutput};
use super::AttentionLayers;
use crate::attention::{Attended, AttentionInputs, AttentionMaps};
use crate::ids::{dtype_name, require_bool, require_type};
use crate::layers::cache::{last_columns, LayerCache, LayersCache};
use crate::layers::sublayer::SubLayer;
use crate::layers::token_dropout::{drop_tokens, Context};
use crate::position::{PositionBias, Rotations};
use crate::segments::{Bounds, Segments};
use crate::{Ctx, DType, Error, Result, Tensor};
use std::sync::Arc;
use xt_options::LayerKind;

/// What all sub-layers of one forward pass see.
struct Pass<'a> {
    /// The number of cached positions before those of the input.
    past: usize,
    /// The memories to prepend; none after the first step of a generation.
    mems: Vec<Tensor>,
    /// The mask of the input, bool, `(batch, n)`.
    rows: Option<Tensor>,
    /// The mask of all positions, cached ones included, if it differs from `rows`.
    keys: Option<Tensor>,
    /// The rotary tables for the positions of memories and input, by self attention.
    rotations: Rotations<'a>,
    /// The position bias of self attention.
    bias: Option<PositionBias<'a>>,
    /// The documents of packed rows.
    bounds: Option<Arc<Bounds>>,
}

/// What one sub-layer hands to the next besides its output.
struct Carry<'a> {
    /// The context that token dropout has left.
    context: Context,
    /// The rotary tables of the cross attentions to it, where it has positions.
    turned: Option<Rotations<'a>>,
    /// The scores of the previous self attention, for residual attention.
    self_scores: Option<Tensor>,
    /// The scores of the previous cross attention.
    cross_scores: Option<Tensor>,
    /// The values of the first self attention, for value residuals.
    self_values: Option<Tensor>,
    /// The values of the first cross attention.
    cross_values: Option<Tensor>,
}

impl AttentionLayers {
    /// Runs the stack: `(batch, n, dim)` to `(batch, n, dim)`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if a tensor does not fit or the context is missing or not expected;
    /// `Aborted` if the call is cancelled.
    pub fn forward(
        &self,
        x: &Tensor,
        with: &LayerTensors,
        returns: LayerReturns,
        ctx: &Ctx,
    ) -> Result<LayersOutput> {
        self.run(x, with, returns, None, ctx)
    }

    /// Like [`AttentionLayers::forward`] for positions that follow those in the cache. `x` contains
    /// only the new positions, `(batch, new, dim)`, but masks cover all positions. Memories are
    /// used in the first step only.
    ///
    /// After an error the cache must be discarded.
    pub fn forward_cached(
        &self,
        x: &Tensor,
        with: &LayerTensors,
        cache: &mut LayersCache,
        ctx: &Ctx,
    ) -> Result<Tensor> {
        Ok(self.run(x, with, LayerReturns::default(), Some(cache), ctx)?.x)
    }

    /// The common implementation of [`AttentionLayers::forward`] and
    /// [`AttentionLayers::forward_cached`].
    fn run(
        &self,
        x: &Tensor,
        with: &LayerTensors,
        returns: LayerReturns,
        mut cache: Option<&mut LayersCache>,
        ctx: &Ctx,
    ) -> Result<LayersOutput> {
        self.check(x, with)?;
        let ctx = &ctx.for_model(&self.mode);
        let pass = self.pass(x, with, cache.as_deref_mut())?;
        let pos = with.context_pos.clone();
        let mut carry = Carry {
            turned: self.beside_context(&pass.rotations, pos.as_ref(), x.dtype())?,
            context: Context { x: with.context.clone(), mask: with.context_mask.clone(), pos },
            self_scores: None,
            cross_scores: None,
            self_values: None,
            cross_values: None,
        };
        let (mut mems, mut mem_masks) = (pass.mems.iter(), with.mem_masks.iter());
        let (mut x, mut block_input) = (x.clone(), x.clone());
        let mut intermediates = Intermediates::default();
        for (run, layer) in self.runs().enumerate() {
            ctx.check()?;
            if !layer.beside {
                block_input = x.clone();
            }
            if ctx.training && layer.drop_prob > 0.0 && ctx.rng.bernoulli(layer.drop_prob) {
                continue;
            }
            let is_self = layer.kind == LayerKind::SelfAttention;
            if is_self && returns.hiddens {
                intermediates.hiddens.push(x.clone());
            }
            if layer.kind == LayerKind::CrossAttention {
                self.drop_context(&mut carry, &pass.rotations, ctx)?;
            }
            let mem = if is_self { [mems.next(), mem_masks.next()] } else { [None; 2] };
            let inputs = self.attention_inputs(layer, mem, with, &pass, &carry, returns.maps);
            let layer_cache = cache.as_deref_mut().and_then(|cache| cache.layers.get_mut(run));
            let source = layer.beside.then_some(&block_input);
            let out = self.run_layer(layer, (&x, source), &inputs, layer_cache, ctx)?;
            x = out.y.clone();
            let maps = self.carry_on(layer.kind, out, &mut carry);
            intermediates.attn_intermediates.extend(maps.filter(|_| returns.maps));
        }
        if let Some(cache) = cache {
            cache.seen = pass.past + x.dim(1);
        }
        if let Some(norm) = &self.final_norm {
            x = norm.forward(&x)?;
        }
        Ok(LayersOutput { x, intermediates })
    }

    /// Runs one sub-layer on its input and, beside another, the input of that one; see
    /// [`SubLayer::forward`]. Computes it again in the backward pass where it can.
    fn run_layer(
        &self,
        layer: &Arc<SubLayer>,
        (x, source): (&Tensor, Option<&Tensor>),
        inputs: &AttentionInputs,
        cache: Option<&mut LayerCache>,
        ctx: &Ctx,
    ) -> Result<Attended> {
        let hands_on = inputs.maps || inputs.keep_values || inputs.previous.is_some();
        let out = match cache {
            None if self.checkpointing && !hands_on => {
                let y = self.checkpointed(layer, x, source, inputs, ctx)?;
                Attended { y, maps: None, values: None }
            }
            cache => layer.forward(x, source, inputs, cache, ctx)?,
        };
        if let (Some(all), Some(first)) = (ctx.activations(), &layer.first_parameter) {
            all.record(first, &out.y)?;
        }
        Ok(out)
    }

    /// Keeps what an attention hands on to others of its kind. Returns its maps.
    fn carry_on(&self, kind: LayerKind, out: Attended, carry: &mut Carry) -> Option<AttentionMaps> {
        match (out.values, kind) {
            (None, _) => {}
            (values, LayerKind::SelfAttention) => carry.self_values = values,
            (values, _) => carry.cross_values = values,
        }
        if let Some(maps) = &out.maps {
            self.carry_scores(kind, maps, carry);
        }
        out.maps
    }

    /// Drops a share of the context, in training.
    fn drop_context<'a>(
        &self,
        carry: &mut Carry<'a>,
        own: &Rotations<'a>,
        ctx: &Ctx,
    ) -> Result<()> {
        if !ctx.training || self.cross_attn_tokens_dropout == 0.0 {
            return Ok(());
        }
        let context = std::mem::take(&mut carry.context);
        let dtype = context.x.as_ref().map_or(DType::F32, Tensor::dtype);
        carry.context = drop_tokens(context, self.cross_attn_tokens_dropout, ctx)?;
        carry.turned = self.beside_context(own, carry.context.pos.as_ref(), dtype)?;
        Ok(())
    }

    /// The inputs of a sub-layer besides `x`. `mem` are the memories of a self attention and their
    /// mask, and `maps` tells whether the caller wants the attention maps.
    fn attention_inputs<'a>(
        &self,
        layer: &SubLayer,
        [mem, mem_mask]: [Option<&'a Tensor>; 2],
        with: &'a LayerTensors,
        pass: &'a Pass<'a>,
        carry: &'a Carry,
        maps: bool,
    ) -> AttentionInputs<'a> {
        match layer.kind {
            LayerKind::SelfAttention => AttentionInputs {
                context: None,
                mem,
                mem_mask,
                mask: pass.rows.as_ref(),
                context_mask: with.self_attn_context_mask.as_ref().or(pass.keys.as_ref()),
                attn_mask: with.attn_mask.as_ref(),
                rotation: pass.rotations.of(layer.number),
                bias: pass.bias.as_ref(),
                previous: carry.self_scores.as_ref(),
                past: pass.past,
                first_values: carry.self_values.as_ref(),
                keep_values: self.value_residual && carry.self_values.is_none(),
                maps: maps || self.residual_attn,
                bounds: pass.bounds.as_ref(),
                causal: with.causal,
            },
            LayerKind::CrossAttention => AttentionInputs {
                context: carry.context.x.as_ref(),
                mask: pass.rows.as_ref(),
                context_mask: carry.context.mask.as_ref().or(pass.keys.as_ref()),
                rotation: carry.turned.as_ref().and_then(|all| all.of_cross(layer.number)),
                previous: carry.cross_scores.as_ref(),
                first_values: carry.cross_values.as_ref(),
                keep_values: self.value_residual && carry.cross_values.is_none(),
                maps: maps || self.cross_residual_attn,
                ..AttentionInputs::default()
            },
            LayerKind::FeedForward => {
                // the bounds are for token shift
                let bounds = pass.bounds.as_ref();
                AttentionInputs { mask: pass.rows.as_ref(), bounds, ..AttentionInputs::default() }
            }
        }
    }

    /// Keeps the scores of an attention for the next one of its kind, with residual attention.
    fn carry_scores(&self, kind: LayerKind, maps: &AttentionMaps, carry: &mut Carry) {
        match (kind == LayerKind::CrossAttention, self.residual_attn, self.cross_residual_attn) {
            (false, true, _) => carry.self_scores = Some(maps.pre_softmax_attn.clone()),
            (true, _, true) => carry.cross_scores = Some(maps.pre_softmax_attn.clone()),
            _ => {}
        }
    }

    /// Determines the positions of a pass in its sequence, and what follows from them. In the first
    /// step, stores the number of memories in the cache.
    fn pass(
        &self,
        x: &Tensor,
        with: &LayerTensors,
        cache: Option<&mut LayersCache>,
    ) -> Result<Pass<'_>> {
        let memories = with.mems.iter().map(|m| m.dim(1)).max().unwrap_or(0);
        let Some(cache) = cache else {
            return Ok(Pass {
                past: 0,
                mems: with.mems.clone(),
                rows: with.mask.clone(),
                keys: None,
                rotations: self.rotations(x, with, 0..memories + x.dim(1))?,
                bias: self.score_bias(x, with, 0)?,
                bounds: with.segments.as_deref().map(Segments::bounds).transpose()?.map(Arc::new),
            });
        };
        let first = cache.seen == 0;
        if first {
            cache.memories = memories;
        }
        let end = cache.memories + cache.seen + x.dim(1);
        let start = if first { 0 } else { end - x.dim(1) };
        Ok(Pass {
            past: cache.seen,
            mems: if first { with.mems.clone() } else { Vec::new() },
            rows: with.mask.as_ref().map(|mask| last_columns(mask, x.dim(1))).transpose()?,
            keys: if first { None } else { with.mask.clone() },
            rotations: self.rotations(x, with, start..end)?,
            bias: self.score_bias(x, with, cache.seen)?,
            bounds: None,
        })
    }

    /// Checks the shapes and types of the input, the memories and the context.
    fn check(&self, x: &Tensor, with: &LayerTensors) -> Result<()> {
        if x.rank() != 3 || x.dim(2) != self.dim || !x.dtype().is_float() {
            return Error::shape(format!(
                "x must be floating-point of shape (batch, length, {}), got {} of shape {:?}",
                self.dim,
                dtype_name(x),
                x.dims()
            ));
        }
        let like = |t: &Tensor, name: &str, dim: usize| {
            if t.rank() == 3 && t.dim(2) == dim && t.dim(0) == x.dim(0) {
                require_type(t, name, x.dtype())?;
                return Ok(());
            }
            let batch = x.dim(0);
            Error::shape(format!(
                "{name} must have shape ({batch}, length, {dim}), got {:?}",
                t.dims()
            ))
        };
        with.mems.iter().try_for_each(|mem| like(mem, "each of mems", self.dim))?;
        for (mem, mask) in with.mems.iter().zip(&with.mem_masks) {
            let dims = [mem.dim(0), mem.dim(1)];
            require_bool(mask, "each of mem_masks")?;
            if mask.dims() != dims {
                return Error::shape(format!(
                    "each of mem_masks must have shape {dims:?}, as its mems, got {:?}",
                    mask.dims()
                ));
            }
        }
        if let Some(segments) = &with.segments {
            self.check_segments(segments, x, with)?;
        }
        self.check_context_pos(with)?;
        let two_sided = |layer: &SubLayer| layer.shift_needs().sees_later.is_some();
        if with.causal == Some(true) && self.layers.iter().any(|layer| two_sided(layer)) {
            return Error::shape(
                "causal: true does not go with the `shift_tokens` of an Encoder, which shift later \
                 positions to earlier ones",
            );
        }
        let is_self = |layer: &Arc<SubLayer>| layer.kind == LayerKind::SelfAttention;
        if with.causal.is_some() && !self.layers.iter().any(is_self) {
            return Error::shape("causal is for self attentions, of which these layers have none");
        }
        if with.causal == Some(false) && self.rotary.decays() {
            return Error::shape(
                "causal: false does not go with `rotary_xpos`, which grows towards later positions",
            );
        }
        match (&with.context, self.cross_attend) {
            (None, true) => Error::shape("context is missing: these layers have cross attention"),
            (Some(_), false) => Error::shape(
                "context was given, but these layers have no cross attention: set `cross_attend`",
            ),
            (Some(context), true) => like(context, "context", self.dim_context),
            (None, false) => Ok(()),
        }
    }

    /// Checks that the rows of `x`, `(batch, n, dim)`, can consist of several documents.
    fn check_segments(&self, segments: &Segments, x: &Tensor, with: &LayerTensors) -> Result<()> {
        segments.check([x.dim(0), x.dim(1)])?;
        let needs = self.needs();
        let reason = if with.context.is_some() {
            "a context, which does not say what belongs to which document"
        } else if !with.mems.is_empty() {
            "mems: they precede the first document alone"
        } else if needs.prefix_keys && needs.distance {
            "`attn_num_mem_kv` beside position biases or `attn_max_attend_past`, which count the \
             distance to these keys from the start of the row"
        } else {
            return Ok(());
        };
        Error::shape(format!("segment_ids do not go with {reason}"))
    }
}
