//! One sub-layer: norm, block, residual.

use super::cache::LayerCache;
use super::residual::{Residual, ResidualKind};
use super::shift::ShiftTokens;
use super::{FeedForward, Norm};
use crate::attention::{Attention, AttentionInputs, AttentionMaps};
use crate::{Ctx, Params, Result, Tensor};
use xt_autograd::ops;
use xt_options::layers::StackOptions;
use xt_options::LayerKind;

/// What a sub-layer computes between its norm and its residual.
enum Block {
    Attention(Box<Attention>),
    FeedForward(FeedForward),
}

/// A block with its norms and its residual.
pub struct SubLayer {
    pub kind: LayerKind,
    block: Block,
    shift: Option<ShiftTokens>,
    /// A factor of the branch: feed-forwards of macaron layers have a half.
    factor: f64,
    /// Before the block; absent with post-norm.
    pre: Option<Norm>,
    /// After the block, with sandwich norm.
    sandwich: Option<Norm>,
    /// After the residual, with post-norm; absent on the last sub-layer.
    post: Option<Norm>,
    residual: Residual,
    /// The probability that training skips this sub-layer.
    pub drop: f64,
}

/// Where a sub-layer stands in its stack.
pub struct Position {
    pub index: usize,
    pub last: bool,
    pub dim: usize,
    pub causal: bool,
    pub pre_norm: bool,
    pub residual: ResidualKind,
}

impl SubLayer {
    pub fn new(kind: LayerKind, at: &Position, options: &StackOptions, p: &mut Params) -> Self {
        let norm = |place: &str, on: bool| on.then(|| Norm::new(at.dim, options, &mut p.under("0").under(place)));
        // the numbers are the places in the reference's module lists
        let pre = norm("0", at.pre_norm);
        let sandwich = norm("1", options.sandwich_norm && at.pre_norm);
        let post = norm("2", !at.pre_norm && !at.last);
        let shift = ShiftTokens::new(options.shift_tokens.at(at.index).unwrap_or(0), at.causal);
        let factor = if options.macaron && kind == LayerKind::FeedForward { 0.5 } else { 1.0 };
        // wrapped blocks stand one level deeper
        let mut inner = p.under("1");
        for _ in 0..usize::from(shift.is_some()) + usize::from(factor != 1.0) {
            inner = inner.under("fn");
        }
        let (mut attn, mut ff) = (options.attn.clone(), options.ff.clone());
        attn.zero_init_output |= options.zero_init_branch_output;
        ff.zero_init_output |= options.zero_init_branch_output;
        let block = match kind {
            LayerKind::FeedForward => Block::FeedForward(FeedForward::new(at.dim, &ff, &mut inner)),
            _ => {
                let causal = at.causal && kind == LayerKind::SelfAttention;
                Block::Attention(Box::new(Attention::new(at.dim, options.heads.get(), causal, &attn, &mut inner)))
            }
        };
        Self {
            kind,
            block,
            shift,
            factor,
            pre,
            sandwich,
            post,
            residual: Residual::new(at.dim, at.residual, &mut p.under("2")),
            drop: options.layer_dropout.at(at.index).map_or(0.0, |p| p.0),
        }
    }

    pub fn has_shift(&self) -> bool {
        self.shift.is_some()
    }

    /// Whether features come from later positions.
    pub fn shifts_back(&self) -> bool {
        self.shift.as_ref().is_some_and(ShiftTokens::is_backward)
    }

    /// The attention, where this is one.
    pub fn attention(&self) -> Option<&Attention> {
        match &self.block {
            Block::Attention(attention) => Some(attention),
            Block::FeedForward(_) => None,
        }
    }

    /// (batch, n, dim) to (batch, n, dim), and the maps of an attention. With a cache, `x` holds new positions alone.
    pub fn forward(
        &self,
        x: &Tensor,
        with: &AttentionInputs,
        mut cache: Option<&mut LayerCache>,
        ctx: &Ctx,
    ) -> Result<(Tensor, Option<AttentionMaps>)> {
        let (mut input, stream) = match &self.pre {
            Some(norm) => norm.forward_and_past(x)?,
            None => (x.clone(), x.clone()),
        };
        if let Some(shift) = &self.shift {
            // the reference hands masks to attention only
            let mask = with.mask.filter(|_| self.kind != LayerKind::FeedForward);
            input = shift.forward(&input, mask, cache.as_mut().map(|cache| &mut cache.tail))?;
        }
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
        let branch = applied(&self.sandwich, &branch)?;
        Ok((applied(&self.post, &self.residual.forward(&branch, &stream)?)?, maps))
    }
}

fn applied(norm: &Option<Norm>, x: &Tensor) -> Result<Tensor> {
    norm.as_ref().map_or_else(|| Ok(x.clone()), |norm| norm.forward(x))
}
