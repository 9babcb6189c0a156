//! Drawing sequences from a model, token by token.

mod filters;
mod gumbel;
mod sampler;

pub use filters::{top_a, top_k, top_p};
pub use gumbel::{gumbel_argmax, gumbel_noise, likelihood};

use crate::models::{AutoregressiveWrapper, SourceTensors, TokenTensors, XTransformer};
use crate::{Array, Ctx, DType, Device, Error, Result, Rng, Tensor};
use std::sync::Arc;
use xt_autograd::{no_grad, ops};
use xt_options::generation::SamplingOptions;

/// A generation that is under way.
pub struct Generation {
    model: Arc<AutoregressiveWrapper>,
    sampling: SamplingOptions,
    with: TokenTensors,
    /// What an encoder is still to read; its output then goes along with every step.
    source: Option<Source>,
    /// The prompt and what was drawn so far, row by row.
    rows: Vec<Vec<i64>>,
    prompt: usize,
    /// How many tokens are still to come.
    left: usize,
    /// The prompt had no batch axis.
    single: bool,
    device: Device,
}

/// The source of a generation by encoder and decoder.
struct Source {
    model: Arc<XTransformer>,
    tokens: Tensor,
    with: SourceTensors,
}

impl Generation {
    /// `start` is i64, (n) or (batch, n); `seq_len` tokens follow it.
    pub fn new(
        model: Arc<AutoregressiveWrapper>,
        start: &Tensor,
        seq_len: usize,
        sampling: SamplingOptions,
        with: TokenTensors,
    ) -> Result<Self> {
        let (single, n) = (start.rank() == 1, start.dim(start.rank().saturating_sub(1)));
        if !matches!(start.rank(), 1 | 2) || start.dtype() != DType::I64 || start.elem_count() == 0 {
            return Error::shape(format!(
                "start_tokens must be i64 of shape (length) or (batch, length), with at least one token, got {} of shape {:?}",
                start.kind().map_or("?", |k| k.name()),
                start.dims()
            ));
        }
        let ids: Vec<i64> = start.array()?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?;
        let rows: Vec<Vec<i64>> = ids.chunks_exact(n).map(<[i64]>::to_vec).collect();
        Ok(Self { model, sampling, with, source: None, rows, prompt: n, left: seq_len, single, device: start.device() })
    }

    /// The same, after the encoder of `model` has read `tokens`, which happens at the first step.
    pub fn with_source(mut self, model: Arc<XTransformer>, tokens: Tensor, with: SourceTensors) -> Self {
        self.source = Some(Source { model, tokens, with });
        self
    }

    /// Whether all tokens are there.
    pub fn done(&self) -> bool {
        self.left == 0
    }

    /// Logits of the next token, (rows, num_tokens).
    pub fn logits(&mut self, ctx: &Ctx) -> Result<Tensor> {
        ctx.check()?;
        if let Some(source) = &self.source {
            self.with.layers = source.model.encoded(&source.tokens, &source.with, ctx)?;
            self.source = None;
        }
        let n = self.rows.first().map_or(0, Vec::len);
        let seen = n.min(self.model.net().max_seq_len());
        let ids: Vec<i64> = self.rows.iter().flat_map(|row| row[n - seen..].iter().copied()).collect();
        let x = Tensor::constant(Array::from_vec(ids, (self.rows.len(), seen), &self.device)?);
        no_grad(|| {
            let logits = self.model.net().logits(&x, &self.tensors(seen)?, &ctx.evaluating())?;
            let last = ops::narrow(&logits, 1, logits.dim(1) - 1, 1)?;
            Ok(ops::reshape(&last, &[logits.dim(0), logits.dim(2)])?)
        })
    }

    /// The tensors that go along with the last `seen` tokens: masks over the prompt grow with the sequence.
    fn tensors(&self, seen: usize) -> Result<TokenTensors> {
        let mut with = self.with.clone();
        let front = with.prepend_embeds.as_ref().map_or(0, |e| e.dim(1));
        let grown = |mask: Option<Tensor>| mask.map(|m| self.grow(&m, front, seen)).transpose();
        with.layers.mask = grown(with.layers.mask)?;
        with.layers.self_attn_context_mask = grown(with.layers.self_attn_context_mask)?;
        Ok(with)
    }

    /// `mask` covers `front` positions that stay, then the prompt; new tokens count, the oldest leave the window.
    fn grow(&self, mask: &Tensor, front: usize, seen: usize) -> Result<Tensor> {
        let n = self.rows.first().map_or(0, Vec::len);
        let dims = [self.rows.len(), front + self.prompt];
        if mask.dims() != dims || !mask.is_boolean() {
            return Error::shape(format!("mask must be bool of shape {dims:?}, got {mask:?}"));
        }
        let more = Tensor::boolean(Array::ones((dims[0], n - self.prompt), DType::U8, &mask.device())?);
        let tokens = ops::cat(&[&ops::narrow(mask, 1, front, self.prompt)?, &more], 1)?;
        Ok(ops::cat(&[&ops::narrow(mask, 1, 0, front)?, &ops::narrow(&tokens, 1, n - seen, seen)?], 1)?)
    }

    /// Draws the next token of every row. `filtered`: the logits have been filtered already. `None` once all are there.
    pub fn accept(&mut self, logits: &Tensor, filtered: bool, rng: &Rng) -> Result<Option<Vec<i64>>> {
        if self.done() {
            return Ok(None);
        }
        let drawn = sampler::draw(logits, self.rows.len(), filtered, &self.sampling, rng)?;
        self.rows.iter_mut().zip(&drawn).for_each(|(row, token)| row.push(*token));
        self.left -= 1;
        if let Some(eos) = self.sampling.eos_token {
            self.stop_at(eos);
        }
        Ok(Some(self.rows.iter().filter_map(|row| row.last().copied()).collect()))
    }

    /// Once every row, prompts included, has `eos`: what is behind the first one becomes padding, and that is the end.
    fn stop_at(&mut self, eos: i64) {
        let ends: Option<Vec<usize>> = self.rows.iter().map(|row| row.iter().position(|t| *t == eos)).collect();
        for (row, end) in self.rows.iter_mut().zip(ends.iter().flatten()) {
            row[end + 1..].fill(self.model.pad_value());
        }
        if ends.is_some() {
            self.left = 0;
        }
    }

    /// The new tokens, i64: (count), or (batch, count) for a prompt with a batch axis.
    pub fn tokens(&self) -> Result<Tensor> {
        let new: Vec<i64> = self.rows.iter().flat_map(|row| row[self.prompt..].iter().copied()).collect();
        let count = new.len() / self.rows.len().max(1);
        let dims = if self.single { vec![count] } else { vec![self.rows.len(), count] };
        Ok(Tensor::constant(Array::from_vec(new, dims, &self.device)?))
    }
}
