//! Drawing sequences from a model, token by token.

mod filters;
mod gumbel;
mod sampler;
mod steps;

pub use filters::{top_a, top_k, top_p};
pub use gumbel::{gumbel_argmax, gumbel_noise, likelihood};

use crate::models::{AutoregressiveWrapper, SourceTensors, TokenTensors, XTransformer};
use crate::{Array, Ctx, DType, Device, Error, Result, Rng, Tensor};
use std::sync::Arc;
use steps::Steps;
use xt_options::generation::SamplingOptions;

/// A generation that is under way.
pub struct Generation {
    steps: Steps,
    sampling: SamplingOptions,
    /// The prompt and what was drawn so far, row by row.
    rows: Vec<Vec<i64>>,
    prompt: usize,
    /// How many tokens are still to come.
    left: usize,
    /// The prompt had no batch axis.
    single: bool,
    /// What stands behind the end of a row.
    pad_value: i64,
    device: Device,
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
        let (pad_value, device) = (model.pad_value(), start.device());
        let steps = Steps::new(model, with, n, device.clone());
        Ok(Self { steps, sampling, rows, prompt: n, left: seq_len, single, pad_value, device })
    }

    /// The same, after the encoder of `model` has read `tokens`, which happens at the first step.
    pub fn with_source(mut self, model: Arc<XTransformer>, tokens: Tensor, with: SourceTensors) -> Self {
        self.steps.read_source(model, tokens, with);
        self
    }

    /// Whether all tokens are there.
    pub fn done(&self) -> bool {
        self.left == 0
    }

    /// Logits of the next token, (rows, num_tokens).
    pub fn logits(&mut self, ctx: &Ctx) -> Result<Tensor> {
        self.steps.logits(&self.rows, ctx)
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
            row[end + 1..].fill(self.pad_value);
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
