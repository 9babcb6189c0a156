//! Attention, as a pipeline of steps that the options switch on; each variant has a file of its own.
//!
//! Shapes: x is (batch, i, dim), the context (batch, j, dim); heads are (batch, heads, i or j, head dimension), where keys and
//! values may have one head for all; scores are (batch, heads, i, j).
//! Source: Attention Is All You Need, <https://arxiv.org/abs/1706.03762>.

mod cache;
mod heads;
mod inputs;
mod mask;
mod memory_kv;
mod output;
mod qk_norm;
mod sparse_topk;
mod talking_heads;

pub use cache::KeyValues;
pub use inputs::{AttentionInputs, AttentionMaps};

use crate::layers::{drawn, dropout};
use crate::position::Span;
use crate::{Ctx, Error, Params, Result, Tensor};
use heads::{by_head, Heads, Projected, Projection};
use mask::{require_mask, Masks};
use memory_kv::MemoryKv;
use output::{Gates, Output};
use qk_norm::QkNorm;
use sparse_topk::SparseTopk;
use talking_heads::TalkingHeads;
use xt_autograd::ops;
use xt_options::attention::AttentionBlockOptions;

pub struct Attention {
    project: Projection,
    qk_norm: Option<QkNorm>,
    pre_talking: Option<TalkingHeads>,
    post_talking: Option<TalkingHeads>,
    memory: Option<MemoryKv>,
    sparse: Option<SparseTopk>,
    output: Output,
    scale: f64,
    dropout: f64,
    causal: bool,
    max_attend_past: Option<usize>,
}

impl Attention {
    pub fn new(dim: usize, heads: usize, causal: bool, options: &AttentionBlockOptions, p: &mut Params) -> Self {
        let dim_head = options.dim_head.get();
        let scale = if options.qk_norm { options.qk_norm_scale } else { (dim_head as f64).powf(-0.5) };
        // parameters are registered in the order of the Python package
        let project = Projection::new(dim, heads, options, p);
        let qk_norm = options.qk_norm.then(|| QkNorm::new(options, p));
        let gates = Gates::new(dim, heads, options, p);
        let memory = (options.num_mem_kv > 0).then(|| MemoryKv::new(heads, options, p));
        let talking = |name: &str| options.talking_heads.then(|| TalkingHeads::new(heads, &mut p.under(name)));
        Self {
            project,
            qk_norm,
            pre_talking: talking("pre_softmax_talking_heads"),
            post_talking: talking("post_softmax_talking_heads"),
            memory,
            sparse: options.sparse_topk.map(|k| SparseTopk::new(k.get())),
            output: Output::new(dim, heads, gates, options, p),
            scale,
            dropout: options.dropout.0,
            causal,
            max_attend_past: options.max_attend_past,
        }
    }

    /// (batch, i, dim) to (batch, i, dim), and the maps where they are wanted. With a cache, keys and values of earlier positions (or, in cross
    /// attention, of the context) come from there.
    pub fn forward(
        &self,
        x: &Tensor,
        with: &AttentionInputs,
        cache: Option<&mut KeyValues>,
        ctx: &Ctx,
    ) -> Result<(Tensor, Option<AttentionMaps>)> {
        if let Some(mask) = with.mask {
            require_mask(mask, "mask", &[x.dim(0), x.dim(1)])?;
        }
        let heads = self.heads(x, with, cache)?;
        let covered = with.context.map_or(with.past + x.dim(1), |context| context.dim(1));
        let (values, maps) = if self.fuses(with) {
            (self.fused(&heads, covered, with, ctx)?, None)
        } else {
            let (values, maps) = self.by_steps(&heads, covered, with, ctx)?;
            (values, with.maps.then_some(maps))
        };
        Ok((zero_masked(&self.output.forward(&values, heads.r.as_ref(), x)?, with.mask)?, maps))
    }

    /// Whether no position sees later ones.
    pub fn is_causal(&self) -> bool {
        self.causal
    }

    /// Whether there is a distance beyond which a query sees no key.
    pub fn is_limited(&self) -> bool {
        self.max_attend_past.is_some()
    }

    /// Whether there are learned keys and values in front.
    pub fn has_memory(&self) -> bool {
        self.memory.is_some()
    }

    /// Whether nothing needs to see the scores as a whole.
    fn fuses(&self, with: &AttentionInputs) -> bool {
        let mixes = self.pre_talking.is_some() || self.post_talking.is_some();
        !(mixes || with.previous.is_some() || with.maps || self.sparse.is_some())
    }

    fn fused(&self, heads: &Heads, covered: usize, with: &AttentionInputs, ctx: &Ctx) -> Result<Tensor> {
        let (q, j) = (&heads.q, heads.k.dim(2));
        let mask = self.masks(covered, j, with).combined([q.dim(0), q.dim(1), q.dim(2), j])?;
        let span = Span { queries: q.dim(2), keys: j };
        let bias = with.bias.map(|bias| bias.by_distance(span, q)).transpose()?;
        Ok(ops::attention((q, &heads.k, &heads.v), bias.as_ref(), self.scale, &mask, drawn(self.dropout, ctx))?)
    }

    /// What the weights gather, (batch, heads, i, value dimension), and the maps.
    fn by_steps(
        &self,
        heads: &Heads,
        covered: usize,
        with: &AttentionInputs,
        ctx: &Ctx,
    ) -> Result<(Tensor, AttentionMaps)> {
        let mut scores = ops::matmul(&heads.q, &ops::transpose(&heads.k, 2, 3)?, self.scale)?;
        if let Some(previous) = with.previous {
            scores = ops::add(&scores, previous)?;
        }
        let weights = self.weights(&scores, covered, with)?;
        let maps = AttentionMaps { pre_softmax_attn: scores, post_softmax_attn: weights.clone() };
        let mixed = mix(&self.post_talking, &dropout(&weights, self.dropout, ctx)?)?;
        Ok((ops::matmul(&mixed, &heads.v, 1.0)?, maps))
    }

    /// Queries, keys and values with norm, positions and memories.
    fn heads(&self, x: &Tensor, with: &AttentionInputs, cache: Option<&mut KeyValues>) -> Result<Heads> {
        let first = cache.as_ref().is_none_or(|cache| cache.is_empty());
        let Projected { q, r, keys } = self.project.forward(x, with, first || with.context.is_none())?;
        let q = match &self.qk_norm {
            Some(norm) => norm.query(&q)?,
            None => q,
        };
        let q = by_head(&with.rotation.map_or_else(|| Ok(q.clone()), |rotation| rotation.query(&q))?)?;
        let r = r.as_ref().map(by_head).transpose()?;
        let new = keys.map(|keys| self.placed(keys, with)).transpose()?;
        let new = if first { new.map(|new| self.in_front(new)).transpose()? } else { new };
        let all = match (cache, new) {
            (None, new) => new,
            (Some(cache), new) => {
                new.map_or(Ok(()), |(k, v)| cache.append(&k, &v))?;
                Some(cache.all()?)
            }
        };
        let (k, v) = all.ok_or_else(|| Error::Internal("no keys".into()))?;
        Ok(Heads { q, k, v, r })
    }

    /// Keys and values with norm and positions, (batch, heads, j, width).
    fn placed(&self, (mut k, mut v): (Tensor, Tensor), with: &AttentionInputs) -> Result<(Tensor, Tensor)> {
        if let Some(norm) = &self.qk_norm {
            k = norm.key(&k)?;
        }
        if let Some(rotation) = with.rotation {
            (k, v) = (rotation.key(&k)?, rotation.key(&v)?);
        }
        Ok((by_head(&k)?, by_head(&v)?))
    }

    /// The same with learned keys and values in front.
    fn in_front(&self, (k, v): (Tensor, Tensor)) -> Result<(Tensor, Tensor)> {
        match &self.memory {
            Some(memory) => memory.forward(&k, &v, self.qk_norm.as_ref()),
            None => Ok((k, v)),
        }
    }

    /// The masks over `j` keys, of which they cover the last `covered`.
    fn masks<'a>(&self, covered: usize, j: usize, with: &AttentionInputs<'a>) -> Masks<'a> {
        Masks {
            keys: with.context_mask.or(with.mask),
            pairs: with.attn_mask,
            cross: with.context.is_some(),
            borrowed: with.context_mask.is_none(),
            front: j - covered,
            max_attend_past: self.max_attend_past,
            causal: self.causal,
        }
    }

    /// Softmax of the scores, after talking heads and biases, under all masks.
    /// `covered` is the number of keys that the masks are about: the last ones.
    fn weights(&self, scores: &Tensor, covered: usize, with: &AttentionInputs) -> Result<Tensor> {
        let mut mixed = mix(&self.pre_talking, scores)?;
        if let Some(bias) = with.bias {
            mixed = bias.add_to(&mixed)?;
        }
        let dims = [scores.dim(0), scores.dim(1), scores.dim(2), scores.dim(3)];
        let mut mask = self.masks(covered, dims[3], with).combined(dims)?;
        if let Some(sparse) = &self.sparse {
            mask = sparse.restrict(&mixed, mask)?;
        }
        Ok(ops::masked_softmax(&mixed, &mask)?)
    }
}

fn mix(talking: &Option<TalkingHeads>, x: &Tensor) -> Result<Tensor> {
    talking.as_ref().map_or_else(|| Ok(x.clone()), |t| t.forward(x))
}

/// Rows where the mask is False become 0.
fn zero_masked(y: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let Some(mask) = mask else {
        return Ok(y.clone());
    };
    let rows = ops::reshape(mask, &[mask.dim(0), mask.dim(1), 1])?;
    Ok(ops::where_cond(&rows, y, &ops::scalar_like(y, 0.0)?)?)
}
