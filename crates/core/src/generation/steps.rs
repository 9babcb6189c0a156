//! What gives the logits of the next token.

use super::prompts::{has_columns, positions, repeat};
use crate::ids::require_bool;
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
    /// Before the first step of each prompt, then of each row; `padding` too.
    with: TokenTensors,
    /// What an encoder is still to read; its output then goes along with every step.
    source: Option<Source>,
    /// Length of the prompts.
    prompt: usize,
    /// Columns at the end of the generation.
    columns: usize,
    caching: Caching,
    kept: Option<Kept>,
    /// How many columns at the start of each row are padding, which a mask in `with` hides.
    padding: Vec<usize>,
    /// How many rows, one after the other, belong to each row of `with`: those of a prompt before the first step, then 1.
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
    /// For prompts of `prompt` columns, `columns` at the end, with so much `padding` at the start of each, `times` rows for each
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
        Self { model, with, source, prompt, columns, caching, kept, padding, times, device }
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
        // the rows of a prompt are alike as long as nothing was drawn
        let ids: Vec<i64> = rows.iter().step_by(self.times).flat_map(|row| row[n - new..].iter().copied()).collect();
        let x = Tensor::constant(Array::from_vec(ids, (rows.len() / self.times, new), &self.device)?);
        let layers = kept.as_mut().map(|kept| &mut kept.layers);
        let logits = no_grad(|| self.model.net().next_logits(&x, &self.tensors(n, seen)?, layers, &ctx.evaluating()))?;
        let logits = self.spread(logits, kept.as_mut())?;
        self.kept = kept.map(|kept| Kept { columns: n, ..kept });
        Ok(logits)
    }

    /// Behind the first step: what goes along with a prompt, and what was computed of it, for each of its rows.
    fn spread(&mut self, logits: Tensor, kept: Option<&mut Kept>) -> Result<Tensor> {
        let (prompts, times) = (self.padding.len(), self.times);
        if times == 1 {
            return Ok(logits);
        }
        let with = no_grad(|| repeat(&self.with, prompts, times))?;
        if let Some(kept) = kept {
            kept.layers.repeat(prompts, times)?;
        }
        let rows: Vec<u32> = (0..prompts).flat_map(|row| std::iter::repeat_n(row as u32, times)).collect();
        let count = rows.len();
        let array = logits.array()?;
        let logits = array.index_select(&Array::from_vec(rows, count, &array.device())?, 0)?;
        self.padding = self.padding.iter().flat_map(|padding| std::iter::repeat_n(*padding, times)).collect();
        (self.with, self.times) = (with, 1);
        Ok(Tensor::constant(logits))
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
        // the same columns again: their logits are not kept
        kept.filter(|kept| kept.version == version && kept.columns < n).or_else(|| {
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

    /// Before the first step: reads the source.
    fn prepare(&mut self, ctx: &Ctx) -> Result<()> {
        if let Some(source) = &self.source {
            self.with.layers = source.model.encoded(&source.tokens, &source.with, ctx)?;
            self.source = None;
        }
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
        require_bool(mask, "mask")?;
        if mask.dims() != dims {
            return Error::shape(format!("mask must be bool of shape {dims:?}, got {:?}", mask.dims()));
        }
        let more = Tensor::boolean(Array::ones((dims[0], n - self.prompt), DType::U8, &mask.device())?);
        let tokens = ops::cat(&[&ops::narrow(mask, 1, front, self.prompt)?, &more], 1)?;
        Ok(ops::cat(&[&ops::narrow(mask, 1, 0, front)?, &ops::narrow(&tokens, 1, n - seen, seen)?], 1)?)
    }
}
