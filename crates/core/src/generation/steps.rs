//! What gives the logits of the next token.

use super::prompts::{positions, repeat};
use crate::models::{AutoregressiveWrapper, SourceTensors, TokenTensors, XTransformer};
use crate::{Array, Ctx, DType, Device, Error, Result, Tensor};
use std::sync::Arc;
use xt_autograd::{no_grad, ops};

/// A model and what goes along with each of its steps. Evaluates the whole window at every step.
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
    /// For prompts of `prompt` columns with so much `padding` at the start of each row, `times` rows for each prompt.
    /// `with` has a row for each prompt.
    pub fn new(
        model: Arc<AutoregressiveWrapper>,
        with: TokenTensors,
        prompt: usize,
        padding: Vec<usize>,
        times: usize,
        device: Device,
    ) -> Self {
        Self { model, with, source: None, ready: false, prompt, padding, times, device }
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
        let ids: Vec<i64> = rows.iter().flat_map(|row| row[n - seen..].iter().copied()).collect();
        let x = Tensor::constant(Array::from_vec(ids, (rows.len(), seen), &self.device)?);
        no_grad(|| {
            let logits = self.model.net().logits(&x, &self.tensors(n, seen)?, &ctx.evaluating())?;
            let last = ops::narrow(&logits, 1, logits.dim(1) - 1, 1)?;
            Ok(ops::reshape(&last, &[logits.dim(0), logits.dim(2)])?)
        })
    }

    /// Row number i continues what was row `from[i]`, one of the same prompt. Nothing to do as long as every step
    /// evaluates the whole window.
    pub fn reorder(&mut self, _from: &[usize]) -> Result<()> {
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
