//! One sub-layer: norm, block, residual.

use super::{FeedForward, Norm};
use crate::attention::Attention;
use crate::{Params, Result, Tensor};
use xt_autograd::ops;
use xt_options::layers::StackOptions;
use xt_options::LayerKind;

/// What a sub-layer computes between its norm and its residual.
pub enum Block {
    SelfAttention(Attention),
    CrossAttention(Attention),
    FeedForward(FeedForward),
}

/// A block with its norms and its residual.
pub struct SubLayer {
    pub block: Block,
    /// Before the block; absent with post-norm.
    pre: Option<Norm>,
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
}

impl SubLayer {
    pub fn new(kind: LayerKind, at: &Position, options: &StackOptions, p: &mut Params) -> Self {
        let heads = options.heads.get();
        // the numbers are the places in the reference's module lists
        let norms = p.under("0");
        let pre = options.pre_norm.then(|| Norm::new(at.dim, &mut norms.under("0")));
        let post = (!options.pre_norm && !at.last).then(|| Norm::new(at.dim, &mut norms.under("2")));
        let mut inner = p.under("1");
        let mut attention = |causal| Attention::new(at.dim, heads, causal, &options.attn, &mut inner);
        let block = match kind {
            LayerKind::SelfAttention => Block::SelfAttention(attention(at.causal)),
            LayerKind::CrossAttention => Block::CrossAttention(attention(false)),
            LayerKind::FeedForward => Block::FeedForward(FeedForward::new(at.dim, &options.ff, &mut inner)),
        };
        let drop = options.layer_dropout.at(at.index).map_or(0.0, |p| p.0);
        Self { block, pre, post, residual: Residual, drop }
    }

    /// What the block gets.
    pub fn before(&self, x: &Tensor) -> Result<Tensor> {
        self.pre.as_ref().map_or_else(|| Ok(x.clone()), |norm| norm.forward(x))
    }

    /// What comes after the block: `branch` is its output, `x` the sub-layer's input.
    pub fn after(&self, branch: &Tensor, x: &Tensor) -> Result<Tensor> {
        let y = self.residual.forward(branch, x)?;
        self.post.as_ref().map_or_else(|| Ok(y.clone()), |norm| norm.forward(&y))
    }
}

/// How a branch joins the stream: here, their sum.
struct Residual;

impl Residual {
    fn forward(&self, branch: &Tensor, x: &Tensor) -> Result<Tensor> {
        Ok(ops::add(branch, x)?)
    }
}
