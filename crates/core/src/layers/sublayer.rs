//! One sub-layer of a stack: norm, block (attention or feed-forward), residual.

use super::cache::LayerCache;
use super::residual::{Residual, ResidualKind};
use super::shift::ShiftTokens;
use super::{FeedForward, Linear, Norm};
use crate::attention::{Attended, Attention, AttentionInputs, Widths};
use crate::needs::{Needs, Variant};
use crate::{Ctx, Init, Leaf, Param, Params, Result, Tensor};
use std::sync::Arc;
use xt_autograd::ops;
use xt_options::layers::StackOptions;
use xt_options::LayerKind;

/// The computation of a sub-layer between its norm and its residual.
enum Block {
    /// Self or cross attention.
    Attention(Box<Attention>),
    /// A feed-forward layer.
    FeedForward(Box<FeedForward>),
}

impl Block {
    /// Registers the parameters of a block.
    fn new(
        kind: LayerKind,
        config: &SubLayerConfig,
        options: &StackOptions,
        p: &mut Params,
    ) -> Self {
        if kind == LayerKind::FeedForward {
            let mut ff = options.ff.at(config.number).clone();
            ff.zero_init_output |= options.zero_init_branch_output;
            return Block::FeedForward(Box::new(FeedForward::new(config.dim, &ff, p)));
        }
        let mut attn = options.attn.at(config.number).clone();
        attn.zero_init_output |= options.zero_init_branch_output;
        let is_self = kind == LayerKind::SelfAttention;
        let mixes = options.add_value_residual && options.learned_value_residual_mix;
        let flags = (config.causal && is_self, mixes && is_self && config.number > 0);
        let context = if is_self { config.dim } else { config.dim_context };
        let widths = Widths { input: config.dim, context, output: config.dim };
        Block::Attention(Box::new(Attention::new(widths, options.heads.get(), flags, &attn, p)))
    }

    /// The layer at the end of the branch, if there is one.
    fn last_layer(&self) -> Option<&Linear> {
        match self {
            Block::Attention(attention) => attention.last_layer(),
            Block::FeedForward(feedforward) => Some(feedforward.last_layer()),
        }
    }
}

/// A block with its norms and its residual connection.
pub struct SubLayer {
    /// Self attention, cross attention or feed-forward.
    pub kind: LayerKind,
    /// Its number among the sub-layers of its kind.
    pub number: usize,
    block: Block,
    /// Token shift of the block's input.
    shift: Option<ShiftTokens>,
    /// Whether the block's output is halved, as for the feed-forwards of macaron layers.
    halved: bool,
    /// The fixed factor of what the branch adds, [`StackOptions::branch_scale`].
    factor: f64,
    /// The learned factors of the block's output, `(dim)`, with LayerScale.
    layer_scale: Option<Param>,
    /// The norm before the block; absent with post-norm.
    pre: Option<Norm>,
    /// The norm of the block's output, with sandwich norm.
    on_branch: Option<Norm>,
    /// The norm after the residual, with post-norm; absent on the last sub-layer.
    post: Option<Norm>,
    /// Whether the block takes the input of the sub-layer before, beside which it runs.
    pub beside: bool,
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
    /// Its number among the sub-layers of its kind.
    pub number: usize,
    /// Whether this is the last sub-layer.
    pub last: bool,
    /// The width of the model.
    pub dim: usize,
    /// The width of the context.
    pub dim_context: usize,
    /// The number of its block, counted from 1.
    pub block: usize,
    /// Whether the stack is causal.
    pub causal: bool,
    /// The norm of the attention beside which a feed-forward runs, if they share it.
    pub shared_norm: Option<Norm>,
    /// The kind of residual connection.
    pub residual: ResidualKind,
}

impl SubLayer {
    /// Registers the parameters of a sub-layer.
    pub fn new(
        kind: LayerKind,
        config: SubLayerConfig,
        options: &StackOptions,
        p: &mut Params,
    ) -> Self {
        let registered = p.count();
        let norm = |place: &str, on: bool| {
            on.then(|| Norm::new(config.dim, options, &mut p.submodule("0").submodule(place)))
        };
        // the numbers are the indices in the Python package's module lists
        let places = options.norm_places();
        let pre = config.shared_norm.clone().or_else(|| norm("0", places.pre));
        let on_branch = norm("1", places.branch);
        let post = norm("2", places.post && !config.last);
        let shift =
            ShiftTokens::new(options.shift_tokens.at(config.index).unwrap_or(0), config.causal);
        let halved = options.macaron && kind == LayerKind::FeedForward;
        // the Python package wraps shifted and scaled blocks in modules, which add a level `fn`
        // each, LayerScale outside the others
        let mut outer = p.submodule("1");
        let mut inner = p.submodule("1");
        let levels = [options.use_layerscale, shift.is_some(), halved];
        for _ in levels.into_iter().filter(|wrapped| *wrapped) {
            inner = inner.submodule("fn");
        }
        let block = Block::new(kind, &config, options, &mut inner);
        if let Some(last) = block.last_layer().filter(|_| options.depth_scale_residual) {
            last.scale_init_to_depth(config.block);
        }
        let init = Init::Constant(options.layerscale_init_value);
        let layer_scale = options.use_layerscale.then(|| outer.add("gamma", &[config.dim], init));
        let residual = Residual::new(config.dim, config.residual, &mut p.submodule("2"));
        Self {
            kind,
            number: config.number,
            block,
            shift,
            halved,
            factor: options.branch_scale,
            layer_scale,
            pre,
            on_branch,
            post,
            beside: options.parallel_block && kind == LayerKind::FeedForward,
            residual,
            drop_prob: options.layer_dropout.at(config.index).map_or(0.0, |p| p.0),
            first_parameter: p.since(registered).first().map(|entry| entry.param.leaf().clone()),
        }
    }

    /// The norm before the block, if there is one.
    pub fn pre(&self) -> Option<&Norm> {
        self.pre.as_ref()
    }

    /// What its attention needs, if it is one; `cross_attend` as for [`Attention::needs`].
    pub fn attention_needs(&self, cross_attend: bool) -> Needs {
        self.attention().map_or(Needs::NONE, |attention| attention.needs(self.kind, cross_attend))
    }

    /// What its token shift needs.
    pub fn shift_needs(&self) -> Needs {
        self.shift.needs()
    }

    /// Whether the input of the block is shifted.
    pub fn shifts(&self) -> bool {
        self.shift.is_some()
    }

    /// The attention, unless this is a feed-forward.
    pub fn attention(&self) -> Option<&Attention> {
        match &self.block {
            Block::Attention(attention) => Some(attention),
            Block::FeedForward(_) => None,
        }
    }

    /// Runs the sub-layer: `(batch, n, dim)` to `(batch, n, dim)`. Also returns what is requested
    /// of an attention. With a cache, `x` contains only the new positions. A block that runs
    /// beside the one before takes `source`, the input of that one, `(batch, n, dim)`.
    pub fn forward(
        &self,
        x: &Tensor,
        source: Option<&Tensor>,
        with: &AttentionInputs,
        cache: Option<&mut LayerCache>,
        ctx: &Ctx,
    ) -> Result<Attended> {
        // both (batch, n, dim)
        let (input, stream) = match (&self.pre, source) {
            (pre, Some(source)) => (apply_norm(pre, source)?, x.clone()),
            (Some(norm), None) => norm.forward_with_residual(x)?,
            (None, None) => (x.clone(), x.clone()),
        };
        let out = self.branch(input, with, cache, ctx)?;
        let y = apply_norm(&self.post, &self.residual.forward(&out.y, &stream)?)?;
        Ok(Attended { y, ..out })
    }

    /// The branch of the residual connection for its normalised `input`; both are
    /// `(batch, n, dim)`.
    fn branch(
        &self,
        mut input: Tensor,
        with: &AttentionInputs,
        mut cache: Option<&mut LayerCache>,
        ctx: &Ctx,
    ) -> Result<Attended> {
        if let Some(shift) = &self.shift {
            // the Python package passes masks to attentions only
            let mask = with.mask.filter(|_| self.kind != LayerKind::FeedForward);
            let tail = cache.as_mut().map(|cache| &mut cache.tail);
            let bounds = with.bounds.map(|bounds| bounds.ranges());
            input = shift.forward(&input, mask, bounds, tail)?;
        }
        // (batch, n, dim)
        let mut out = match &self.block {
            Block::Attention(attention) => {
                let kept = cache.map(|cache| &mut cache.key_values);
                attention.forward(&input, with, kept, ctx)?
            }
            Block::FeedForward(feedforward) => {
                Attended { y: feedforward.forward(&input, ctx)?, maps: None, values: None }
            }
        };
        // a norm of the branch would divide the fixed factor away
        let before = if self.on_branch.is_none() { self.factor } else { 1.0 };
        let before = if self.halved { 0.5 * before } else { before };
        if before != 1.0 {
            out.y = ops::affine(&out.y, before, 0.0)?;
        }
        if let Some(factors) = &self.layer_scale {
            out.y = ops::mul(&out.y, &factors.tensor())?;
        }
        if let Some(norm) = &self.on_branch {
            out.y = norm.forward(&out.y)?;
            if self.factor != 1.0 {
                out.y = ops::affine(&out.y, self.factor, 0.0)?;
            }
        }
        Ok(out)
    }
}

/// Applies an optional norm.
fn apply_norm(norm: &Option<Norm>, x: &Tensor) -> Result<Tensor> {
    norm.as_ref().map_or_else(|| Ok(x.clone()), |norm| norm.forward(x))
}
