//! How likely a model holds a sequence to be.

use super::{AutoregressiveWrapper, TokenTensors};
use crate::generation::has_columns;
use crate::{Array, Ctx, DType, Device, Error, Result, Tensor};
use xt_autograd::{no_grad, ops};

/// How likely each row of (batch, n) tokens is.
pub struct Score {
    /// (batch, n - 1): the logarithm of each token's probability given those before it; 0 for tokens that do not count.
    pub log_probs: Tensor,
    /// (batch): e to the mean of the negative log-probabilities that count; NaN where none does.
    pub perplexity: Tensor,
}

impl AutoregressiveWrapper {
    /// The log-probability of each token but the first, for ids i64 (n) or (batch, n), n at least 2. Tokens that are
    /// `ignore_index` do not count, nor, with `ignore_pad`, those that are `pad_value`; where there is a mask, bool
    /// (batch, n), only tokens that are real and stand behind a real one do, and a row is scored as if it began with its
    /// first real token. Dropout is off, and there is no graph.
    pub fn score(&self, tokens: &Tensor, with: &TokenTensors, ignore_pad: bool, ctx: &Ctx) -> Result<Score> {
        if tokens.rank() == 1 {
            let batch = ops::reshape(tokens, &[1, tokens.dim(0)])?;
            let mut with = with.clone();
            with.layers.add_batch_axis()?;
            let score = self.score(&batch, &with, ignore_pad, ctx)?;
            let log_probs = ops::reshape(&score.log_probs, &[tokens.dim(0) - 1])?;
            return Ok(Score { log_probs, perplexity: ops::reshape(&score.perplexity, &[])? });
        }
        if tokens.rank() != 2 || tokens.dim(1) < 2 || tokens.dim(0) == 0 || tokens.dtype() != DType::I64 {
            return Error::shape(format!(
                "tokens must be i64 of shape (length) or (batch, length), length at least 2, got {} of shape {:?}",
                tokens.kind().map_or("?", |k| k.name()),
                tokens.dims()
            ));
        }
        let (batch, n) = (tokens.dim(0), tokens.dim(1));
        xt_kernels::alloc::check(&[tokens.elem_count(), 3], crate::DType::I64)?;
        let mut ids: Vec<i64> = tokens.array()?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?;
        let mut real = with.layers.mask.as_ref().map(|mask| rows_of(mask, batch, n)).transpose()?;
        let turns = turns(real.as_deref(), batch, n);
        let with = inputs(with, &turns, n)?;
        turn(&mut ids, &turns, false);
        if let Some(real) = &mut real {
            turn(real, &turns, false);
        }
        let counted = self.counted(&ids, n, real.as_deref(), ignore_pad);
        let input = self.input(&ids, n, real.as_deref(), &counted);
        let input = Tensor::constant(Array::from_vec(input, (batch, n - 1), &tokens.device())?);
        no_grad(|| {
            let logits = self.net().logits(&input, &with, &ctx.evaluating())?;
            let targets = ids.chunks_exact(n).flat_map(|row| &row[1..]).zip(&counted);
            // a token that does not count need not be one of the vocabulary
            let targets: Vec<i64> = targets.map(|(id, counts)| if *counts { *id } else { 0 }).collect();
            scored(&logits, targets, &counted, &turns)
        })
    }

    /// What the model sees, (batch · (n - 1)): where a token is not real, or nothing behind it counts, it need not be one of the vocabulary.
    fn input(&self, ids: &[i64], n: usize, real: Option<&[u8]>, counted: &[bool]) -> Vec<i64> {
        let sees_later = self.net().layers().sees_later();
        let last = |row: &[bool]| row.iter().rposition(|counts| *counts).map_or(0, |at| at + 1);
        let needed: Vec<usize> =
            counted.chunks_exact(n - 1).map(|row| if sees_later { n } else { last(row) }).collect();
        let vocabulary = self.net().num_tokens();
        let seen = |at: usize| {
            let matters = real.is_none_or(|real| real[at] != 0) && at % n < needed[at / n];
            let known = usize::try_from(ids[at]).is_ok_and(|id| id < vocabulary);
            if known || matters {
                ids[at]
            } else {
                0
            }
        };
        (0..ids.len()).filter(|at| at % n + 1 < n).map(seen).collect()
    }

    /// Which tokens count, (batch · (n - 1)).
    fn counted(&self, ids: &[i64], n: usize, real: Option<&[u8]>, ignore_pad: bool) -> Vec<bool> {
        let counts = |at: usize| {
            let real = real.is_none_or(|real| real[at - 1] != 0 && real[at] != 0);
            real && ids[at] != self.ignore_index && !(ignore_pad && ids[at] == self.pad_value())
        };
        (0..ids.len()).filter(|at| at % n > 0).map(counts).collect()
    }
}

/// The values of a mask over all tokens, row behind row.
fn rows_of(mask: &Tensor, batch: usize, n: usize) -> Result<Vec<u8>> {
    if mask.dims() != [batch, n] || !mask.is_boolean() {
        return Error::shape(format!("mask must be bool of shape {:?}, one for each token, got {mask:?}", [batch, n]));
    }
    Ok(mask.array()?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?)
}

/// How far each row is turned to the left, so that its first real token comes first: what a model makes of a token does not
/// depend on padding behind it.
fn turns(real: Option<&[u8]>, batch: usize, n: usize) -> Vec<usize> {
    match real {
        None => vec![0; batch],
        Some(real) => real.chunks_exact(n).map(|row| row.iter().position(|r| *r != 0).unwrap_or(0)).collect(),
    }
}

/// Turns each row of `all`, to the left or back.
fn turn<T>(all: &mut [T], turns: &[usize], back: bool) {
    let width = all.len() / turns.len().max(1);
    for (row, by) in all.chunks_exact_mut(width.max(1)).zip(turns) {
        match back {
            true => row.rotate_right(*by),
            false => row.rotate_left(*by),
        }
    }
}

/// What goes along with all tokens but the last, the masks turned as the rows are.
fn inputs(with: &TokenTensors, turns: &[usize], n: usize) -> Result<TokenTensors> {
    let mut with = with.clone();
    let turned = turns.iter().any(|by| *by > 0);
    if turned && has_columns(&with) {
        return Error::shape(
            "pos, sum_embeds and attn_mask do not go with tokens that are padded on the left: pad them on the right",
        );
    }
    let shorter = |mask: &Tensor| -> Result<Tensor> {
        let mut bits = rows_of(mask, turns.len(), n)?;
        turn(&mut bits, turns, false);
        let array = Array::from_vec(bits, (turns.len(), n), &Device::Cpu)?.to_device(&mask.device())?;
        Ok(ops::narrow(&Tensor::boolean(array), 1, 0, n - 1)?)
    };
    let layers = &mut with.layers;
    layers.mask = layers.mask.as_ref().map(shorter).transpose()?;
    layers.self_attn_context_mask = layers.self_attn_context_mask.as_ref().map(shorter).transpose()?;
    Ok(with)
}

/// From logits (batch, n - 1, num_tokens) and the tokens that came, both turned.
fn scored(logits: &Tensor, targets: Vec<i64>, counted: &[bool], turns: &[usize]) -> Result<Score> {
    let (batch, n) = (logits.dim(0), logits.dim(1));
    let device = logits.device();
    let targets = Tensor::constant(Array::from_vec(targets, (batch, n, 1), &device)?);
    let all = ops::reshape(&ops::gather(&ops::log_softmax(logits, 2)?, &targets, 2)?, &[batch, n])?;
    let bits: Vec<u8> = counted.iter().map(|counts| u8::from(*counts)).collect();
    let mask = Tensor::boolean(Array::from_vec(bits, (batch, n), &device)?);
    let log_probs = ops::where_cond(&mask, &all, &ops::scalar_like(&all, 0.0)?)?;
    let counts: Vec<f64> =
        counted.chunks_exact(n).map(|row| row.iter().filter(|counts| **counts).count() as f64).collect();
    let counts = Tensor::constant(Array::from_vec(counts, batch, &device)?.to_dtype(logits.dtype())?);
    let mean = ops::div(&ops::sum(&log_probs, Some(&[1]), false)?, &counts)?;
    let perplexity = ops::exp(&ops::neg(&mean)?)?;
    if turns.iter().all(|by| *by == 0) {
        return Ok(Score { log_probs, perplexity });
    }
    // where column c of row r came from
    let mut places: Vec<i64> = (0..batch).flat_map(|_| 0..n as i64).collect();
    turn(&mut places, turns, true);
    let places = Tensor::constant(Array::from_vec(places, (batch, n), &device)?);
    Ok(Score { log_probs: ops::gather(&log_probs, &places, 1)?, perplexity })
}
