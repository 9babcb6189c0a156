//! A transformer over continuous vectors instead of tokens, with its autoregressive loss and
//! generation.

mod autoregressive;
mod generate;

pub use autoregressive::ContinuousAutoregressiveWrapper;

use super::transformer::{behind_front, prepended, refuse_front};
use crate::ids::dtype_name;
use crate::layers::{
    dropout, last_columns, AttentionLayers, Intermediates, LastNorm, LayerNorm, LayerReturns,
    LayerTensors, LayersCache, Linear,
};
use crate::position::PositionEmbedding;
use crate::{Ctx, Entry, Error, Mode, Params, Result, Tensor};
use std::sync::Arc;
use xt_autograd::ops;
use xt_options::wrappers::ContinuousTransformerWrapperOptions;

/// A transformer over continuous vectors.
pub struct ContinuousTransformerWrapper {
    /// The projection of the input to the width of the layers.
    project_in: Option<Linear>,
    pos_emb: PositionEmbedding,
    post_emb_norm: Option<LayerNorm>,
    layers: Arc<AttentionLayers>,
    norm: LastNorm,
    /// The projection to the output width.
    project_out: Option<Linear>,
    /// The width of the input.
    dim_in: usize,
    emb_dropout: f64,
    /// The number of last vectors that generation passes to the model.
    window: usize,
    mode: Mode,
}

/// The optional tensors that accompany the sequence `(batch, n, dim_in)`.
#[derive(Clone, Default)]
pub struct ContinuousTensors {
    /// i64 positions, `(n)` or `(batch, n)`, or position embeddings of another type.
    pub pos: Option<Tensor>,
    /// Embeddings to prepend to the sequence, `(batch, count, dim)`.
    pub prepend_embeds: Option<Tensor>,
    /// The tensors for the layers.
    pub layers: LayerTensors,
}

impl ContinuousTransformerWrapper {
    /// Registers the parameters of the wrapper around `layers`, whose entries are `entries`.
    pub fn new(
        layers: Arc<AttentionLayers>,
        entries: &[Entry],
        options: &ContinuousTransformerWrapperOptions,
        p: &mut Params,
    ) -> Self {
        let dim = layers.dim();
        let pos_emb =
            PositionEmbedding::new(dim, layers.has_pos_emb(), false, &options.sequence, p);
        let post_emb_norm = options
            .norm
            .post_emb_norm
            .then(|| layers.norm_of_width(dim, &mut p.submodule("post_emb_norm")));
        let linear = |name: &str, from, to| Linear::new(from, to, true, &mut p.submodule(name));
        let project_in = options.dim_in.map(|n| linear("project_in", n.get(), dim));
        p.submodule("attn_layers").include(entries);
        let norm = layers.last_norm(&mut p.submodule("norm"));
        let project_out = options.dim_out.map(|n| linear("project_out", dim, n.get()));
        Self {
            project_in,
            pos_emb,
            post_emb_norm,
            norm,
            project_out,
            dim_in: options.dim_in.map_or(dim, |n| n.get()),
            layers,
            emb_dropout: options.sequence.emb_dropout.0,
            window: options.sequence.window(),
            mode: Mode::default(),
        }
    }

    /// Training or evaluation mode of this wrapper; the layers have their own.
    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    /// Runs the model: `(batch, n, dim_in)` to `(batch, n, dim_out)`, or with `embeddings` to the
    /// output of the final norm, `(batch, n, dim)`. `n` of the output includes prepended
    /// embeddings.
    pub fn forward(
        &self,
        x: &Tensor,
        with: &ContinuousTensors,
        embeddings: bool,
        record: LayerReturns,
        ctx: &Ctx,
    ) -> Result<(Tensor, Intermediates)> {
        let ctx = &ctx.for_model(&self.mode);
        self.check(x)?;
        let y = self.embed(x, with, 0, ctx)?;
        let out = self.layers.forward(&y, &self.layer_inputs(with)?, record, ctx)?;
        Ok((self.head(&out.x, embeddings)?, out.intermediates))
    }

    /// Predicts the vector that follows the last one: `(batch, n, dim_in)` to
    /// `(batch, 1, dim_out)`. Without a cache, `x` contains all vectors; with a cache, only those
    /// that the cache has not seen.
    pub fn next(
        &self,
        x: &Tensor,
        with: &ContinuousTensors,
        cache: Option<&mut LayersCache>,
        ctx: &Ctx,
    ) -> Result<Tensor> {
        let ctx = &ctx.for_model(&self.mode);
        self.check(x)?;
        let y = match cache {
            None => {
                self.layers
                    .forward(
                        &self.embed(x, with, 0, ctx)?,
                        &self.layer_inputs(with)?,
                        LayerReturns::default(),
                        ctx,
                    )?
                    .x
            }
            Some(cache) => {
                let front = with.prepend_embeds.as_ref().map_or(0, |front| front.dim(1));
                let y = self.embed(x, with, cache.seen().saturating_sub(front), ctx)?;
                self.layers.forward_cached(&y, &self.layer_inputs(with)?, cache, ctx)?
            }
        };
        self.head(&last_columns(&y, 1)?, false)
    }

    /// The reason why generation cannot cache keys and values, or `None` if it can.
    pub fn not_cacheable(&self) -> Option<&'static str> {
        self.layers.not_cacheable()
    }

    /// Checks the shape and type of the input.
    fn check(&self, x: &Tensor) -> Result<()> {
        if x.rank() == 3 && x.dim(2) == self.dim_in && x.dtype().is_float() {
            return Ok(());
        }
        let (kind, width) = (dtype_name(x), self.dim_in);
        Error::shape(format!(
            "x must be floating-point of shape (batch, length, {width}), got {kind} of shape {:?}",
            x.dims()
        ))
    }

    /// The input of the layers, `(batch, n, dim)`, for vectors that follow `past` earlier ones.
    /// Embeddings are prepended only if `past` is 0.
    fn embed(
        &self,
        x: &Tensor,
        with: &ContinuousTensors,
        past: usize,
        ctx: &Ctx,
    ) -> Result<Tensor> {
        if let Some(segments) = &with.layers.segments {
            segments.check([x.dim(0), x.dim(1)])?;
            refuse_front(with.prepend_embeds.is_some(), "prepend_embeds")?;
        }
        let mut y =
            self.project_in.as_ref().map_or_else(|| Ok(x.clone()), |linear| linear.forward(x))?;
        let pos = self.pos_emb.of_segments(with.pos.as_ref(), with.layers.segments.as_deref())?;
        if let Some(positions) = self.pos_emb.forward_after(past, x.dim(1), pos.as_ref())? {
            y = ops::add(&y, &positions)?;
        }
        if let Some(norm) = &self.post_emb_norm {
            y = norm.forward(&y)?;
        }
        if let Some(front) = with.prepend_embeds.as_ref().filter(|_| past == 0) {
            y = prepended(front, &y, self.layers.dim())?;
        }
        dropout(&y, self.emb_dropout, ctx)
    }

    /// What accompanies the input of the layers.
    fn layer_inputs(&self, with: &ContinuousTensors) -> Result<LayerTensors> {
        let mut inputs = with.layers.clone();
        if self.layers.takes_pos() {
            let front = with.prepend_embeds.as_ref().map_or(0, |front| front.dim(1));
            inputs.pos = behind_front(with.pos.as_ref(), front)?;
        }
        Ok(inputs)
    }

    /// The final norm and, unless `embeddings` is set, the output projection.
    fn head(&self, x: &Tensor, embeddings: bool) -> Result<Tensor> {
        let y = self.norm.forward(x)?;
        match &self.project_out {
            Some(linear) if !embeddings => linear.forward(&y),
            _ => Ok(y),
        }
    }
}
