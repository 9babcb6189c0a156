//! Attention, as a pipeline of steps that the options switch on.
//!
//! Shapes: x is (batch, i, dim), the context (batch, j, dim); heads are (batch, heads, i or j, head dimension);
//! scores (batch, heads, i, j).
//! Source: Attention Is All You Need, <https://arxiv.org/abs/1706.03762>.

mod mask;

use crate::layers::{dropout, Linear};
use crate::position::Rotation;
use crate::{Ctx, Error, Params, Result, Tensor};
use mask::combined;
use xt_autograd::ops;
use xt_options::attention::AttentionBlockOptions;

pub struct Attention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    heads: usize,
    dim_head: usize,
    scale: f64,
    dropout: f64,
    causal: bool,
}

/// What an attention gets besides its input.
pub struct AttentionInputs<'a> {
    /// What keys and values are made from; the input itself where absent.
    pub context: Option<&'a Tensor>,
    /// bool, (batch, i): rows that are False come out as 0.
    pub mask: Option<&'a Tensor>,
    /// bool, (batch, j): keys that are False are not attended to. Absent: `mask`.
    pub context_mask: Option<&'a Tensor>,
    /// bool, (i, j), (heads, i, j) or (batch, heads, i, j): True where a query may attend.
    pub attn_mask: Option<&'a Tensor>,
    /// Rotary positions, for self attention.
    pub rotation: Option<&'a Rotation>,
    /// Whether the maps are to be returned.
    pub record: bool,
}

/// The attention maps, (batch, heads, i, j).
#[derive(Clone)]
pub struct AttentionMaps {
    /// Scaled scores, before masks.
    pub pre_softmax_attn: Tensor,
    /// Weights, before dropout.
    pub post_softmax_attn: Tensor,
}

/// Queries, keys and values, each (batch, heads, length, head dimension).
struct Heads {
    q: Tensor,
    k: Tensor,
    v: Tensor,
}

impl Attention {
    pub fn new(dim: usize, heads: usize, causal: bool, options: &AttentionBlockOptions, p: &mut Params) -> Self {
        let dim_head = options.dim_head.get();
        let inner = heads * dim_head;
        Self {
            to_q: Linear::new(dim, inner, false, &mut p.under("to_q")),
            to_k: Linear::new(dim, inner, false, &mut p.under("to_k")),
            to_v: Linear::new(dim, inner, false, &mut p.under("to_v")),
            to_out: Linear::new(inner, dim, false, &mut p.under("to_out")),
            heads,
            dim_head,
            scale: (dim_head as f64).powf(-0.5),
            dropout: options.dropout.0,
            causal,
        }
    }

    /// (batch, i, dim) to (batch, i, dim), and the maps where they were asked for.
    pub fn forward(&self, x: &Tensor, with: &AttentionInputs, ctx: &Ctx) -> Result<(Tensor, Option<AttentionMaps>)> {
        self.check(x, with)?;
        let heads = self.project(x, with)?;
        let scores = ops::matmul(&heads.q, &ops::transpose(&heads.k, 2, 3)?, self.scale)?;
        let weights = self.weights(&scores, with)?;
        let maps = with.record.then(|| AttentionMaps { pre_softmax_attn: scores, post_softmax_attn: weights.clone() });
        let values = ops::matmul(&dropout(&weights, self.dropout, ctx)?, &heads.v, 1.0)?;
        let y = self.to_out.forward(&merge(&values)?)?;
        Ok((zero_masked(&y, with.mask)?, maps))
    }

    fn project(&self, x: &Tensor, with: &AttentionInputs) -> Result<Heads> {
        let source = with.context.unwrap_or(x);
        let head = |layer: &Linear, x: &Tensor| -> Result<Tensor> {
            let split = ops::reshape(&layer.forward(x)?, &[x.dim(0), x.dim(1), self.heads, self.dim_head])?;
            let turned = match with.rotation {
                Some(rotation) => rotation.apply(&split)?,
                None => split,
            };
            Ok(ops::transpose(&turned, 1, 2)?)
        };
        Ok(Heads { q: head(&self.to_q, x)?, k: head(&self.to_k, source)?, v: head(&self.to_v, source)? })
    }

    /// Softmax of the scores under all masks.
    fn weights(&self, scores: &Tensor, with: &AttentionInputs) -> Result<Tensor> {
        let keys = with.context_mask.or(with.mask);
        let from = (with.context.is_some(), with.context_mask.is_none());
        let allowed = combined(keys, with.attn_mask, scores, from)?;
        Ok(ops::masked_softmax(scores, &ops::Mask { allowed, causal: self.causal })?)
    }

    fn check(&self, x: &Tensor, with: &AttentionInputs) -> Result<()> {
        if let Some(mask) = with.mask {
            require_mask(mask, "mask", &[x.dim(0), x.dim(1)])?;
        }
        Ok(())
    }
}

/// An error unless `mask` is of truth values, with the shape that is needed.
fn require_mask(mask: &Tensor, name: &str, dims: &[usize]) -> Result<()> {
    if !mask.is_boolean() {
        let kind = mask.kind().map_or("?", |k| k.name());
        return Error::shape(format!("{name} must be bool, got {kind}: compare it (`mask.ne(0)`) or cast it"));
    }
    if mask.rank() == 2 && dims.len() == 2 && mask.dim(0) == dims[0] && mask.dim(1) != dims[1] {
        let other = if name == "context_mask" { "the context" } else { "x" };
        return Error::shape(format!("{name} has {} columns, {other} has {}", mask.dim(1), dims[1]));
    }
    if mask.dims() != dims {
        return Error::shape(format!("{name} must have shape {dims:?}, got {:?}", mask.dims()));
    }
    Ok(())
}

/// (batch, heads, n, d) to (batch, n, heads · d).
fn merge(x: &Tensor) -> Result<Tensor> {
    let merged = [x.dim(0), x.dim(2), x.dim(1) * x.dim(3)];
    Ok(ops::reshape(&ops::transpose(x, 1, 2)?, &merged)?)
}

/// Rows where the mask is False become 0.
fn zero_masked(y: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let Some(mask) = mask else {
        return Ok(y.clone());
    };
    let rows = ops::reshape(mask, &[mask.dim(0), mask.dim(1), 1])?;
    Ok(ops::where_cond(&rows, y, &ops::scalar_like(y, 0.0)?)?)
}
