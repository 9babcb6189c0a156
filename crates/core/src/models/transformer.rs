//! Token embedding, positions, layers, final norm and a head that gives logits.

use crate::layers::{dropout, AttentionLayers, Embedding, Intermediates, LayerNorm, LayerTensors, Linear};
use crate::position::AbsolutePositions;
use crate::{Ctx, DType, Entry, Error, Init, Mode, Params, Result, Tensor};
use std::sync::Arc;
use xt_autograd::ops;
use xt_options::wrappers::TransformerWrapperOptions;

pub struct TransformerWrapper {
    token_emb: Embedding,
    pos_emb: Option<AbsolutePositions>,
    post_emb_norm: Option<LayerNorm>,
    project_emb: Option<Linear>,
    layers: Arc<AttentionLayers>,
    norm: LayerNorm,
    to_logits: Linear,
    emb_dim: usize,
    emb_dropout: f64,
    emb_frac_gradient: f64,
    max_seq_len: usize,
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
}

/// The result of a forward: what was asked for.
pub struct TransformerOutput {
    /// (batch, n, num_tokens).
    pub logits: Option<Tensor>,
    /// (batch, n, dim), after the final norm.
    pub embeddings: Option<Tensor>,
    pub intermediates: Intermediates,
}

impl TransformerWrapper {
    /// `entries` are those of the layers.
    pub fn new(
        layers: Arc<AttentionLayers>,
        entries: &[Entry],
        options: &TransformerWrapperOptions,
        p: &mut Params,
    ) -> Self {
        let dim = layers.dim();
        let emb_dim = options.emb_dim.map_or(dim, |n| n.get());
        let (num_tokens, max_seq_len) = (options.tokens.num_tokens.get(), options.sequence.max_seq_len.get());
        let absolute = options.sequence.use_abs_pos_emb && !layers.has_pos_emb();
        // Kaiming's law for a table: sqrt(2 / emb_dim)
        let law = Init::Normal { std: (2.0 / emb_dim as f64).sqrt() };
        let token_emb = Embedding::new(num_tokens, emb_dim, law, &mut p.under("token_emb.emb"));
        let pos_emb = absolute.then(|| AbsolutePositions::new(max_seq_len, emb_dim, &mut p.under("pos_emb")));
        let post_emb_norm = options.norm.post_emb_norm.then(|| LayerNorm::new(emb_dim, &mut p.under("post_emb_norm")));
        let project_emb = (emb_dim != dim).then(|| Linear::new(emb_dim, dim, true, &mut p.under("project_emb")));
        p.under("attn_layers").include(entries);
        let outputs = options.logits_dim.map_or(num_tokens, |n| n.get());
        Self {
            token_emb,
            pos_emb,
            post_emb_norm,
            project_emb,
            norm: LayerNorm::new(dim, &mut p.under("norm")),
            to_logits: Linear::new(dim, outputs, true, &mut p.under("to_logits")),
            layers,
            emb_dim,
            emb_dropout: options.sequence.emb_dropout.0,
            emb_frac_gradient: options.emb_frac_gradient,
            max_seq_len,
            mode: Mode::default(),
        }
    }

    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    pub fn max_seq_len(&self) -> usize {
        self.max_seq_len
    }

    /// Logits (batch, n, num_tokens) for token ids, i64 (batch, n).
    pub fn logits(&self, x: &Tensor, with: &TokenTensors, ctx: &Ctx) -> Result<Tensor> {
        let returns = Returns { logits: true, ..Returns::default() };
        let logits = self.forward(x, with, returns, ctx)?.logits;
        logits.ok_or_else(|| Error::Internal("no logits".into()))
    }

    /// Runs the model on token ids, i64 (batch, n).
    pub fn forward(&self, x: &Tensor, with: &TokenTensors, returns: Returns, ctx: &Ctx) -> Result<TransformerOutput> {
        let ctx = &ctx.inside(&self.mode);
        let embedded = self.embed(x, with, ctx)?;
        let out = self.layers.forward(&embedded, &with.layers, returns.intermediates, ctx)?;
        let x = self.norm.forward(&out.x)?;
        Ok(TransformerOutput {
            logits: returns.logits.then(|| self.to_logits.forward(&x)).transpose()?,
            embeddings: returns.embeddings.then_some(x),
            intermediates: out.intermediates,
        })
    }

    /// What the layers get: (batch, n, dim).
    fn embed(&self, x: &Tensor, with: &TokenTensors, ctx: &Ctx) -> Result<Tensor> {
        if x.rank() != 2 || x.dtype() != DType::I64 {
            let kind = x.kind().map_or("?", |k| k.name());
            return Error::shape(format!(
                "token ids must be i64 of shape (batch, length), got {kind} of shape {:?}",
                x.dims()
            ));
        }
        let mut y = self.token_emb.forward(x)?;
        // integers are looked up; another type is the embedding itself, also for layers that know positions
        let external = with.pos.as_ref().filter(|pos| pos.dtype() != DType::I64);
        let positions = match (external, &self.pos_emb) {
            (Some(embedding), _) => Some(embedding.clone()),
            (None, Some(table)) => Some(table.forward(x.dim(1), with.pos.as_ref())?),
            (None, None) => None,
        };
        if let Some(positions) = positions {
            y = ops::add(&y, &positions)?;
        }
        if let Some(more) = &with.sum_embeds {
            y = ops::add(&y, more)?;
        }
        if let Some(norm) = &self.post_emb_norm {
            y = norm.forward(&y)?;
        }
        if let Some(front) = &with.prepend_embeds {
            self.check_front(front, x.dim(0))?;
            y = ops::cat(&[front, &y], 1)?;
        }
        y = fraction_of_gradient(&y, self.emb_frac_gradient)?;
        y = dropout(&y, self.emb_dropout, ctx)?;
        match &self.project_emb {
            Some(project) => project.forward(&y),
            None => Ok(y),
        }
    }

    fn check_front(&self, front: &Tensor, batch: usize) -> Result<()> {
        if front.rank() != 3 || front.dim(0) != batch || front.dim(2) != self.emb_dim {
            return Error::shape(format!(
                "prepend_embeds must have shape ({batch}, count, {}), got {:?}",
                self.emb_dim,
                front.dims()
            ));
        }
        Ok(())
    }
}

/// The same values, of whose gradient only the share `fraction` passes. Source: CogView, <https://arxiv.org/abs/2105.13290>.
fn fraction_of_gradient(x: &Tensor, fraction: f64) -> Result<Tensor> {
    if fraction == 1.0 {
        return Ok(x.clone());
    }
    let still = ops::affine(&x.detach()?, 1.0 - fraction, 0.0)?;
    Ok(ops::add(&ops::affine(x, fraction, 0.0)?, &still)?)
}
