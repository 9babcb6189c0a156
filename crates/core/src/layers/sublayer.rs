//! One sub-layer of a stack: norm, block (attention or feed-forward), residual.

use super::cache::LayerCache;
use super::residual::{Residual, ResidualKind};
use super::shift::ShiftTokens;
use super::{FeedForward, Norm};
use crate::attention::{Attention, AttentionInputs, AttentionMaps};
use crate::needs::{Needs, Variant};
use crate::{Ctx, Leaf, Params, Result, Tensor};
use std::sync::Arc;
use xt_autograd::ops;
use xt_options::layers::StackOptions;
use xt_options::LayerKind;

/// The computation of a sub-layer between its norm and its residual.
enum Block {
    /// Self or cross attention.
    Attention(Box<Attention>),
    /// A feed-forward layer.
    FeedForward(FeedForward),
}

/// A block with its norms and its residual connection.
pub struct SubLayer {
    /// Self attention, cross attention or feed-forward.
    pub kind: LayerKind,
    block: Block,
    /// Token shift of the block's input.
    shift: Option<ShiftTokens>,
    /// A factor of the block's output: 0.5 for the feed-forwards of macaron layers, else 1.
    factor: f64,
    /// The norm before the block; absent with post-norm.
    pre: Option<Norm>,
    /// The norm after the block, with sandwich norm.
    sandwich: Option<Norm>,
    /// The norm after the residual, with post-norm; absent on the last sub-layer.
    post: Option<Norm>,
    /// The residual connection.
    residual: Residual,
    /// The probability that this sub-layer is skipped in training (stochastic depth).
    pub drop_prob: f64,
    /// The first parameter, by which the names of the sub-layer are found.
    pub first_parameter: Option<Arc<Leaf>>,
}

/// The position of a sub-layer in its stack, and the settings that all sub-layers share.
pub struct SubLayerConfig {
    /// The index of the sub-layer in the stack.
    pub index: usize,
    /// Whether this is the last sub-layer.
    pub last: bool,
    /// The width of the model.
    pub dim: usize,
    /// Whether the stack is causal.
    pub causal: bool,
    /// Norm before the block (`true`) or after the residual (`false`).
    pub pre_norm: bool,
    /// The kind of residual connection.
    pub residual: ResidualKind,
}

impl SubLayer {
    /// Registers the parameters of a sub-layer.
    pub fn new(
        kind: LayerKind,
        config: &SubLayerConfig,
        options: &StackOptions,
        p: &mut Params,
    ) -> Self {
        let registered = p.count();
        let norm = |place: &str, on: bool| {
            on.then(|| Norm::new(config.dim, options, &mut p.submodule("0").submodule(place)))
        };
        // the numbers are the indices in the Python package's module lists
        let pre = norm("0", config.pre_norm);
        let sandwich = norm("1", options.sandwich_norm && config.pre_norm);
        let post = norm("2", !config.pre_norm && !config.last);
        let shift =
            ShiftTokens::new(options.shift_tokens.at(config.index).unwrap_or(0), config.causal);
        let factor = if options.macaron && kind == LayerKind::FeedForward { 0.5 } else { 1.0 };
        // the Python package wraps shifted and scaled blocks in modules, which add a level `fn`
        // each
        let mut inner = p.submodule("1");
        for _ in 0..usize::from(shift.is_some()) + usize::from(factor != 1.0) {
            inner = inner.submodule("fn");
        }
        let (mut attn, mut ff) = (options.attn.clone(), options.ff.clone());
        attn.zero_init_output |= options.zero_init_branch_output;
        ff.zero_init_output |= options.zero_init_branch_output;
        let block = match kind {
            LayerKind::FeedForward => {
                Block::FeedForward(FeedForward::new(config.dim, &ff, &mut inner))
            }
            _ => {
                let causal = config.causal && kind == LayerKind::SelfAttention;
                Block::Attention(Box::new(Attention::new(
                    config.dim,
                    options.heads.get(),
                    causal,
                    &attn,
                    &mut inner,
                )))
            }
        };
        let residual = Residual::new(config.dim, config.residual, &mut p.submodule("2"));
        Self {
            kind,
            block,
            shift,
            factor,
            pre,
            sandwich,
            post,
            residual,
            drop_prob: options.layer_dropout.at(config.index).map_or(0.0, |p| p.0),
            first_parameter: p.since(registered).first().map(|entry| entry.param.leaf().clone()),
        }
    }

    /// What its attention needs, if it is one; `cross_attend` as for [`Attention::needs`].
    pub fn attention_needs(&self, cross_attend: bool) -> Needs {
        self.attention().map_or(Needs::NONE, |attention| attention.needs(self.kind, cross_attend))
    }

    /// What its token shift needs.
    pub fn shift_needs(&self) -> Needs {
        self.shift.needs()
    }

    /// The attention, unless this is a feed-forward.
    pub fn attention(&self) -> Option<&Attention> {
        match &self.block {
            Block::Attention(attention) => Some(attention),
            Block::FeedForward(_) => None,
        }
    }

    /// Runs the sub-layer: `(batch, n, dim)` to `(batch, n, dim)`. Also returns the maps of an
    /// attention if they are requested. With a cache, `x` contains only the new positions.
    pub fn forward(
        &self,
        x: &Tensor,
        with: &AttentionInputs,
        mut cache: Option<&mut LayerCache>,
        ctx: &Ctx,
    ) -> Result<(Tensor, Option<AttentionMaps>)> {
        // both (batch, n, dim)
        let (mut input, stream) = match &self.pre {
            Some(norm) => norm.forward_with_residual(x)?,
            None => (x.clone(), x.clone()),
        };
        if let Some(shift) = &self.shift {
            // the Python package passes masks to attentions only
            let mask = with.mask.filter(|_| self.kind != LayerKind::FeedForward);
            let tail = cache.as_mut().map(|cache| &mut cache.tail);
            let bounds = with.bounds.map(|bounds| bounds.ranges());
            input = shift.forward(&input, mask, bounds, tail)?;
        }
        // (batch, n, dim)
        let (mut branch, maps) = match &self.block {
            Block::Attention(attention) => {
                let kept = cache.map(|cache| &mut cache.key_values);
                attention.forward(&input, with, kept, ctx)?
            }
            Block::FeedForward(feedforward) => (feedforward.forward(&input, ctx)?, None),
        };
        if self.factor != 1.0 {
            branch = ops::affine(&branch, self.factor, 0.0)?;
        }
        let branch = apply_norm(&self.sandwich, &branch)?;
        Ok((apply_norm(&self.post, &self.residual.forward(&branch, &stream)?)?, maps))
    }
}

/// Applies an optional norm.
fn apply_norm(norm: &Option<Norm>, x: &Tensor) -> Result<Tensor> {
    norm.as_ref().map_or_else(|| Ok(x.clone()), |norm| norm.forward(x))
}
