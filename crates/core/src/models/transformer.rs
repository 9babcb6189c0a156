//! Token embedding, positions, layers, final norm and a head that gives logits.

use super::memory::{next_memories, shifted_down, MemoryTokens};
use crate::ids::{not_ids, outside};
use crate::layers::{
    dropout, last_columns, AttentionLayers, Embedding, Intermediates, LayerNorm, LayerTensors, LayersCache, Linear,
    Record,
};
use crate::position::PositionEmbedding;
use crate::{Ctx, DType, Entry, Error, Init, Mode, Param, Params, Result, Tensor};
use std::sync::Arc;
use xt_autograd::ops;
use xt_options::wrappers::{SequenceOptions, TokenOptions, TransformerWrapperOptions};

pub struct TransformerWrapper {
    token_emb: Embedding,
    pos_emb: PositionEmbedding,
    post_emb_norm: Option<LayerNorm>,
    project_emb: Option<Linear>,
    memory_tokens: Option<MemoryTokens>,
    layers: Arc<AttentionLayers>,
    norm: LayerNorm,
    /// Absent where the token embedding serves as head.
    to_logits: Option<Linear>,
    num_tokens: usize,
    outputs: usize,
    emb_dim: usize,
    emb_dropout: f64,
    emb_frac_gradient: f64,
    max_seq_len: usize,
    max_mem_len: Option<usize>,
    shift_mem_down: usize,
    mode: Mode,
}

/// The tensors that go along with the tokens.
#[derive(Clone, Default)]
pub struct TokenTensors {
    /// i64 positions, (n) or (batch, n), or embeddings in their place.
    pub pos: Option<Tensor>,
    /// (batch, count, emb_dim), put in front.
    pub prepend_embeds: Option<Tensor>,
    /// (batch, n, emb_dim), added.
    pub sum_embeds: Option<Tensor>,
    pub layers: LayerTensors,
}

/// What a forward is to give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Returns {
    pub logits: bool,
    pub embeddings: bool,
    pub intermediates: bool,
    pub mems: bool,
}

/// The result of a forward: what was asked for.
pub struct TransformerOutput {
    /// (batch, n, num_tokens).
    pub logits: Option<Tensor>,
    /// (batch, n, dim), after the final norm.
    pub embeddings: Option<Tensor>,
    pub intermediates: Intermediates,
    /// For each self attention, (batch, count, dim).
    pub mems: Option<Vec<Tensor>>,
}

/// What a transformer over tokens is made from, besides its layers.
#[derive(Clone)]
pub struct TransformerConfig {
    pub num_tokens: usize,
    pub sequence: SequenceOptions,
    pub emb_dim: Option<usize>,
    pub logits_dim: Option<usize>,
    pub num_memory_tokens: usize,
    pub post_emb_norm: bool,
    pub l2norm_embed: bool,
    pub tie_embedding: bool,
    pub emb_frac_gradient: f64,
    pub max_mem_len: Option<usize>,
    pub shift_mem_down: usize,
}

impl TransformerConfig {
    /// The defaults, but for the vocabulary, the sequence and the memory tokens.
    pub fn plain(tokens: &TokenOptions, sequence: &SequenceOptions, num_memory_tokens: Option<usize>) -> Self {
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
    /// `entries` are those of the layers; `tied` is a token embedding to use in place of an own one.
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
            None if config.l2norm_embed => Embedding::normalised(num_tokens, emb_dim, &mut token_params),
            None => {
                // Kaiming's law for a table
                let law = Init::Normal { std: (2.0 / emb_dim as f64).sqrt() };
                Embedding::new(num_tokens, emb_dim, law, &mut token_params)
            }
        };
        let known = layers.has_pos_emb();
        let pos_emb = PositionEmbedding::new(emb_dim, known, config.l2norm_embed, &config.sequence, p);
        let post_emb_norm = config.post_emb_norm.then(|| LayerNorm::new(emb_dim, &mut p.under("post_emb_norm")));
        let project_emb = (emb_dim != dim).then(|| Linear::new(emb_dim, dim, true, &mut p.under("project_emb")));
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

    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    pub fn layers(&self) -> &AttentionLayers {
        &self.layers
    }

    pub fn max_seq_len(&self) -> usize {
        self.max_seq_len
    }

    /// Whether padding in front of the tokens, although masked, changes what comes of those behind it.
    pub fn padding_shows(&self, with: &TokenTensors) -> bool {
        let in_front = self.memory_tokens.is_some() || with.prepend_embeds.is_some() || !with.layers.mems.is_empty();
        self.layers.padding_shows(in_front)
    }

    /// Width of the token embeddings.
    pub fn emb_dim(&self) -> usize {
        self.emb_dim
    }

    /// Number of tokens of the vocabulary.
    pub fn num_tokens(&self) -> usize {
        self.num_tokens
    }

    /// Width of the head.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The table of the token embedding, (num_tokens, emb_dim).
    pub fn token_table(&self) -> &Param {
        self.token_emb.param()
    }

    /// Logits (batch, n, num_tokens) for token ids, i64 (batch, n).
    pub fn logits(&self, x: &Tensor, with: &TokenTensors, ctx: &Ctx) -> Result<Tensor> {
        let returns = Returns { logits: true, ..Returns::default() };
        let logits = self.forward(x, with, returns, ctx)?.logits;
        logits.ok_or_else(|| Error::Internal("no logits".into()))
    }

    /// Mean cross-entropy of the logits with `targets`, i64 (batch, n), of which those equal to `ignore_index` do not count.
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

    /// Embeddings after the final norm, (batch, n, dim), for token ids, i64 (batch, n).
    pub fn embeddings(&self, x: &Tensor, with: &TokenTensors, ctx: &Ctx) -> Result<Tensor> {
        let returns = Returns { embeddings: true, ..Returns::default() };
        let embeddings = self.forward(x, with, returns, ctx)?.embeddings;
        embeddings.ok_or_else(|| Error::Internal("no embeddings".into()))
    }

    /// Runs the model on token ids, i64 (batch, n).
    pub fn forward(&self, x: &Tensor, with: &TokenTensors, returns: Returns, ctx: &Ctx) -> Result<TransformerOutput> {
        let ctx = &ctx.inside(&self.mode);
        let (embedded, inputs) = self.layer_inputs(x, with, 0, ctx)?;
        let record = Record { hiddens: returns.intermediates || returns.mems, maps: returns.intermediates };
        let out = self.layers.forward(&embedded, &inputs, record, ctx)?;
        let mut x = self.norm.forward(&out.x)?;
        if let Some(memory) = &self.memory_tokens {
            x = memory.cut(&x)?;
        }
        let mems = returns.mems.then(|| self.memories(&inputs.mems, &out.intermediates)).transpose()?;
        Ok(TransformerOutput {
            logits: returns.logits.then(|| self.head(&x)).transpose()?,
            embeddings: returns.embeddings.then_some(x),
            intermediates: out.intermediates,
            mems,
        })
    }

    /// Logits of the token behind the last one, (batch, num_tokens), for all token ids so far, i64 (batch, n), or with a cache for those
    /// that it has not seen. What goes along with the tokens covers all of them.
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

    /// Why a generation cannot keep keys and values, where it cannot.
    pub fn not_cacheable(&self) -> Option<&'static str> {
        self.layers.not_cacheable()
    }

    /// What a generation keeps between its steps, with room for `room` tokens behind those of the first step.
    pub fn cache(&self, room: usize) -> LayersCache {
        self.layers.cache(room)
    }

    /// What the layers get, (batch, n, dim) and what goes along with it, for tokens behind `past` positions of the layers: memory tokens
    /// and prepended embeddings come first, and once.
    fn layer_inputs(&self, x: &Tensor, with: &TokenTensors, past: usize, ctx: &Ctx) -> Result<(Tensor, LayerTensors)> {
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

    fn head(&self, x: &Tensor) -> Result<Tensor> {
        match &self.to_logits {
            Some(linear) => linear.forward(x),
            None => self.token_emb.project_back(x),
        }
    }

    fn memories(&self, old: &[Tensor], intermediates: &Intermediates) -> Result<Vec<Tensor>> {
        let Some(most) = self.max_mem_len else {
            return Error::shape("return_mems needs the option `max_mem_len`: the length of the memories, 0 for all");
        };
        next_memories(old, &intermediates.hiddens, most)
    }

    /// (batch, n, dim) of tokens behind `past` others; embeddings to be prepended come with the first ones.
    fn embed(&self, x: &Tensor, with: &TokenTensors, past: usize, ctx: &Ctx) -> Result<Tensor> {
        if x.rank() != 2 || x.dtype() != DType::I64 {
            return not_ids("token ids", "(batch, length)", x);
        }
        let found = self.token_emb.forward(x);
        let mut y = found.map_err(|error| outside(x, self.num_tokens, None).unwrap_or(error))?;
        if let Some(positions) = self.pos_emb.behind(past, x.dim(1), with.pos.as_ref(), &x.device())? {
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

/// `front` (batch, count, dim) and then `x`.
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

/// The same values, of whose gradient only the share `fraction` passes. Source: CogView, <https://arxiv.org/abs/2105.13290>.
fn fraction_of_gradient(x: &Tensor, fraction: f64) -> Result<Tensor> {
    if fraction == 1.0 {
        return Ok(x.clone());
    }
    let still = ops::affine(&x.detach()?, 1.0 - fraction, 0.0)?;
    Ok(ops::add(&ops::affine(x, fraction, 0.0)?, &still)?)
}
