//! Scores: the log-probabilities that a model assigns to sequences.

mod groups;
mod rotation;

use super::{AutoregressiveWrapper, TokenTensors};
use crate::ids::{in_vocabulary, unknown_id, wrong_ids};
use crate::{Array, Ctx, DType, Device, Result, Tensor};
use groups::{group_by_length, group_tensors, merge_groups, RotatedRows};
use rotation::{leading_padding, rotate_rows, rotated_tensors, token_mask};
use xt_autograd::{no_grad, ops};

/// The log-probabilities and perplexities of tokens `(batch, n)`.
pub struct Score {
    /// `(batch, n - 1)`: the log-probability of each token given the tokens before it; 0 for tokens
    /// that do not count.
    pub log_probs: Tensor,
    /// `(batch)`: exp of the negative mean log-probability of the tokens that count; NaN if none
    /// counts.
    pub perplexity: Tensor,
}

impl AutoregressiveWrapper {
    /// The log-probability of each token except the first, for ids i64, `(n)` or `(batch, n)`, with
    /// `n` at least 2. Without a batch axis the results have none either. Dropout is off, and no
    /// autograd graph is recorded.
    ///
    /// Tokens equal to `ignore_index` do not count; with `ignore_pad`, tokens equal to `pad_value`
    /// do not count either. The mask is bool, `(batch, n)`, or `(batch, count + n)` with `count`
    /// prepended embeddings. With a mask, a token counts only if it and its predecessor are real,
    /// and each row is scored as if it began with its first real token.
    ///
    /// If later tokens influence earlier results (for example because xpos depends on the middle of
    /// the sequence), only rows of equal length go through the model together.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Shape`] if a tensor does not fit or an id that is needed is not in the
    /// vocabulary.
    pub fn score(
        &self,
        tokens: &Tensor,
        with: &TokenTensors,
        ignore_pad: bool,
        ctx: &Ctx,
    ) -> Result<Score> {
        if tokens.rank() == 1 {
            return self.score_row(tokens, with, ignore_pad, ctx);
        }
        if tokens.rank() != 2
            || tokens.dim(1) < 2
            || tokens.dim(0) == 0
            || tokens.dtype() != DType::I64
        {
            return wrong_ids("tokens", "(length) or (batch, length), length at least 2", tokens);
        }
        let (batch, n) = (tokens.dim(0), tokens.dim(1));
        xt_kernels::memory::alloc::check(&[tokens.elem_count(), 3], crate::DType::I64)?;
        let prefix = with.prepend_embeds.as_ref().map_or(0, |embeds| embeds.dim(1));
        let mut ids: Vec<i64> =
            tokens.array()?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?;
        let mut real =
            with.layers.mask.as_ref().map(|mask| token_mask(mask, batch, prefix, n)).transpose()?;
        // each row is rotated so that its first real token comes first
        let leading = leading_padding(real.as_deref(), batch, n);
        let with = rotated_tensors(with, (&leading, real.as_deref()), prefix, n)?;
        rotate_rows(&mut ids, &leading, false);
        if let Some(real) = &mut real {
            rotate_rows(real, &leading, false);
        }
        let counted = self.counted(&ids, n, real.as_deref(), ignore_pad);
        let input = self.input(&ids, n, real.as_deref(), &counted);
        // ids that do not count need not be in the vocabulary
        let targets = ids.chunks_exact(n).flat_map(|row| &row[1..]).zip(&counted);
        let targets: Vec<i64> = targets.map(|(id, counts)| if *counts { *id } else { 0 }).collect();
        self.check(&input, &leading, 0)?;
        self.check(&targets, &leading, 1)?;
        let lengths = self.lengths(n, real.as_deref(), &counted);
        let rows = RotatedRows { n, prefix, input, ids, counted, device: tokens.device() };
        no_grad(|| {
            let mut all = Vec::new();
            for group in group_by_length(&lengths) {
                let with = group_tensors(&with, (batch, n), prefix, &group)?;
                ctx.check()?;
                let logits =
                    self.net().logits(&rows.input_ids(&group)?, &with, &ctx.evaluating())?;
                all.push((rows.log_probs(&logits, &group)?, group.rows));
            }
            scored(merge_groups(&all, batch, &rows)?, &rows.counted, &leading)
        })
    }

    /// [`AutoregressiveWrapper::score`] for tokens without a batch axis, `(n)`.
    fn score_row(
        &self,
        tokens: &Tensor,
        with: &TokenTensors,
        ignore_pad: bool,
        ctx: &Ctx,
    ) -> Result<Score> {
        let batch = ops::reshape(tokens, &[1, tokens.dim(0)])?;
        let mut with = with.clone();
        with.layers.add_batch_axis()?;
        let score = self.score(&batch, &with, ignore_pad, ctx)?;
        let log_probs = ops::reshape(&score.log_probs, &[tokens.dim(0) - 1])?;
        Ok(Score { log_probs, perplexity: ops::reshape(&score.perplexity, &[])? })
    }

    /// The length of each rotated row that its score needs, target of the last column included; 0
    /// if no token of the row counts. It is `n` for all rows if later tokens do not influence
    /// earlier results.
    fn lengths(&self, n: usize, real: Option<&[u8]>, counted: &[bool]) -> Vec<usize> {
        let layers = self.net().layers();
        let counts = counted
            .chunks_exact(n - 1)
            .map(|row| row.iter().rposition(|counts| *counts).map(|at| at + 2));
        let ends = counts.enumerate().map(|(row, end)| match end {
            Some(_) if layers.sees_later() => {
                let real = real.and_then(|real| real[row * n..][..n].iter().rposition(|r| *r != 0));
                real.map_or(n, |last| last + 1)
            }
            end => end.unwrap_or(0),
        });
        if layers.varies_with_length() {
            return ends.collect();
        }
        vec![n; counted.len() / (n - 1)]
    }

    /// Checks that `ids`, with one row per entry of `leading`, are in the vocabulary. Column 0 of
    /// `ids` is column `from` of the tokens; errors state the position before rotation.
    fn check(&self, ids: &[i64], leading: &[usize], from: usize) -> Result<()> {
        let (tokens, width) = (self.net().num_tokens(), (ids.len() / leading.len().max(1)).max(1));
        match ids.iter().position(|id| !in_vocabulary(*id, tokens)) {
            Some(at) => Err(unknown_id(
                ids[at],
                &[at / width, at % width + from + leading[at / width]],
                tokens,
            )),
            None => Ok(()),
        }
    }

    /// The input of the model, `(batch · (n - 1))`, row by row. Ids that are not real or that no
    /// counted token depends on may be outside of the vocabulary; they are replaced by 0.
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

    /// Which targets count, `(batch · (n - 1))`, row by row.
    fn counted(&self, ids: &[i64], n: usize, real: Option<&[u8]>, ignore_pad: bool) -> Vec<bool> {
        let counts = |at: usize| {
            let real = real.is_none_or(|real| real[at - 1] != 0 && real[at] != 0);
            real && ids[at] != self.ignore_index && !(ignore_pad && ids[at] == self.pad_value())
        };
        (0..ids.len()).filter(|at| at % n > 0).map(counts).collect()
    }
}

/// The score from log-probabilities `(batch, n - 1)` of rotated rows, with the columns rotated
/// back. `counted` tells which targets count.
fn scored(log_probs: Tensor, counted: &[bool], leading: &[usize]) -> Result<Score> {
    let (batch, n) = (log_probs.dim(0), log_probs.dim(1));
    let device = log_probs.device();
    let counts: Vec<f64> = counted
        .chunks_exact(n)
        .map(|row| row.iter().filter(|counts| **counts).count() as f64)
        .collect();
    let counts =
        Tensor::constant(Array::from_vec(counts, batch, &device)?.to_dtype(log_probs.dtype())?);
    let mean = ops::div(&ops::sum(&log_probs, Some(&[1]), false)?, &counts)?;
    let perplexity = ops::exp(&ops::neg(&mean)?)?;
    if leading.iter().all(|by| *by == 0) {
        return Ok(Score { log_probs, perplexity });
    }
    // the rotated column from which each column of a row comes
    let mut places: Vec<i64> = (0..batch).flat_map(|_| 0..n as i64).collect();
    rotate_rows(&mut places, leading, true);
    let places = Tensor::constant(Array::from_vec(places, (batch, n), &device)?);
    Ok(Score { log_probs: ops::gather(&log_probs, &places, 1)?, perplexity })
}
