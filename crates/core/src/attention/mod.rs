//! Multi-head attention as a pipeline of steps that options enable. Each variant has its own file.
//!
//! Shapes: `x` is `(batch, i, dim)` and the context `(batch, j, dim)`. Queries, keys and values are
//! `(batch, heads, i or j, head dimension)`; keys and values may have a single head that all query
//! heads share. Scores are `(batch, heads, i, j)`.
//!
//! Source: Attention Is All You Need, <https://arxiv.org/abs/1706.03762>.

mod cache;
mod heads;
mod inputs;
mod mask;
mod memory_kv;
mod output;
mod qk_norm;
mod qk_rms_norm;
mod sinks;
mod sparse_topk;
mod talking_heads;
mod value_residual;

pub use cache::KeyValues;
pub use heads::Widths;
pub use inputs::{Attended, AttentionInputs, AttentionMaps};

use crate::layers::{dropout, fused_dropout, Linear};
use crate::needs::{Needs, Variant};
use crate::position::Span;
use crate::{Ctx, Error, Params, Result, Tensor};
use heads::{by_head, by_shared_heads, Heads, Projected, Projection};
use mask::{require_mask, Masks};
use memory_kv::MemoryKv;
use output::{Gates, Output};
use qk_norm::QkNorm;
use qk_rms_norm::QkRmsNorm;
use sinks::Sinks;
use sparse_topk::SparseTopk;
use talking_heads::TalkingHeads;
use value_residual::ValueResidual;
use xt_autograd::ops::{self, AttentionSettings};
use xt_options::attention::AttentionBlockOptions;
use xt_options::LayerKind;

/// A multi-head attention layer without norm and residual.
pub struct Attention {
    project: Projection,
    qk_norm: Option<QkNorm>,
    qk_rms_norm: Option<QkRmsNorm>,
    sinks: Option<Sinks>,
    pre_talking: Option<TalkingHeads>,
    post_talking: Option<TalkingHeads>,
    memory: Option<MemoryKv>,
    sparse: Option<SparseTopk>,
    output: Output,
    /// The factor of the products of queries and keys.
    scale: f64,
    /// The limit of the scores.
    softcap: Option<f64>,
    dropout: f64,
    /// Dropout of the output.
    sublayer_dropout: f64,
    value_residual: ValueResidual,
    causal: bool,
    /// The largest distance to an earlier key that a query may attend to.
    max_attend_past: Option<usize>,
}

impl Attention {
    /// Registers the parameters of an attention of these widths. `mixes_values` tells whether it
    /// learns the share of its own values, when these are mixed with those of the first attention.
    pub fn new(
        widths: Widths,
        heads: usize,
        (causal, mixes_values): (bool, bool),
        options: &AttentionBlockOptions,
        p: &mut Params,
    ) -> Self {
        let dim_head = options.dim_head.get();
        let usual =
            if options.qk_norm { options.qk_norm_scale } else { (dim_head as f64).powf(-0.5) };
        let scale = options.scale.unwrap_or(usual);
        // the order of registration is the order in the state dict of the Python package
        let project = Projection::new(widths, heads, options, p);
        let qk_norm = options.qk_norm.then(|| QkNorm::new(options, p));
        let qk_rms_norm =
            (options.qk_rmsnorm || options.k_rmsnorm).then(|| QkRmsNorm::new(heads, options, p));
        let sinks = Sinks::new(heads, options, p);
        let gates = Gates::new(widths.input, heads, options, p);
        let memory = (options.num_mem_kv > 0).then(|| MemoryKv::new(heads, options, p));
        let talking = |name: &str| {
            options.talking_heads.then(|| TalkingHeads::new(heads, &mut p.submodule(name)))
        };
        Self {
            project,
            qk_norm,
            qk_rms_norm,
            sinks,
            pre_talking: talking("pre_softmax_talking_heads"),
            post_talking: talking("post_softmax_talking_heads"),
            memory,
            sparse: options.sparse_topk.map(|k| SparseTopk::new(k.get())),
            output: Output::new(widths.output, heads, gates, options, p),
            scale,
            softcap: options.softclamp_logits.then_some(options.logit_softclamp_value),
            dropout: options.dropout.0,
            sublayer_dropout: options.sublayer_dropout.0,
            value_residual: ValueResidual::new(
                widths.context,
                options.key_heads(heads),
                mixes_values,
                p,
            ),
            causal,
            max_attend_past: options.max_attend_past,
        }
    }

    /// The number of learned keys and values.
    pub fn num_mem_kv(&self) -> usize {
        self.memory.as_ref().map_or(0, MemoryKv::count)
    }

    /// Whether kept keys and values can be its own.
    pub fn takes(&self, kept: &KeyValues) -> bool {
        kept.widths() == Some(self.project.key_widths())
    }

    /// The layer at its end.
    pub fn last_layer(&self) -> Option<&Linear> {
        self.output.last_layer()
    }

    /// Applies attention to `x`, `(batch, i, dim)`. With a cache, the keys and values of earlier
    /// positions (in cross attention, those of the context) are read from the cache.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if a mask does not fit.
    pub fn forward(
        &self,
        x: &Tensor,
        with: &AttentionInputs,
        cache: Option<&mut KeyValues>,
        ctx: &Ctx,
    ) -> Result<Attended> {
        if let Some(mask) = with.mask {
            require_mask(mask, "mask", &[x.dim(0), x.dim(1)])?;
        }
        // q (batch, heads, i, d), k and v (batch, heads, j, d)
        let (heads, values) = self.project_heads(x, with, cache)?;
        let mask_len = with.context.map_or(with.past + x.dim(1), |context| context.dim(1));
        // sums of values: (batch, heads, i, value dimension)
        let (sums, maps) = if self.can_fuse(with) {
            (self.fused(&heads, mask_len, with, ctx)?, None)
        } else {
            let (sums, maps) = self.unfused(&heads, mask_len, with, ctx)?;
            (sums, with.maps.then_some(maps))
        };
        let y = self.output.forward(&sums, heads.r.as_ref(), x)?;
        let y = zero_masked(&dropout(&y, self.sublayer_dropout, ctx)?, with.mask)?;
        Ok(Attended { y, maps, values })
    }

    /// What it needs as a sub-layer of this kind; `cross_attend` is whether there is a context,
    /// without which a cross attention attends to the sequence itself.
    pub fn needs(&self, kind: LayerKind, cross_attend: bool) -> Needs {
        let cross = kind == LayerKind::CrossAttention;
        let sees_later = if cross { !cross_attend } else { !self.causal };
        let limited = self.max_attend_past.is_some();
        let own = Needs {
            sees_later: sees_later.then_some("an attention sees later positions: take a Decoder"),
            varies_with_length: (cross && limited).then_some(
                "`attn_max_attend_past` counts from the end of the context for the last token, which moves with each token",
            ),
            distance: limited,
            ..Needs::NONE
        };
        own.and(self.variants())
    }

    /// What its variants need.
    fn variants(&self) -> Needs {
        // every field stands here, so that a new one does not compile before its needs are told
        let Self {
            qk_norm,
            qk_rms_norm,
            sinks,
            pre_talking,
            post_talking,
            memory,
            sparse,
            // these work on each position alone, or see `needs`
            project: _,
            output: _,
            scale: _,
            softcap: _,
            dropout: _,
            sublayer_dropout: _,
            value_residual: _,
            causal: _,
            max_attend_past: _,
        } = self;
        let all: [&dyn Variant; 7] =
            [qk_norm, qk_rms_norm, sinks, pre_talking, post_talking, memory, sparse];
        all.into_iter().map(Variant::needs).fold(Needs::NONE, Needs::and)
    }

    /// Whether the fused kernel can be used: no option needs the full matrix of scores.
    fn can_fuse(&self, with: &AttentionInputs) -> bool {
        let given = with.bias.is_some_and(|bias| bias.positions().is_some());
        !(self.variants().whole_scores || with.previous.is_some() || with.maps || given)
    }

    /// Attention by the fused kernel, which does not store the scores. Returns
    /// `(batch, heads, i, value dimension)`. `mask_len` is the number of keys, counted from the
    /// end, that the masks cover.
    fn fused(
        &self,
        heads: &Heads,
        mask_len: usize,
        with: &AttentionInputs,
        ctx: &Ctx,
    ) -> Result<Tensor> {
        let (q, j) = (&heads.q, heads.k.dim(2));
        let mask = self.masks(mask_len, j, with).combined([q.dim(0), q.dim(1), q.dim(2), j])?;
        let span = Span { queries: q.dim(2), keys: j };
        // (heads, i + j - 1)
        let bias = with.bias.map(|bias| bias.by_distance(span, q)).transpose()?;
        let sinks = self.sinks.as_ref().map(|sinks| sinks.scores(q.dim(1), q)).transpose()?;
        let settings = AttentionSettings {
            bias: bias.as_ref(),
            sinks: sinks.as_ref(),
            scale: self.scale,
            softcap: self.softcap,
            mask: &mask,
            dropout: fused_dropout(self.dropout, ctx),
        };
        Ok(ops::attention((q, &heads.k, &heads.v), &settings)?)
    }

    /// Attention with explicit scores. Returns the weighted sums of the values,
    /// `(batch, heads, i, value dimension)`, and the attention maps. `mask_len` is the number of
    /// keys, counted from the end, that the masks cover.
    fn unfused(
        &self,
        heads: &Heads,
        mask_len: usize,
        with: &AttentionInputs,
        ctx: &Ctx,
    ) -> Result<(Tensor, AttentionMaps)> {
        // (batch, heads, i, j)
        let keys = ops::transpose(&heads.k, 2, 3)?;
        let mut scores = by_shared_heads(&heads.q, &keys, self.scale)?;
        if let Some(previous) = with.previous {
            scores = ops::add(&scores, previous)?;
        }
        let weights = self.weights(&scores, mask_len, with)?;
        let maps = AttentionMaps { pre_softmax_attn: scores, post_softmax_attn: weights.clone() };
        let mixed = mix(&self.post_talking, &dropout(&weights, self.dropout, ctx)?)?;
        Ok((by_shared_heads(&mixed, &heads.v, 1.0)?, maps))
    }

    /// Projects queries, keys and values and applies norm, rotary positions, memory keys and
    /// values, and the cache. Also returns the new values as they were projected,
    /// `(batch, j, heads, value dimension)`, if `with.keep_values` is set.
    fn project_heads(
        &self,
        x: &Tensor,
        with: &AttentionInputs,
        cache: Option<&mut KeyValues>,
    ) -> Result<(Heads, Option<Tensor>)> {
        let first = cache.as_ref().is_none_or(|cache| cache.is_empty());
        let Projected { q, r, mut keys, source } =
            self.project.forward(x, with, first || with.context.is_none())?;
        let values = keys.as_ref().filter(|_| with.keep_values).map(|(_, v)| v.clone());
        if let (Some((_, v)), Some(others)) = (&mut keys, with.first_values) {
            *v = self.value_residual.forward(others, v, &source)?;
        }
        let q = match (&self.qk_norm, &self.qk_rms_norm) {
            (Some(norm), _) => norm.query(&q)?,
            (None, Some(norm)) => norm.query(&q)?,
            (None, None) => q,
        };
        // (batch, heads, i, head dimension)
        let q =
            by_head(&with.rotation.map_or_else(|| Ok(q.clone()), |rotation| rotation.query(&q))?)?;
        let r = r.as_ref().map(by_head).transpose()?;
        let new = keys.map(|keys| self.normed_and_rotated(keys, with)).transpose()?;
        let new = if first { new.map(|new| self.with_memory(new)).transpose()? } else { new };
        let all = match (cache, new) {
            (None, new) => new,
            (Some(cache), new) => {
                new.map_or(Ok(()), |(k, v)| cache.append(&k, &v))?;
                Some(cache.all()?)
            }
        };
        let (k, v) = all.ok_or_else(|| Error::Internal("no keys".into()))?;
        Ok((Heads { q, k, v, r }, values))
    }

    /// Applies norm and rotary positions to projected keys and values, `(batch, j, heads, width)`.
    /// Returns both as `(batch, heads, j, width)`.
    fn normed_and_rotated(
        &self,
        (mut k, mut v): (Tensor, Tensor),
        with: &AttentionInputs,
    ) -> Result<(Tensor, Tensor)> {
        if let Some(norm) = &self.qk_norm {
            k = norm.key(&k)?;
        }
        if let Some(norm) = &self.qk_rms_norm {
            k = norm.key(&k)?;
        }
        if let Some(rotation) = with.rotation {
            (k, v) = (rotation.key(&k)?, rotation.value(&v)?);
        }
        Ok((by_head(&k)?, by_head(&v)?))
    }

    /// Prepends the learned keys and values, if there are any: `(batch, heads, j, width)` to
    /// `(batch, heads, count + j, width)`.
    fn with_memory(&self, (k, v): (Tensor, Tensor)) -> Result<(Tensor, Tensor)> {
        match &self.memory {
            Some(memory) => memory.forward(&k, &v, self.qk_norm.as_ref()),
            None => Ok((k, v)),
        }
    }

    /// The masks for `j` keys. They cover the last `mask_len` keys; those before are always
    /// allowed.
    fn masks<'a>(&self, mask_len: usize, j: usize, with: &AttentionInputs<'a>) -> Masks<'a> {
        Masks {
            keys: with.context_mask.or(with.mask),
            memories: with.mem_mask,
            pairs: with.attn_mask,
            cross: with.context.is_some(),
            from_queries: with.context_mask.is_none(),
            prefix: j - mask_len,
            max_attend_past: self.max_attend_past,
            causal: with.causal.unwrap_or(self.causal),
            bounds: with.bounds.map(|bounds| &**bounds),
        }
    }

    /// The attention weights `(batch, heads, i, j)`: softmax of the scores after talking heads and
    /// position bias, under all masks. `mask_len` is the number of keys, counted from the end, that
    /// the masks cover.
    fn weights(&self, scores: &Tensor, mask_len: usize, with: &AttentionInputs) -> Result<Tensor> {
        let mut mixed = mix(&self.pre_talking, scores)?; // (batch, heads, i, j)
        if let Some(bias) = with.bias {
            mixed = bias.add_to(&mixed)?;
        }
        if let Some(cap) = self.softcap {
            mixed = ops::affine(&ops::tanh(&ops::affine(&mixed, 1.0 / cap, 0.0)?)?, cap, 0.0)?;
        }
        let dims = [scores.dim(0), scores.dim(1), scores.dim(2), scores.dim(3)];
        let mut mask = self.masks(mask_len, dims[3], with).combined(dims)?;
        if let Some(sparse) = &self.sparse {
            mask = sparse.restrict(&mixed, mask)?;
        }
        match &self.sinks {
            Some(sinks) => sinks.softmax(&mixed, &mask),
            None => Ok(ops::masked_softmax(&mixed, &mask)?),
        }
    }
}

/// Applies talking heads to `x`, `(batch, heads, i, j)`, if they are enabled.
fn mix(talking: &Option<TalkingHeads>, x: &Tensor) -> Result<Tensor> {
    talking.as_ref().map_or_else(|| Ok(x.clone()), |t| t.forward(x))
}

/// Sets the rows of `y`, `(batch, i, dim)`, to 0 where `mask`, `(batch, i)`, is false.
fn zero_masked(y: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
    let Some(mask) = mask else {
        return Ok(y.clone());
    };
    let rows = ops::reshape(mask, &[mask.dim(0), mask.dim(1), 1])?;
    Ok(ops::where_cond(&rows, y, &ops::scalar_like(y, 0.0)?)?)
}
