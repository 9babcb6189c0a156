//! What gives the logits of the next token.

use super::prompts::{has_columns, positions, repeat};
use crate::layers::LayersCache;
use crate::models::{AutoregressiveWrapper, SourceTensors, TokenTensors, XTransformer};
use crate::{Array, Ctx, DType, Device, Error, Leaf, Result, Tensor};
use std::sync::Arc;
use xt_autograd::{no_grad, ops};

/// Whether keys and values are kept between the steps, and of which weights: once these change, what was kept is of no use.
#[derive(Clone)]
pub struct Caching {
    pub on: bool,
    pub weights: Vec<Arc<Leaf>>,
}

impl Caching {
    /// Another number after every change.
    fn version(&self) -> u64 {
        self.weights.iter().map(|leaf| leaf.version()).sum()
    }
}

/// What is kept of the columns before.
struct Kept {
    layers: LayersCache,
    columns: usize,
    version: u64,
}

/// A model and what goes along with each of its steps. Evaluates new columns alone where it can, else the whole window.
pub struct Steps {
    model: Arc<AutoregressiveWrapper>,
    /// With a row for each prompt before the first step, then with one for each row.
    with: TokenTensors,
    /// What an encoder is still to read; its output then goes along with every step.
    source: Option<Source>,
    /// Whether `with` has its rows.
    ready: bool,
    /// Length of the prompts.
    prompt: usize,
    /// Columns at the end of the generation.
    columns: usize,
    caching: Caching,
    kept: Option<Kept>,
    /// How many columns at the start of each row are padding, which a mask in `with` hides.
    padding: Vec<usize>,
    /// How many rows, one after the other, continue one prompt.
    times: usize,
    device: Device,
}

/// The source of a generation by encoder and decoder.
struct Source {
    model: Arc<XTransformer>,
    tokens: Tensor,
    with: SourceTensors,
}

impl Steps {
    /// For prompts of `prompt` columns, `columns` at the end, with so much `padding` at the start of each row, `times` rows for each
    /// prompt. `with` has a row for each prompt.
    pub fn new(
        model: Arc<AutoregressiveWrapper>,
        with: TokenTensors,
        (prompt, columns): (usize, usize),
        padding: Vec<usize>,
        times: usize,
        device: Device,
        caching: Caching,
    ) -> Self {
        let (source, kept) = (None, None);
        Self { model, with, source, ready: false, prompt, columns, caching, kept, padding, times, device }
    }

    /// The encoder of `model` reads `tokens` at the first step.
    pub fn read_source(&mut self, model: Arc<XTransformer>, tokens: Tensor, with: SourceTensors) {
        self.source = Some(Source { model, tokens, with });
    }

    /// Logits of the next token of each row, (rows, num_tokens). `rows` hold the prompt and what was drawn so far.
    pub fn logits(&mut self, rows: &[Vec<i64>], ctx: &Ctx) -> Result<Tensor> {
        ctx.check()?;
        self.prepare(ctx)?;
        let n = rows.first().map_or(0, Vec::len);
        let seen = n.min(self.model.net().max_seq_len());
        // taken out: after an error it would be at different columns in different layers
        let mut kept = self.take_kept(n, seen);
        let new = kept.as_ref().map_or(seen, |kept| n - kept.columns);
        let ids: Vec<i64> = rows.iter().flat_map(|row| row[n - new..].iter().copied()).collect();
        let x = Tensor::constant(Array::from_vec(ids, (rows.len(), new), &self.device)?);
        let layers = kept.as_mut().map(|kept| &mut kept.layers);
        let logits = no_grad(|| self.model.net().next_logits(&x, &self.tensors(n, seen)?, layers, &ctx.evaluating()))?;
        self.kept = kept.map(|kept| Kept { columns: n, ..kept });
        Ok(logits)
    }

    /// What is kept for the step behind `n` columns, of which the model sees the last `seen`. `None` where nothing can be kept: what a
    /// position knows changes with the window, and tensors that belong to columns fit one length.
    fn take_kept(&mut self, n: usize, seen: usize) -> Option<Kept> {
        let net = self.model.net();
        let kept = self.kept.take();
        if !self.caching.on || seen < n || net.not_cacheable().is_some() || has_columns(&self.with) {
            return None;
        }
        let version = self.caching.version();
        kept.filter(|kept| kept.version == version).or_else(|| {
            let room = self.columns.min(net.max_seq_len()).saturating_sub(n);
            Some(Kept { layers: net.cache(room), columns: 0, version })
        })
    }

    /// Whether the next step will evaluate new columns alone, unless the weights change.
    pub fn keeps(&self) -> bool {
        self.kept.is_some()
    }

    /// Row number i continues what was row `from[i]`, one of the same prompt.
    pub fn reorder(&mut self, from: &[usize]) -> Result<()> {
        if from.iter().copied().eq(0..from.len()) {
            return Ok(());
        }
        let Some(mut kept) = self.kept.take() else {
            return Ok(());
        };
        kept.layers.reorder(from)?;
        self.kept = Some(kept);
        Ok(())
    }

    /// Before the first step: reads the source, and gives each row its own tensors.
    fn prepare(&mut self, ctx: &Ctx) -> Result<()> {
        if self.ready {
            return Ok(());
        }
        if let Some(source) = &self.source {
            self.with.layers = source.model.encoded(&source.tokens, &source.with, ctx)?;
        }
        self.with = no_grad(|| repeat(&self.with, self.padding.len() / self.times, self.times))?;
        self.source = None;
        self.ready = true;
        Ok(())
    }

    /// The tensors that go along with the last `seen` of `n` columns: masks over the prompt grow with the sequence.
    fn tensors(&self, n: usize, seen: usize) -> Result<TokenTensors> {
        let mut with = self.with.clone();
        let front = with.prepend_embeds.as_ref().map_or(0, |e| e.dim(1));
        let grown = |mask: Option<Tensor>| mask.map(|m| self.grow(&m, front, n, seen)).transpose();
        with.layers.mask = grown(with.layers.mask)?;
        with.layers.self_attn_context_mask = grown(with.layers.self_attn_context_mask)?;
        if with.pos.is_none() {
            with.pos = positions(&self.padding, n, seen, &self.device)?;
        }
        Ok(with)
    }

    /// `mask` covers `front` positions that stay, then the prompt; new tokens count, the oldest leave the window.
    fn grow(&self, mask: &Tensor, front: usize, n: usize, seen: usize) -> Result<Tensor> {
        let dims = [self.padding.len(), front + self.prompt];
        if mask.dims() != dims || !mask.is_boolean() {
            return Error::shape(format!("mask must be bool of shape {dims:?}, got {mask:?}"));
        }
        let more = Tensor::boolean(Array::ones((dims[0], n - self.prompt), DType::U8, &mask.device())?);
        let tokens = ops::cat(&[&ops::narrow(mask, 1, front, self.prompt)?, &more], 1)?;
        Ok(ops::cat(&[&ops::narrow(mask, 1, 0, front)?, &ops::narrow(&tokens, 1, n - seen, seen)?], 1)?)
    }
}
