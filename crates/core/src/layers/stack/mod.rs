//! The stack of sub-layers of `Encoder`, `Decoder` and `CrossAttender`.

mod checkpoint;
mod forward;
mod kept;
mod needs;
mod positions;
mod tensors;

pub use tensors::{Intermediates, LayerReturns, LayerTensors, LayersOutput};

use super::cache::LayersCache;
use super::deepnorm;
use super::norm::{LastNorm, LayerNorm, Norm, NormStyle};
use super::residual::ResidualKind;
use super::sublayer::{SubLayer, SubLayerConfig};
use crate::position::{RotaryLayers, ScoreBias};
use crate::{Error, Mode, Params, Result};
use std::sync::Arc;
use xt_options::context::StackContext;
use xt_options::layers::StackOptions;
use xt_options::{LayerKind, Problems};

/// A stack of attention and feed-forward sub-layers.
pub struct AttentionLayers {
    /// The sub-layers.
    layers: Vec<Arc<SubLayer>>,
    /// The indices of the sub-layers in the order of their runs.
    order: Vec<usize>,
    /// Whether the norm of the last sub-layer stands behind it, as those of the others.
    ends_with_post_norm: bool,
    /// Whether the values of attentions are mixed with those of the first of their kind.
    value_residual: bool,
    /// The norm behind the sub-layers.
    final_norm: Option<Norm>,
    /// Whether a wrapper has a norm behind layers that do not end with one.
    wrapper_norm: bool,
    /// The style of the norms, which those of a wrapper have too.
    norm_style: NormStyle,
    /// Rotary positions of the self attentions.
    rotary: RotaryLayers,
    /// Whether rotary positions are those that a call gives.
    rotary_given_pos: bool,
    /// Whether the distances of ALiBi are those of the positions that a call gives.
    alibi_given_pos: bool,
    /// The position bias of the self attentions.
    bias: Option<Arc<ScoreBias>>,
    /// The width of the model.
    dim: usize,
    /// The width of the context.
    dim_context: usize,
    /// Whether cross attentions attend to a context, which must then be given.
    cross_attend: bool,
    /// Whether the layers replace absolute positions.
    has_pos_emb: bool,
    /// Whether self attentions add the scores of the previous self attention.
    residual_attn: bool,
    /// Whether cross attentions add the scores of the previous cross attention.
    cross_residual_attn: bool,
    /// The share of the context that each cross attention drops in training.
    cross_attn_tokens_dropout: f64,
    /// Whether the backward pass computes sub-layers again.
    checkpointing: bool,
    mode: Mode,
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
        let before = p.count();
        let layers = sub_layers(&kinds, context, (causal, residual), options, p);
        let count = |kind| kinds.iter().filter(|other| **other == kind).count();
        let attentions = match count(LayerKind::SelfAttention) {
            0 => count(LayerKind::CrossAttention),
            attentions => attentions,
        };
        let rotary = RotaryLayers::new(options, attentions, p);
        let bias = ScoreBias::new(context.dim, causal, options, p).map(Arc::new);
        if options.deepnorm {
            deepnorm::initialise(&p.since(before), deepnorm::beta(depth));
        }
        let final_norm = options
            .pre_norm_has_final_norm
            .then(|| Norm::new(context.dim, options, &mut p.submodule("final_norm")));
        Ok(Self {
            order: options.execution_order(layers.len()),
            ends_with_post_norm: options.norm_places().post && options.has_own_order(),
            value_residual: options.add_value_residual,
            layers,
            final_norm,
            wrapper_norm: options.wrapper_norm,
            norm_style: NormStyle::from(options),
            rotary,
            rotary_given_pos: options.rotary_given_pos && options.is_rotary(),
            bias,
            alibi_given_pos: options.alibi_given_pos,
            dim: context.dim,
            dim_context: context.dim_context,
            cross_attend: context.cross_attend,
            has_pos_emb: options.has_pos_emb(),
            residual_attn: options.residual_attn,
            cross_residual_attn: options.cross_residual_attn,
            cross_attn_tokens_dropout: options.cross_attn_tokens_dropout.0,
            checkpointing: options.gradient_checkpointing,
            mode: Mode::default(),
        })
    }

    /// The sub-layers in the order of their runs.
    fn runs(&self) -> impl Iterator<Item = &Arc<SubLayer>> {
        self.order.iter().filter_map(|index| self.layers.get(*index))
    }

    /// The width of the model.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// A LayerNorm of width `dim` in the style of these layers, for a wrapper around them.
    pub fn norm_of_width(&self, dim: usize, p: &mut Params) -> LayerNorm {
        LayerNorm::of_style(dim, self.norm_style, p)
    }

    /// The LayerNorm of a wrapper behind these layers; none if they end with a norm themselves, or
    /// shall have none.
    pub fn last_norm(&self, p: &mut Params) -> LastNorm {
        let has_norm = self.final_norm.is_some() || self.ends_with_post_norm;
        LastNorm((self.wrapper_norm && !has_norm).then(|| self.norm_of_width(self.dim, p)))
    }

    /// Whether rotary positions or the distances of ALiBi are those that a call gives.
    pub fn takes_pos(&self) -> bool {
        self.rotary_given_pos || self.alibi_given_pos
    }

    /// Training or evaluation mode.
    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    /// Whether these layers replace absolute positions.
    pub fn has_pos_emb(&self) -> bool {
        self.has_pos_emb
    }

    /// An empty cache for a generation. `expected` is the number of positions expected after the
    /// first step.
    pub fn cache(&self, expected: usize) -> LayersCache {
        LayersCache::new(self.runs().map(|layer| layer.kind == LayerKind::CrossAttention), expected)
    }
}

/// The sub-layers of these kinds. `residual` is the connection of all of them.
fn sub_layers(
    kinds: &[LayerKind],
    context: StackContext,
    (causal, residual): (bool, ResidualKind),
    options: &StackOptions,
    p: &Params,
) -> Vec<Arc<SubLayer>> {
    let mut layers: Vec<Arc<SubLayer>> = Vec::with_capacity(kinds.len());
    let mut counts: Vec<(LayerKind, usize)> = Vec::new();
    let block_length = options.block(context).len();
    for (index, kind) in kinds.iter().enumerate() {
        let number = match counts.iter_mut().find(|(other, _)| other == kind) {
            Some((_, count)) => {
                *count += 1;
                *count - 1
            }
            None => {
                counts.push((*kind, 1));
                0
            }
        };
        let beside = options.parallel_block_shared_norm && *kind == LayerKind::FeedForward;
        let config = SubLayerConfig {
            index,
            number,
            // one that is run again is not the last
            last: index + 1 == kinds.len() && !options.has_own_order(),
            dim: context.dim,
            dim_context: context.dim_context,
            block: index / block_length + 1,
            causal,
            shared_norm: layers.last().filter(|_| beside).and_then(|l| l.pre()).cloned(),
            residual,
        };
        let mut p = p.submodule("layers").submodule(index);
        layers.push(Arc::new(SubLayer::new(*kind, config, options, &mut p)));
    }
    layers
}
