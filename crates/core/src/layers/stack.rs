//! The stack of sub-layers behind `Encoder`, `Decoder` and `CrossAttender`.

use super::sublayer::{Block, Position, SubLayer};
use crate::attention::{AttentionInputs, AttentionMaps};
use crate::position::Rotary;
use crate::{Ctx, Error, Mode, Params, Result, Tensor};
use xt_options::layers::StackOptions;
use xt_options::stack::Place;
use xt_options::Problems;

pub struct AttentionLayers {
    layers: Vec<SubLayer>,
    rotary: Option<Rotary>,
    dim: usize,
    cross_attend: bool,
    has_pos_emb: bool,
    mode: Mode,
}

/// The tensors that go along with the input.
#[derive(Clone, Default)]
pub struct LayerTensors {
    /// (batch, j, dim).
    pub context: Option<Tensor>,
    /// bool, (batch, n).
    pub mask: Option<Tensor>,
    /// bool, (batch, j).
    pub context_mask: Option<Tensor>,
    /// bool, (n, n), (heads, n, n) or (batch, heads, n, n).
    pub attn_mask: Option<Tensor>,
    /// bool, (batch, n).
    pub self_attn_context_mask: Option<Tensor>,
}

/// What happened inside, as the reference names it.
#[derive(Clone, Default)]
pub struct Intermediates {
    /// The input of each self attention, before its norm.
    pub hiddens: Vec<Tensor>,
    /// The maps of each attention, self and cross, in order.
    pub attn_intermediates: Vec<AttentionMaps>,
}

/// The result of a forward.
pub struct LayersOutput {
    /// (batch, n, dim).
    pub x: Tensor,
    /// Empty unless asked for.
    pub intermediates: Intermediates,
}

impl AttentionLayers {
    pub fn new(place: Place, causal: bool, options: &StackOptions, p: &mut Params) -> Result<Self> {
        let kinds = options
            .layer_kinds(place)
            .map_err(|problem| Error::Options { class: "layers".into(), problems: Problems(vec![problem]) })?;
        let rotary = options.is_rotary().then(|| Rotary::new(options, &mut p.under("rotary_pos_emb")));
        let layers = kinds
            .iter()
            .enumerate()
            .map(|(index, kind)| {
                let at = Position { index, last: index + 1 == kinds.len(), dim: place.dim, causal };
                SubLayer::new(*kind, &at, options, &mut p.under("layers").under(index))
            })
            .collect();
        Ok(Self {
            layers,
            rotary,
            dim: place.dim,
            cross_attend: place.cross_attend,
            has_pos_emb: options.has_pos_emb(),
            mode: Mode::default(),
        })
    }

    /// Width of the model.
    pub fn dim(&self) -> usize {
        self.dim
    }

    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    /// Whether these layers know positions by themselves, so that absolute ones are not needed.
    pub fn has_pos_emb(&self) -> bool {
        self.has_pos_emb
    }

    /// (batch, n, dim) to (batch, n, dim). `record` asks for the intermediates.
    pub fn forward(&self, x: &Tensor, with: &LayerTensors, record: bool, ctx: &Ctx) -> Result<LayersOutput> {
        self.check(x, with)?;
        let ctx = &ctx.inside(&self.mode);
        let rotation = self.rotary.as_ref().map(|rotary| rotary.tables(x.dim(1), x.dtype())).transpose()?;
        let own = AttentionInputs {
            context: None,
            mask: with.mask.as_ref(),
            context_mask: with.self_attn_context_mask.as_ref(),
            attn_mask: with.attn_mask.as_ref(),
            rotation: rotation.as_ref(),
            record,
        };
        let cross = AttentionInputs {
            context: with.context.as_ref(),
            mask: with.mask.as_ref(),
            context_mask: with.context_mask.as_ref(),
            attn_mask: None,
            rotation: None,
            record,
        };
        let mut x = x.clone();
        let mut intermediates = Intermediates::default();
        for layer in &self.layers {
            ctx.check()?;
            if ctx.training && layer.drop > 0.0 && ctx.rng.chance(layer.drop) {
                continue;
            }
            let input = layer.before(&x)?;
            let (branch, maps) = match &layer.block {
                Block::SelfAttention(attention) => {
                    if record {
                        intermediates.hiddens.push(x.clone());
                    }
                    attention.forward(&input, &own, ctx)?
                }
                Block::CrossAttention(attention) => attention.forward(&input, &cross, ctx)?,
                Block::FeedForward(feedforward) => (feedforward.forward(&input, ctx)?, None),
            };
            intermediates.attn_intermediates.extend(maps);
            x = layer.after(&branch, &x)?;
        }
        Ok(LayersOutput { x, intermediates })
    }

    fn check(&self, x: &Tensor, with: &LayerTensors) -> Result<()> {
        if x.rank() != 3 || x.dim(2) != self.dim || !x.dtype().is_float() {
            return Error::shape(format!(
                "x must be floating-point of shape (batch, length, {}), got {:?} of shape {:?}",
                self.dim,
                x.dtype(),
                x.dims()
            ));
        }
        match (&with.context, self.cross_attend) {
            (None, true) => Error::shape("context is missing: these layers have cross attention"),
            (Some(_), false) => {
                Error::shape("context was given, but these layers have no cross attention: set `cross_attend`")
            }
            (Some(context), true) => check_context(context, x, self.dim),
            (None, false) => Ok(()),
        }
    }
}

fn check_context(context: &Tensor, x: &Tensor, dim: usize) -> Result<()> {
    if context.rank() != 3 || context.dim(2) != dim || context.dim(0) != x.dim(0) || context.dtype() != x.dtype() {
        return Error::shape(format!(
            "context must be {:?} of shape ({}, length, {dim}), got {:?} of shape {:?}",
            x.dtype(),
            x.dim(0),
            context.dtype(),
            context.dims()
        ));
    }
    Ok(())
}
