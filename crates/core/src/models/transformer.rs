//! The transformer over tokens: token embedding, positions, layers, final norm and the head for
//! logits.

use super::memory::{next_memories, shifted_down, MemoryTokens};
use crate::ids::{not_ids, outside};
use crate::layers::{
    dropout, last_columns, AttentionLayers, Embedding, Intermediates, LayerNorm, LayerTensors,
    LayersCache, Linear, Record,
};
use crate::position::PositionEmbedding;
use crate::{Ctx, DType, Entry, Error, Init, Mode, Param, Params, Result, Tensor};
use std::sync::Arc;
use xt_autograd::ops;
use xt_options::wrappers::{SequenceOptions, TokenOptions, TransformerWrapperOptions};

/// A transformer over tokens.
pub struct TransformerWrapper {
    token_emb: Embedding,
    pos_emb: PositionEmbedding,
    post_emb_norm: Option<LayerNorm>,
    /// The projection of the embeddings to the width of the layers; absent if the widths are equal.
    project_emb: Option<Linear>,
    memory_tokens: Option<MemoryTokens>,
    layers: Arc<AttentionLayers>,
    norm: LayerNorm,
    /// The head; absent if the token embedding serves as the head (tied weights).
    to_logits: Option<Linear>,
    /// The size of the vocabulary.
    num_tokens: usize,
    /// The width of the head.
    outputs: usize,
    /// The width of the token embeddings.
    emb_dim: usize,
    emb_dropout: f64,
    /// The share of the gradient that reaches the embeddings.
    emb_frac_gradient: f64,
    /// The largest length of a sequence with absolute positions, and the window of generation.
    max_seq_len: usize,
    /// The length of the returned memories, 0 for all; absent: memories cannot be returned.
    max_mem_len: Option<usize>,
    /// The number of layers by which memories move down in the next segment.
    shift_mem_down: usize,
    mode: Mode,
}

/// The optional tensors that accompany the tokens, `(batch, n)`.
#[derive(Clone, Default)]
pub struct TokenTensors {
    /// i64 positions, `(n)` or `(batch, n)`, or position embeddings of another type.
    pub pos: Option<Tensor>,
    /// Embeddings to prepend to the sequence, `(batch, count, emb_dim)`.
    pub prepend_embeds: Option<Tensor>,
    /// Embeddings to add to the token embeddings, `(batch, n, emb_dim)`.
    pub sum_embeds: Option<Tensor>,
    /// The tensors for the layers.
    pub layers: LayerTensors,
}

/// Which results a forward pass returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Returns {
    /// The logits.
    pub logits: bool,
    /// The output of the final norm.
    pub embeddings: bool,
    /// Inputs of the self attentions, and attention maps.
    pub intermediates: bool,
    /// The memories for the next segment.
    pub mems: bool,
}

/// The requested results of a forward pass.
pub struct TransformerOutput {
    /// `(batch, n, width of the head)`, where `n` includes prepended embeddings.
    pub logits: Option<Tensor>,
    /// The output of the final norm, `(batch, n, dim)`, where `n` includes prepended embeddings.
    pub embeddings: Option<Tensor>,
    /// The intermediates of the layers; empty if not requested.
    pub intermediates: Intermediates,
    /// The memories of each self attention for the next segment, `(batch, count, dim)` each.
    pub mems: Option<Vec<Tensor>>,
}

/// The configuration of a transformer over tokens, without its layers.
#[derive(Clone)]
pub struct TransformerConfig {
    /// The size of the vocabulary.
    pub num_tokens: usize,
    /// Sequence length, positions and dropout of the embeddings.
    pub sequence: SequenceOptions,
    /// The width of the embeddings; absent: the width of the layers.
    pub emb_dim: Option<usize>,
    /// The width of the head; absent: `num_tokens`.
    pub logits_dim: Option<usize>,
    /// The number of learned tokens before the sequence.
    pub num_memory_tokens: usize,
    /// Layer normalisation of the embeddings.
    pub post_emb_norm: bool,
    /// Scale token and position embeddings to length 1.
    pub l2norm_embed: bool,
    /// Use the token embedding as the head.
    pub tie_embedding: bool,
    /// The share of the gradient that reaches the embeddings.
    pub emb_frac_gradient: f64,
    /// The length of the returned memories, 0 for all; absent: memories cannot be returned.
    pub max_mem_len: Option<usize>,
    /// The number of layers by which memories move down in the next segment.
    pub shift_mem_down: usize,
}

impl TransformerConfig {
    /// The default configuration with this vocabulary, sequence and number of memory tokens.
    pub fn plain(
        tokens: &TokenOptions,
        sequence: &SequenceOptions,
        num_memory_tokens: Option<usize>,
    ) -> Self {
        Self {
            num_tokens: tokens.num_tokens.get(),
            sequence: sequence.clone(),
            emb_dim: None,
            logits_dim: None,
            num_memory_tokens: num_memory_tokens.unwrap_or(0),
            post_emb_norm: false,
            l2norm_embed: false,
            tie_embedding: false,
            emb_frac_gradient: 1.0,
            max_mem_len: None,
            shift_mem_down: 0,
        }
    }
}

impl From<&TransformerWrapperOptions> for TransformerConfig {
    fn from(o: &TransformerWrapperOptions) -> Self {
        Self {
            emb_dim: o.emb_dim.map(|n| n.get()),
            logits_dim: o.logits_dim.map(|n| n.get()),
            post_emb_norm: o.norm.post_emb_norm,
            l2norm_embed: o.l2norm_embed,
            tie_embedding: o.tie_embedding,
            emb_frac_gradient: o.emb_frac_gradient,
            max_mem_len: o.max_mem_len,
            shift_mem_down: o.shift_mem_down,
            ..Self::plain(&o.tokens, &o.sequence, o.memory.num_memory_tokens)
        }
    }
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
        let mut token_params = p.under("token_emb.emb");
        let token_emb = match tied {
            Some(weight) => Embedding::tied(weight, &mut token_params),
            None if config.l2norm_embed => {
                Embedding::normalised(num_tokens, emb_dim, &mut token_params)
            }
            None => {
                // Kaiming normal initialisation with the fan-in emb_dim
                let law = Init::Normal { std: (2.0 / emb_dim as f64).sqrt() };
                Embedding::new(num_tokens, emb_dim, law, &mut token_params)
            }
        };
        let known = layers.has_pos_emb();
        let pos_emb =
            PositionEmbedding::new(emb_dim, known, config.l2norm_embed, &config.sequence, p);
        let post_emb_norm =
            config.post_emb_norm.then(|| LayerNorm::new(emb_dim, &mut p.under("post_emb_norm")));
        let project_emb =
            (emb_dim != dim).then(|| Linear::new(emb_dim, dim, true, &mut p.under("project_emb")));
        let memory_tokens = MemoryTokens::new(config.num_memory_tokens, dim, p);
        p.under("attn_layers").include(entries);
        let norm = LayerNorm::new(dim, &mut p.under("norm"));
        let outputs = config.logits_dim.unwrap_or(num_tokens);
        let head = || Linear::new(dim, outputs, true, &mut p.under("to_logits"));
        Self {
            token_emb,
            pos_emb,
            post_emb_norm,
            project_emb,
            memory_tokens,
            norm,
            to_logits: (!config.tie_embedding).then(head),
            layers,
            num_tokens,
            outputs,
            emb_dim,
            emb_dropout: config.sequence.emb_dropout.0,
            emb_frac_gradient: config.emb_frac_gradient,
            max_seq_len: config.sequence.max_seq_len.get(),
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

    /// The largest length of a sequence with absolute positions, and the window of generation.
    pub fn max_seq_len(&self) -> usize {
        self.max_seq_len
    }

    /// Whether masked padding before the tokens changes the results of the tokens after it.
    pub fn padding_shows(&self, with: &TokenTensors) -> bool {
        let in_front = self.memory_tokens.is_some()
            || with.prepend_embeds.is_some()
            || !with.layers.mems.is_empty();
        self.layers.padding_shows(in_front)
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

    /// The table of the token embedding, `(num_tokens, emb_dim)`.
    pub fn token_table(&self) -> &Param {
        self.token_emb.param()
    }

    /// The logits `(batch, n, width of the head)` of token ids, i64 `(batch, n)`.
    pub fn logits(&self, x: &Tensor, with: &TokenTensors, ctx: &Ctx) -> Result<Tensor> {
        let returns = Returns { logits: true, ..Returns::default() };
        let logits = self.forward(x, with, returns, ctx)?.logits;
        logits.ok_or_else(|| Error::Internal("no logits".into()))
    }

    /// The mean cross-entropy between the logits of `x`, i64 `(batch, n)`, and `targets`, i64
    /// `(batch, n)`. Targets equal to `ignore_index` are excluded.
    pub fn cross_entropy(
        &self,
        x: &Tensor,
        with: &TokenTensors,
        targets: &Tensor,
        ignore_index: i64,
        ctx: &Ctx,
    ) -> Result<Tensor> {
        let x = self.embeddings(x, with, ctx)?;
        match &self.to_logits {
            Some(linear) => linear.cross_entropy(&x, targets, ignore_index),
            None => self.token_emb.cross_entropy(&x, targets, ignore_index),
        }
    }

    /// The output of the final norm, `(batch, n, dim)`, for token ids, i64 `(batch, n)`.
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
        let ctx = &ctx.inside(&self.mode);
        let (embedded, inputs) = self.layer_inputs(x, with, 0, ctx)?;
        let record =
            Record { hiddens: returns.intermediates || returns.mems, maps: returns.intermediates };
        let out = self.layers.forward(&embedded, &inputs, record, ctx)?;
        let mut x = self.norm.forward(&out.x)?;
        if let Some(memory) = &self.memory_tokens {
            x = memory.cut(&x)?;
        }
        let mems =
            returns.mems.then(|| self.memories(&inputs.mems, &out.intermediates)).transpose()?;
        Ok(TransformerOutput {
            logits: returns.logits.then(|| self.head(&x)).transpose()?,
            embeddings: returns.embeddings.then_some(x),
            intermediates: out.intermediates,
            mems,
        })
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
        let ctx = &ctx.inside(&self.mode);
        let past = cache.as_ref().map_or(0, |cache| cache.seen());
        let (embedded, inputs) = self.layer_inputs(x, with, past, ctx)?;
        let y = match cache {
            Some(cache) => self.layers.forward_cached(&embedded, &inputs, cache, ctx)?,
            None => self.layers.forward(&embedded, &inputs, Record::default(), ctx)?.x,
        };
        let logits = self.head(&self.norm.forward(&last_columns(&y, 1)?)?)?;
        Ok(ops::reshape(&logits, &[x.dim(0), self.outputs])?)
    }

    /// The reason why generation cannot cache keys and values, or `None` if it can.
    pub fn not_cacheable(&self) -> Option<&'static str> {
        self.layers.not_cacheable()
    }

    /// An empty cache for a generation. `room` is the number of tokens expected after the first
    /// step.
    pub fn cache(&self, room: usize) -> LayersCache {
        self.layers.cache(room)
    }

    /// The input of the layers, `(batch, n, dim)`, and its accompanying tensors, for tokens that
    /// follow `past` positions of the layers. Memory tokens and embeddings are prepended only in
    /// the first step (`past` is 0).
    fn layer_inputs(
        &self,
        x: &Tensor,
        with: &TokenTensors,
        past: usize,
        ctx: &Ctx,
    ) -> Result<(Tensor, LayerTensors)> {
        let front = self.memory_tokens.as_ref().map_or(0, MemoryTokens::count);
        let prepended = with.prepend_embeds.as_ref().map_or(0, |front| front.dim(1));
        let mut embedded = self.embed(x, with, past.saturating_sub(front + prepended), ctx)?;
        let mut inputs = with.layers.clone();
        if let Some(memory) = &self.memory_tokens {
            memory.extend_masks(&mut inputs)?;
            if past == 0 {
                embedded = memory.prepend(&embedded)?;
            }
        }
        inputs.mems = shifted_down(&inputs.mems, self.shift_mem_down);
        Ok((embedded, inputs))
    }

    /// `(batch, n, dim)` to logits `(batch, n, width of the head)`.
    fn head(&self, x: &Tensor) -> Result<Tensor> {
        match &self.to_logits {
            Some(linear) => linear.forward(x),
            None => self.token_emb.project_back(x),
        }
    }

    /// The memories for the next segment.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] without the option `max_mem_len`.
    fn memories(&self, old: &[Tensor], intermediates: &Intermediates) -> Result<Vec<Tensor>> {
        let Some(most) = self.max_mem_len else {
            return Error::shape(
                "return_mems needs the option `max_mem_len`: the length of the memories, 0 for all",
            );
        };
        next_memories(old, &intermediates.hiddens, most)
    }

    /// The embeddings of tokens that follow `past` earlier ones: i64 `(batch, n)` to
    /// `(batch, n, dim)`. Embeddings are prepended only if `past` is 0.
    fn embed(&self, x: &Tensor, with: &TokenTensors, past: usize, ctx: &Ctx) -> Result<Tensor> {
        if x.rank() != 2 || x.dtype() != DType::I64 {
            return not_ids("token ids", "(batch, length)", x);
        }
        let found = self.token_emb.forward(x); // (batch, n, emb_dim)
        let mut y = found.map_err(|error| outside(x, self.num_tokens, None).unwrap_or(error))?;
        if let Some(positions) =
            self.pos_emb.behind(past, x.dim(1), with.pos.as_ref(), &x.device())?
        {
            y = ops::add(&y, &positions)?;
        }
        if let Some(more) = &with.sum_embeds {
            y = ops::add(&y, more)?;
        }
        if let Some(norm) = &self.post_emb_norm {
            y = norm.forward(&y)?;
        }
        if let Some(front) = with.prepend_embeds.as_ref().filter(|_| past == 0) {
            y = prepended(front, &y, self.emb_dim)?;
        }
        y = fraction_of_gradient(&y, self.emb_frac_gradient)?;
        y = dropout(&y, self.emb_dropout, ctx)?;
        match &self.project_emb {
            Some(project) => project.forward(&y),
            None => Ok(y),
        }
    }
}

/// Prepends `front`, `(batch, count, dim)`, to `x`, `(batch, n, dim)`.
pub(super) fn prepended(front: &Tensor, x: &Tensor, dim: usize) -> Result<Tensor> {
    if front.rank() != 3 || front.dim(0) != x.dim(0) || front.dim(2) != dim {
        return Error::shape(format!(
            "prepend_embeds must have shape ({}, count, {dim}), got {:?}",
            x.dim(0),
            front.dims()
        ));
    }
    Ok(ops::cat(&[front, x], 1)?)
}

/// Returns `x`, but scales its gradient by `fraction` in the backward pass.
///
/// Source: CogView, <https://arxiv.org/abs/2105.13290>.
fn fraction_of_gradient(x: &Tensor, fraction: f64) -> Result<Tensor> {
    if fraction == 1.0 {
        return Ok(x.clone());
    }
    let still = ops::affine(&x.detach()?, 1.0 - fraction, 0.0)?;
    Ok(ops::add(&ops::affine(x, fraction, 0.0)?, &still)?)
}
