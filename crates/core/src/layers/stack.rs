//! The stack of sub-layers of `Encoder`, `Decoder` and `CrossAttender`.

use super::cache::{last_columns, LayersCache};
use super::deepnorm;
use super::residual::ResidualKind;
use super::sublayer::{Position, SubLayer};
use super::token_dropout::drop_tokens;
use crate::attention::{AttentionInputs, AttentionMaps};
use crate::ids::{kind, require_type};
use crate::position::{Rotary, ScoreBias};
use crate::{Ctx, Error, Mode, Params, Result, Tensor};
use std::ops::Range;
use xt_autograd::ops;
use xt_options::context::StackContext;
use xt_options::layers::StackOptions;
use xt_options::{LayerKind, Problems};

/// A stack of attention and feed-forward sub-layers.
pub struct AttentionLayers {
    /// The sub-layers in order of execution.
    pub(super) layers: Vec<SubLayer>,
    /// Rotary positions of the self attentions.
    pub(super) rotary: Option<Rotary>,
    /// The position bias of the self attentions.
    pub(super) bias: Option<ScoreBias>,
    /// The width of the model.
    dim: usize,
    /// Whether cross attentions attend to a context, which must then be given.
    pub(super) cross_attend: bool,
    /// Whether the layers encode positions themselves.
    has_pos_emb: bool,
    /// Whether self attentions add the scores of the previous self attention.
    residual_attn: bool,
    /// Whether cross attentions add the scores of the previous cross attention.
    cross_residual_attn: bool,
    /// The share of the context that each cross attention drops in training.
    cross_attn_tokens_dropout: f64,
    mode: Mode,
}

/// The optional tensors that accompany the input `(batch, n, dim)` of a stack.
#[derive(Clone, Default)]
pub struct LayerTensors {
    /// The context of the cross attentions, `(batch, j, dim)`.
    pub context: Option<Tensor>,
    /// bool, `(batch, n)`: the real positions of the sequence.
    pub mask: Option<Tensor>,
    /// bool, `(batch, j)`: the real positions of the context.
    pub context_mask: Option<Tensor>,
    /// bool, `(n, n)`, `(heads, n, n)` or `(batch, heads, n, n)`: true where a query may attend to
    /// a key, for self attention.
    pub attn_mask: Option<Tensor>,
    /// bool, `(batch, n)`: the keys that self attention may attend to; absent: `mask`.
    pub self_attn_context_mask: Option<Tensor>,
    /// The memories of each self attention, `(batch, count, dim)` each.
    pub mems: Vec<Tensor>,
}

impl LayerTensors {
    /// Reshapes one-dimensional masks over tokens, `(n)`, to `(1, n)`.
    pub fn add_batch_axis(&mut self) -> Result<()> {
        for mask in [&mut self.mask, &mut self.self_attn_context_mask] {
            if let Some(row) = mask.as_ref().filter(|mask| mask.rank() == 1) {
                *mask = Some(ops::reshape(row, &[1, row.dim(0)])?);
            }
        }
        Ok(())
    }
}

/// Intermediate results, with the names of the Python package.
#[derive(Clone, Default)]
pub struct Intermediates {
    /// The inputs of the self attentions before their norms, `(batch, n, dim)` each.
    pub hiddens: Vec<Tensor>,
    /// The attention maps of all self and cross attentions, in order.
    pub attn_intermediates: Vec<AttentionMaps>,
}

/// Which intermediates a forward pass returns. The others are freed during the pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Return the inputs of the self attentions.
    pub hiddens: bool,
    /// Return the attention maps.
    pub maps: bool,
}

/// The result of a forward pass.
pub struct LayersOutput {
    /// The output of the last sub-layer, `(batch, n, dim)`.
    pub x: Tensor,
    /// The recorded intermediates.
    pub intermediates: Intermediates,
}

/// The position of a call in its sequence, and the masks and memories that follow from it.
struct Call {
    /// The number of cached positions before those of the call.
    past: usize,
    /// The positions for which rotary tables are needed: those of the input and of the memories.
    positions: Range<usize>,
    /// The memories to prepend; none after the first step of a generation.
    mems: Vec<Tensor>,
    /// The mask of the call's positions, bool, `(batch, n)`.
    rows: Option<Tensor>,
    /// The mask of all positions, cached ones included, if it differs from `rows`.
    keys: Option<Tensor>,
}

impl AttentionLayers {
    /// Registers the parameters of a stack. `alpha` is the factor of the residual stream that an
    /// enclosing model requires (DeepNorm in `XTransformer`).
    ///
    /// # Errors
    ///
    /// [`Error::Options`] if the options do not describe a valid order of sub-layers.
    pub fn new(
        context: StackContext,
        causal: bool,
        alpha: Option<f64>,
        options: &StackOptions,
        p: &mut Params,
    ) -> Result<Self> {
        let kinds = options.layer_kinds(context).map_err(|problem| Error::Options {
            class: "layers".into(),
            problems: Problems(vec![problem]),
        })?;
        let depth = options.depth.get();
        let residual = ResidualKind {
            gated: options.gate_residual,
            scaled: options.scale_residual || options.deepnorm || alpha.is_some(),
            constant: match alpha {
                Some(alpha) => alpha,
                None if options.deepnorm => deepnorm::alpha(depth),
                None => options.scale_residual_constant,
            },
        };
        let layer = |(index, kind): (usize, &LayerKind)| {
            let at = Position {
                index,
                last: index + 1 == kinds.len(),
                dim: context.dim,
                causal,
                pre_norm: options.pre_norm && !options.deepnorm,
                residual,
            };
            SubLayer::new(*kind, &at, options, &mut p.under("layers").under(index))
        };
        let before = p.count();
        let layers: Vec<SubLayer> = kinds.iter().enumerate().map(layer).collect();
        let rotary =
            options.is_rotary().then(|| Rotary::new(options, &mut p.under("rotary_pos_emb")));
        let bias = ScoreBias::new(context.dim, causal, options, p);
        if options.deepnorm {
            deepnorm::initialise(&p.since(before), deepnorm::beta(depth));
        }
        Ok(Self {
            layers,
            rotary,
            bias,
            dim: context.dim,
            cross_attend: context.cross_attend,
            has_pos_emb: options.has_pos_emb(),
            residual_attn: options.residual_attn,
            cross_residual_attn: options.cross_residual_attn,
            cross_attn_tokens_dropout: options.cross_attn_tokens_dropout.0,
            mode: Mode::default(),
        })
    }

    /// The width of the model.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Training or evaluation mode.
    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    /// Whether these layers encode positions themselves, so that absolute positions are not needed.
    pub fn has_pos_emb(&self) -> bool {
        self.has_pos_emb
    }

    /// An empty cache for a generation. `room` is the number of positions expected after the first
    /// step.
    pub fn cache(&self, room: usize) -> LayersCache {
        LayersCache::new(
            self.layers.iter().map(|layer| layer.kind == LayerKind::CrossAttention),
            room,
        )
    }

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
        record: Record,
        ctx: &Ctx,
    ) -> Result<LayersOutput> {
        self.run(x, with, record, None, ctx)
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
        Ok(self.run(x, with, Record::default(), Some(cache), ctx)?.x)
    }

    /// The common implementation of [`AttentionLayers::forward`] and
    /// [`AttentionLayers::forward_cached`].
    fn run(
        &self,
        x: &Tensor,
        with: &LayerTensors,
        record: Record,
        mut cache: Option<&mut LayersCache>,
        ctx: &Ctx,
    ) -> Result<LayersOutput> {
        self.check(x, with)?;
        let ctx = &ctx.inside(&self.mode);
        let call = self.call(x, with, cache.as_deref_mut())?;
        let rotation = self
            .rotary
            .as_ref()
            .map(|rotary| rotary.tables(call.positions.clone(), x.dtype()))
            .transpose()?;
        let bias = self.bias.as_ref().map(ScoreBias::for_call);
        let (mut context, mut context_mask) = (with.context.clone(), with.context_mask.clone());
        let (mut previous, mut previous_cross) = (None, None);
        let mut mems = call.mems.iter();
        let mut x = x.clone();
        let mut intermediates = Intermediates::default();
        for (index, layer) in self.layers.iter().enumerate() {
            ctx.check()?;
            if ctx.training && layer.drop > 0.0 && ctx.rng.chance(layer.drop) {
                continue;
            }
            let cross = layer.kind == LayerKind::CrossAttention;
            if layer.kind == LayerKind::SelfAttention && record.hiddens {
                intermediates.hiddens.push(x.clone());
            }
            if cross && ctx.training && self.cross_attn_tokens_dropout > 0.0 {
                (context, context_mask) =
                    drop_tokens(context, context_mask, self.cross_attn_tokens_dropout, ctx)?;
            }
            let inputs = match layer.kind {
                LayerKind::SelfAttention => AttentionInputs {
                    context: None,
                    mem: mems.next(),
                    mask: call.rows.as_ref(),
                    context_mask: with.self_attn_context_mask.as_ref().or(call.keys.as_ref()),
                    attn_mask: with.attn_mask.as_ref(),
                    rotation: rotation.as_ref(),
                    bias: bias.as_ref(),
                    previous: previous.as_ref(),
                    past: call.past,
                    maps: record.maps || self.residual_attn,
                },
                LayerKind::CrossAttention => AttentionInputs {
                    context: context.as_ref(),
                    mask: call.rows.as_ref(),
                    context_mask: context_mask.as_ref().or(call.keys.as_ref()),
                    previous: previous_cross.as_ref(),
                    maps: record.maps || self.cross_residual_attn,
                    ..AttentionInputs::default()
                },
                LayerKind::FeedForward => {
                    AttentionInputs { mask: call.rows.as_ref(), ..AttentionInputs::default() }
                }
            };
            let kept = cache.as_deref_mut().and_then(|cache| cache.layers.get_mut(index));
            // y: (batch, n, dim); maps: (batch, heads, i, j)
            let (y, maps) = layer.forward(&x, &inputs, kept, ctx)?;
            x = y;
            if let Some(maps) = maps {
                match (cross, self.residual_attn, self.cross_residual_attn) {
                    (false, true, _) => previous = Some(maps.pre_softmax_attn.clone()),
                    (true, _, true) => previous_cross = Some(maps.pre_softmax_attn.clone()),
                    _ => {}
                }
                if record.maps {
                    intermediates.attn_intermediates.push(maps);
                }
            }
        }
        if let Some(cache) = cache {
            cache.seen = call.past + x.dim(1);
        }
        Ok(LayersOutput { x, intermediates })
    }

    /// Determines the position of a call in its sequence. In the first step, stores the number of
    /// memories in the cache.
    fn call(
        &self,
        x: &Tensor,
        with: &LayerTensors,
        cache: Option<&mut LayersCache>,
    ) -> Result<Call> {
        let given = with.mems.iter().map(|m| m.dim(1)).max().unwrap_or(0);
        let Some(cache) = cache else {
            let (mems, rows) = (with.mems.clone(), with.mask.clone());
            return Ok(Call { past: 0, positions: 0..given + x.dim(1), mems, rows, keys: None });
        };
        let first = cache.seen == 0;
        if first {
            cache.memories = given;
        }
        let end = cache.memories + cache.seen + x.dim(1);
        let start = if first { 0 } else { end - x.dim(1) };
        Ok(Call {
            past: cache.seen,
            positions: start..end,
            mems: if first { with.mems.clone() } else { Vec::new() },
            rows: with.mask.as_ref().map(|mask| last_columns(mask, x.dim(1))).transpose()?,
            keys: if first { None } else { with.mask.clone() },
        })
    }

    /// Checks the shapes and types of the input, the memories and the context.
    fn check(&self, x: &Tensor, with: &LayerTensors) -> Result<()> {
        if x.rank() != 3 || x.dim(2) != self.dim || !x.dtype().is_float() {
            return Error::shape(format!(
                "x must be floating-point of shape (batch, length, {}), got {} of shape {:?}",
                self.dim,
                kind(x),
                x.dims()
            ));
        }
        let like = |t: &Tensor, name: &str| {
            if t.rank() == 3 && t.dim(2) == self.dim && t.dim(0) == x.dim(0) {
                require_type(t, name, x.dtype())?;
                return Ok(());
            }
            let (batch, dim) = (x.dim(0), self.dim);
            Error::shape(format!(
                "{name} must have shape ({batch}, length, {dim}), got {:?}",
                t.dims()
            ))
        };
        with.mems.iter().try_for_each(|mem| like(mem, "each of mems"))?;
        match (&with.context, self.cross_attend) {
            (None, true) => Error::shape("context is missing: these layers have cross attention"),
            (Some(_), false) => Error::shape(
                "context was given, but these layers have no cross attention: set `cross_attend`",
            ),
            (Some(context), true) => like(context, "context"),
            (None, false) => Ok(()),
        }
    }
}
