//! The transformer over tokens: token embedding, positions, layers, final norm and the head for
//! logits.

mod config;
mod embed;
mod head;
mod kinds;
mod pool;
mod tensors;

pub use config::TransformerConfig;
pub(super) use embed::{behind_front, prepended, refuse_front};
pub use head::HeadConfig;
pub use tensors::{Returns, TokenTensors, TransformerOutput};

use super::memory::{next_memories, PrefixTokens};
use crate::layers::{
    last_columns, AttentionLayers, Embedding, Intermediates, LastNorm, LayerNorm, LayerReturns,
    LayersCache, Linear,
};
use crate::position::PositionEmbedding;
use crate::{Ctx, Entry, Error, Init, Mode, Param, Params, Result, Tensor};
use head::Head;
use kinds::KindEmbeddings;
use pool::Pool;
use std::sync::Arc;
use xt_autograd::is_grad_enabled;
use xt_autograd::ops::{self, CrossEntropy};

/// A transformer over tokens.
pub struct TransformerWrapper {
    token_emb: Embedding,
    pos_emb: PositionEmbedding,
    kinds: KindEmbeddings,
    post_emb_norm: Option<LayerNorm>,
    /// The projection of the embeddings to the width of the layers; absent if the widths are equal.
    project_emb: Option<Linear>,
    memory_tokens: Option<PrefixTokens>,
    layers: Arc<AttentionLayers>,
    norm: LastNorm,
    /// What the head reads.
    pool: Pool,
    head: Head,
    /// Whether `forward` of the class removes the last axis of logits of width 1.
    squeezed: bool,
    /// The size of the vocabulary.
    num_tokens: usize,
    /// The width of the head.
    outputs: usize,
    /// The width of the token embeddings.
    emb_dim: usize,
    /// The factor of the token embeddings.
    emb_scale: f64,
    emb_dropout: f64,
    /// The share of the gradient that reaches the embeddings.
    emb_frac_gradient: f64,
    /// The largest length of a sequence with absolute positions, and the window of generation; 0
    /// for no such positions and no such window.
    max_seq_len: usize,
    /// The length of the returned memories, 0 for all; absent: memories cannot be returned.
    max_mem_len: Option<usize>,
    /// The number of layers by which memories move down in the next segment.
    shift_mem_down: usize,
    mode: Mode,
}

impl TransformerWrapper {
    /// Registers the parameters of the wrapper around `layers`, whose entries are `entries`. `tied`
    /// is a token embedding `(num_tokens, emb_dim)` of another model to share.
    pub fn new(
        layers: Arc<AttentionLayers>,
        entries: &[Entry],
        tied: Option<&Param>,
        config: &TransformerConfig,
        p: &mut Params,
    ) -> Self {
        let dim = layers.dim();
        let emb_dim = config.emb_dim.unwrap_or(dim);
        let num_tokens = config.num_tokens;
        let mut token_params = p.submodule("token_emb.emb");
        let token_emb = match tied {
            Some(weight) => Embedding::tied(weight, &mut token_params),
            None if config.l2norm_embed => {
                Embedding::normalised(num_tokens, emb_dim, &mut token_params)
            }
            None => {
                // Kaiming normal initialisation with the fan-in emb_dim
                let init = Init::Normal { std: (2.0 / emb_dim as f64).sqrt() };
                Embedding::new(num_tokens, emb_dim, init, &mut token_params)
            }
        };
        let known = layers.has_pos_emb();
        let pos_emb =
            PositionEmbedding::new(emb_dim, known, config.l2norm_embed, &config.sequence, p);
        let kinds = KindEmbeddings::new(&config.kinds, emb_dim, p);
        let post_emb_norm = config
            .post_emb_norm
            .then(|| layers.norm_of_width(emb_dim, &mut p.submodule("post_emb_norm")));
        let project_emb = (emb_dim != dim)
            .then(|| Linear::new(emb_dim, dim, true, &mut p.submodule("project_emb")));
        let memory_tokens = PrefixTokens::memory(config.num_memory_tokens, dim, p);
        let pool = Pool::new(config.pool.as_ref(), dim, p);
        p.submodule("attn_layers").include(entries);
        let norm = layers.last_norm(&mut p.submodule("norm"));
        let outputs = config.logits_dim.unwrap_or(num_tokens);
        let head = Head::new(dim, outputs, &config.head, p);
        Self {
            token_emb,
            pos_emb,
            kinds,
            post_emb_norm,
            project_emb,
            memory_tokens,
            norm,
            pool,
            head,
            squeezed: config.pool.as_ref().is_some_and(|pool| pool.squeeze_out_last_dim),
            layers,
            num_tokens,
            outputs,
            emb_dim,
            emb_scale: config.emb_scale,
            emb_dropout: config.sequence.emb_dropout.0,
            emb_frac_gradient: config.emb_frac_gradient,
            max_seq_len: config.sequence.max_seq_len,
            max_mem_len: config.max_mem_len,
            shift_mem_down: config.shift_mem_down,
            mode: Mode::default(),
        }
    }

    /// Training or evaluation mode of this wrapper; the layers have their own.
    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    /// The stack of layers.
    pub fn layers(&self) -> &AttentionLayers {
        &self.layers
    }

    /// The number of learned absolute positions; none without such.
    pub fn end_of_positions(&self) -> Option<usize> {
        matches!(self.pos_emb, PositionEmbedding::Absolute(_)).then_some(self.max_seq_len)
    }

    /// How many of the last tokens a generation sees.
    pub fn window(&self) -> usize {
        if self.max_seq_len == 0 {
            usize::MAX
        } else {
            self.max_seq_len
        }
    }

    /// The largest length of a sequence with absolute positions; 0 without these.
    pub fn max_seq_len(&self) -> usize {
        self.max_seq_len
    }

    /// Whether masked padding before the tokens changes the results of the tokens after it.
    pub fn affected_by_padding(&self, with: &TokenTensors) -> bool {
        self.layers.affected_by_padding(self.has_prefix(with), &with.layers)
    }

    /// As [`TransformerWrapper::affected_by_padding`], for a call that gives positions which count
    /// from the end of the padding.
    pub fn affected_by_padding_before(&self, with: &TokenTensors) -> bool {
        self.layers.affected_by_padding_before(self.has_prefix(with), &with.layers)
    }

    /// Whether something stands before the tokens.
    fn has_prefix(&self, with: &TokenTensors) -> bool {
        self.memory_tokens.is_some()
            || with.prepend_embeds.is_some()
            || !with.layers.mems.is_empty()
    }

    /// The width of the token embeddings.
    pub fn emb_dim(&self) -> usize {
        self.emb_dim
    }

    /// The size of the vocabulary.
    pub fn num_tokens(&self) -> usize {
        self.num_tokens
    }

    /// The width of the head.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The option with which there is no row of logits for each token; `None` if there is one.
    pub fn without_logits_by_token(&self) -> Option<&'static str> {
        let heads = match self.head.count() {
            0 => Some("return_only_embed"),
            1 => None,
            _ => Some("num_output_heads"),
        };
        self.pool.option().or(heads)
    }

    /// Whether there is a head, which gives logits.
    pub fn has_head(&self) -> bool {
        self.head.count() > 0
    }

    /// The option with which the head does not read each position; `None` if it does.
    pub fn without_positions(&self) -> Option<&'static str> {
        self.pool.option()
    }

    /// Whether `forward` of the class removes the last axis of logits of width 1.
    pub fn squeezes(&self) -> bool {
        self.squeezed && self.outputs == 1
    }

    /// The table of the token embedding, `(num_tokens, emb_dim)`.
    pub fn token_table(&self) -> &Param {
        self.token_emb.param()
    }

    /// The logits `(batch, n, width of the head)` of token ids, i64 `(batch, n)`.
    pub fn logits(&self, x: &Tensor, with: &TokenTensors, ctx: &Ctx) -> Result<Tensor> {
        let returns = Returns { logits: true, ..Returns::default() };
        let logits = self.forward(x, with, returns, ctx)?.logits.into_iter().next();
        logits.ok_or_else(|| Error::Internal("no logits".into()))
    }

    /// The mean cross-entropy between the logits of `x`, i64 `(batch, n)`, and `targets`, i64
    /// `(batch, n)`. `of` says which targets count. Prepended embeddings have no targets.
    pub fn cross_entropy(
        &self,
        x: &Tensor,
        with: &TokenTensors,
        targets: &Tensor,
        of: CrossEntropy,
        ctx: &Ctx,
    ) -> Result<Tensor> {
        let y = self.embeddings(x, with, ctx)?;
        let x = last_columns(&y, x.dim(1))?;
        self.head.cross_entropy(&x, &self.token_emb, targets, of)
    }

    /// What the head reads for token ids, i64 `(batch, n)`: `(batch, n, dim)` of the final norm, or
    /// what the pooling makes of it.
    pub fn embeddings(&self, x: &Tensor, with: &TokenTensors, ctx: &Ctx) -> Result<Tensor> {
        let returns = Returns { embeddings: true, ..Returns::default() };
        let embeddings = self.forward(x, with, returns, ctx)?.embeddings;
        embeddings.ok_or_else(|| Error::Internal("no embeddings".into()))
    }

    /// Runs the model on token ids, i64 `(batch, n)`, and returns the requested results.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if a tensor does not fit or an id is not in the vocabulary; `Aborted` if
    /// the call is cancelled.
    pub fn forward(
        &self,
        x: &Tensor,
        with: &TokenTensors,
        returns: Returns,
        ctx: &Ctx,
    ) -> Result<TransformerOutput> {
        let ctx = &ctx.for_model(&self.mode);
        let (embedded, inputs) = self.layer_inputs(x, with, 0, ctx)?;
        let record = LayerReturns {
            hiddens: returns.intermediates || returns.mems,
            maps: returns.intermediates,
        };
        let out = self.layers.forward(&embedded, &inputs, record, ctx)?;
        let mut x = self.norm.forward(&out.x)?;
        if let Some(memory) = &self.memory_tokens {
            x = memory.remove(&x)?;
        }
        x = self.pool.forward(&x, with.layers.mask.as_ref())?;
        let mems = || self.memories(&inputs.mems, &out.intermediates, !returns.attached_mems);
        let mems = returns.mems.then(mems).transpose()?;
        Ok(TransformerOutput {
            logits: match returns.logits {
                true => self.head.all(&x, &self.token_emb)?,
                false => Vec::new(),
            },
            embeddings: returns.embeddings.then_some(x),
            intermediates: out.intermediates,
            mems,
        })
    }

    /// Like [`TransformerWrapper::forward`] for tokens that follow those of `before`, the state
    /// that an earlier call has given; `None` for the first tokens. `x` contains only the new ids,
    /// i64 `(batch, new)`, but masks cover all tokens. Also returns the state with the new ones.
    ///
    /// # Errors
    ///
    /// Besides those of `forward`: [`Error::Shape`] if `before` is not of this model, if the
    /// layers cannot keep keys and values, or while a graph is recorded.
    pub fn forward_after(
        &self,
        x: &Tensor,
        with: &TokenTensors,
        (before, returns): (Option<&[Tensor]>, Returns),
        ctx: &Ctx,
    ) -> Result<(TransformerOutput, Vec<Tensor>)> {
        if let Some(reason) = self.not_cacheable().or(self.without_positions()) {
            return Error::shape(format!("no cache can be kept: {reason}"));
        }
        if is_grad_enabled() {
            return Error::shape("a cache has no gradients: call the model within noGrad");
        }
        let ctx = &ctx.for_model(&self.mode);
        let mut cache = match before {
            Some(tensors) => self.layers.cache_of(tensors)?,
            None => self.layers.cache(0),
        };
        if !self.layers.goes_on(&cache, x.dims().last().copied().unwrap_or(0)) {
            return Error::shape(
                "cache is of a shorter sequence, in which `rotary_scaling` has other angles: compute \
                 the positions before anew",
            );
        }
        let past = cache.seen();
        let (embedded, inputs) = self.layer_inputs(x, with, past, ctx)?;
        let y = self.layers.forward_cached(&embedded, &inputs, &mut cache, ctx)?;
        let mut y = self.norm.forward(&y)?;
        if let Some(memory) = self.memory_tokens.as_ref().filter(|_| past == 0) {
            y = memory.remove(&y)?;
        }
        let logits = match returns.logits {
            true => self.head.all(&y, &self.token_emb)?,
            false => Vec::new(),
        };
        let (embeddings, intermediates) = (returns.embeddings.then_some(y), Default::default());
        let output = TransformerOutput { logits, embeddings, intermediates, mems: None };
        Ok((output, self.layers.cache_tensors(&cache, &embedded.device())?))
    }

    /// The logits of the token that follows the last one, `(batch, width of the head)`. Without a
    /// cache, `x` contains all ids, i64 `(batch, n)`; with a cache, only those that the cache has
    /// not seen. The tensors in `with` cover all tokens.
    pub fn next_logits(
        &self,
        x: &Tensor,
        with: &TokenTensors,
        cache: Option<&mut LayersCache>,
        ctx: &Ctx,
    ) -> Result<Tensor> {
        let ctx = &ctx.for_model(&self.mode);
        let past = cache.as_ref().map_or(0, |cache| cache.seen());
        let (embedded, inputs) = self.layer_inputs(x, with, past, ctx)?;
        let y = match cache {
            Some(cache) => self.layers.forward_cached(&embedded, &inputs, cache, ctx)?,
            None => self.layers.forward(&embedded, &inputs, LayerReturns::default(), ctx)?.x,
        };
        let last = self.norm.forward(&last_columns(&y, 1)?)?;
        let logits = self.head.forward(&last, &self.token_emb)?;
        Ok(ops::reshape(&logits, &[x.dim(0), self.outputs])?)
    }

    /// The reason why generation cannot cache keys and values, or `None` if it can.
    pub fn not_cacheable(&self) -> Option<&'static str> {
        self.layers.not_cacheable()
    }

    /// An empty cache for a generation. `expected` is the number of tokens expected after the first
    /// step.
    pub fn cache(&self, expected: usize) -> LayersCache {
        self.layers.cache(expected)
    }

    /// The memories for the next segment, with `detach` without the autograd graph.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] without the option `max_mem_len`.
    fn memories(
        &self,
        old: &[Tensor],
        intermediates: &Intermediates,
        detach: bool,
    ) -> Result<Vec<Tensor>> {
        let Some(most) = self.max_mem_len else {
            return Error::shape(
                "return_mems needs the option `max_mem_len`: the length of the memories, 0 for all",
            );
        };
        next_memories(old, &intermediates.hiddens, most, detach)
    }
}
