//! Scores: the log-probabilities that a model assigns to sequences.

use super::{AutoregressiveWrapper, TokenTensors};
use crate::generation::{has_columns, with_rows};
use crate::ids::{is_known, not_ids, require_bool, unknown};
use crate::{Array, Ctx, DType, Device, Error, Result, Tensor};
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
    /// [`Error::Shape`] if a tensor does not fit or an id that is needed is not in the vocabulary.
    pub fn score(
        &self,
        tokens: &Tensor,
        with: &TokenTensors,
        ignore_pad: bool,
        ctx: &Ctx,
    ) -> Result<Score> {
        if tokens.rank() == 1 {
            let batch = ops::reshape(tokens, &[1, tokens.dim(0)])?;
            let mut with = with.clone();
            with.layers.add_batch_axis()?;
            let score = self.score(&batch, &with, ignore_pad, ctx)?;
            let log_probs = ops::reshape(&score.log_probs, &[tokens.dim(0) - 1])?;
            return Ok(Score { log_probs, perplexity: ops::reshape(&score.perplexity, &[])? });
        }
        if tokens.rank() != 2
            || tokens.dim(1) < 2
            || tokens.dim(0) == 0
            || tokens.dtype() != DType::I64
        {
            return not_ids("tokens", "(length) or (batch, length), length at least 2", tokens);
        }
        let (batch, n) = (tokens.dim(0), tokens.dim(1));
        xt_kernels::memory::alloc::check(&[tokens.elem_count(), 3], crate::DType::I64)?;
        let front = with.prepend_embeds.as_ref().map_or(0, |embeds| embeds.dim(1));
        let mut ids: Vec<i64> =
            tokens.array()?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?;
        let mut real =
            with.layers.mask.as_ref().map(|mask| behind(mask, batch, front, n)).transpose()?;
        // each row is rotated so that its first real token comes first
        let turns = turns(real.as_deref(), batch, n);
        let with = inputs(with, &turns, front, n)?;
        turn(&mut ids, &turns, false);
        if let Some(real) = &mut real {
            turn(real, &turns, false);
        }
        let counted = self.counted(&ids, n, real.as_deref(), ignore_pad);
        let input = self.input(&ids, n, real.as_deref(), &counted);
        // ids that do not count need not be in the vocabulary
        let targets = ids.chunks_exact(n).flat_map(|row| &row[1..]).zip(&counted);
        let targets: Vec<i64> = targets.map(|(id, counts)| if *counts { *id } else { 0 }).collect();
        self.check(&input, &turns, 0)?;
        self.check(&targets, &turns, 1)?;
        let lengths = self.lengths(n, real.as_deref(), &counted);
        let rows = Rows { n, front, input, ids, counted, device: tokens.device() };
        no_grad(|| {
            let mut all = Vec::new();
            for part in parts(&lengths) {
                let with = part_of(&with, (batch, n), front, &part)?;
                ctx.check()?;
                let logits = self.net().logits(&rows.seen(&part)?, &with, &ctx.evaluating())?;
                all.push((rows.log_probs(&logits, &part)?, part.rows));
            }
            scored(together(&all, batch, &rows)?, &rows.counted, &turns)
        })
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
        if layers.not_cacheable().is_some() {
            return ends.collect();
        }
        vec![n; counted.len() / (n - 1)]
    }

    /// Checks that `ids`, with one row per entry of `turns`, are in the vocabulary. Column 0 of
    /// `ids` is column `from` of the tokens; errors state the position before rotation.
    fn check(&self, ids: &[i64], turns: &[usize], from: usize) -> Result<()> {
        let (tokens, width) = (self.net().num_tokens(), (ids.len() / turns.len().max(1)).max(1));
        match ids.iter().position(|id| !is_known(*id, tokens)) {
            Some(at) => {
                Err(unknown(ids[at], &[at / width, at % width + from + turns[at / width]], tokens))
            }
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

/// Rows of equal length, which go through the model together.
struct Part {
    /// The number of tokens per row, including the last, which is only a target.
    length: usize,
    /// The indices of the rows in the batch.
    rows: Vec<usize>,
}

/// Groups the rows by length. Rows in which no token counts are in no group.
fn parts(lengths: &[usize]) -> Vec<Part> {
    let mut all: Vec<usize> = lengths.iter().copied().filter(|length| *length > 1).collect();
    all.sort_unstable();
    all.dedup();
    let rows = |length: usize| (0..lengths.len()).filter(|row| lengths[*row] == length).collect();
    all.into_iter().map(|length| Part { length, rows: rows(length) }).collect()
}

/// All rows, rotated.
struct Rows {
    /// The number of tokens per row.
    n: usize,
    /// The number of prepended embeddings.
    front: usize,
    /// The input of the model, `(batch · (n - 1))`.
    input: Vec<i64>,
    /// All ids, `(batch · n)`.
    ids: Vec<i64>,
    /// Which targets count, `(batch · (n - 1))`.
    counted: Vec<bool>,
    /// The device of the tokens.
    device: Device,
}

impl Rows {
    /// Applies `f` to the index in `(batch · (n - 1))` of each input column of a part, row by row.
    fn each<T>(&self, part: &Part, f: impl Fn(usize) -> T) -> Vec<T> {
        let row = |row: &usize| row * (self.n - 1)..row * (self.n - 1) + part.length - 1;
        part.rows.iter().flat_map(row).map(f).collect()
    }

    /// The input of the model for a part, i64, `(rows, length - 1)`.
    fn seen(&self, part: &Part) -> Result<Tensor> {
        let ids = self.each(part, |at| self.input[at]);
        Ok(Tensor::constant(Array::from_vec(
            ids,
            (part.rows.len(), part.length - 1),
            &self.device,
        )?))
    }

    /// Selects the log-probabilities of the targets from the logits of a part. Returns
    /// `(rows, n - 1)`, with 0 for tokens that do not count.
    fn log_probs(&self, logits: &Tensor, part: &Part) -> Result<Tensor> {
        let (rows, columns) = (part.rows.len(), part.length - 1);
        let logits = ops::narrow(logits, 1, self.front, columns)?;
        // ids that do not count need not be in the vocabulary
        let target =
            |at: usize| if self.counted[at] { self.ids[at + at / (self.n - 1) + 1] } else { 0 };
        let targets = Array::from_vec(self.each(part, target), (rows, columns, 1), &self.device)?;
        // (rows, columns, 1)
        let all = ops::gather(&ops::log_softmax(&logits, 2)?, &Tensor::constant(targets), 2)?;
        let all = ops::reshape(&all, &[rows, columns])?;
        let bits = self.each(part, |at| u8::from(self.counted[at]));
        let mask = Tensor::boolean(Array::from_vec(bits, (rows, columns), &self.device)?);
        let kept = ops::where_cond(&mask, &all, &ops::scalar_like(&all, 0.0)?)?;
        let rest = Array::zeros((rows, self.n - 1 - columns), kept.dtype(), &self.device)?;
        Ok(if columns + 1 == self.n {
            kept
        } else {
            ops::cat(&[&kept, &Tensor::constant(rest)], 1)?
        })
    }
}

/// The results of all parts in the order of the batch, `(batch, n - 1)`, with 0 for rows that are
/// in no part.
fn together(parts: &[(Tensor, Vec<usize>)], batch: usize, rows: &Rows) -> Result<Tensor> {
    if let [(all, own)] = parts {
        if own.len() == batch {
            return Ok(all.clone());
        }
    }
    let dtype = parts.first().map_or(DType::F32, |(all, _)| all.dtype());
    let mut arrays = parts.iter().map(|(all, _)| Ok(all.array()?)).collect::<Result<Vec<_>>>()?;
    let scored: Vec<usize> = parts.iter().flat_map(|(_, rows)| rows.iter().copied()).collect();
    // an additional row of zeros for the rows in which no token counts
    arrays.push(Array::zeros((1, rows.n - 1), dtype, &rows.device)?);
    let place =
        |row: usize| scored.iter().position(|own| *own == row).unwrap_or(scored.len()) as i64;
    let places = Array::from_vec((0..batch).map(place).collect::<Vec<_>>(), batch, &rows.device)?;
    Ok(Tensor::constant(Array::cat(&arrays, 0)?.index_select(&places, 0)?))
}

/// The tensors that accompany a part, cut to its rows and columns. `with` has the tensors of all
/// rows; its masks have `front + n` columns.
fn part_of(
    with: &TokenTensors,
    (batch, n): (usize, usize),
    front: usize,
    part: &Part,
) -> Result<TokenTensors> {
    let mut with =
        if part.rows.len() == batch { with.clone() } else { with_rows(with, batch, &part.rows)? };
    let columns = part.length - 1;
    let first = |tensor: &mut Option<Tensor>,
                 axis: fn(&Tensor) -> usize,
                 length: usize|
     -> Result<()> {
        if let Some(t) = tensor.as_ref().filter(|t| t.rank() > axis(t) && t.dim(axis(t)) > length) {
            *tensor = Some(ops::narrow(t, axis(t), 0, length)?);
        }
        Ok(())
    };
    let layers = &mut with.layers;
    first(&mut layers.mask, |_| 1, front + columns)?;
    first(&mut layers.self_attn_context_mask, |_| 1, front + columns)?;
    if part.length < n {
        // these tensors have n - 1 columns, without the last token
        first(&mut layers.attn_mask, |mask| mask.rank().saturating_sub(1), front + columns)?;
        first(&mut layers.attn_mask, |mask| mask.rank().saturating_sub(2), front + columns)?;
        first(&mut with.sum_embeds, |_| 1, columns)?;
        // i64 positions are (.., n), embeddings are (.., n, dim)
        let axis: fn(&Tensor) -> usize = match with.pos.as_ref().map(Tensor::dtype) {
            Some(DType::I64) => |pos| pos.rank().saturating_sub(1),
            _ => |pos| pos.rank().saturating_sub(2),
        };
        first(&mut with.pos, axis, columns)?;
    }
    Ok(with)
}

/// The values of a mask over all tokens, row by row, without the `front` columns of prepended
/// embeddings.
fn behind(mask: &Tensor, batch: usize, front: usize, n: usize) -> Result<Vec<u8>> {
    let all = rows_of(mask, batch, front + n)?;
    Ok(all.chunks_exact(front + n).flat_map(|row| &row[front..]).copied().collect())
}

/// The values of a mask over all tokens, row by row.
///
/// # Errors
///
/// [`Error::Shape`] if the mask is not bool or not `(batch, n)`.
fn rows_of(mask: &Tensor, batch: usize, n: usize) -> Result<Vec<u8>> {
    require_bool(mask, "mask")?;
    if mask.dims() != [batch, n] {
        return Error::shape(format!(
            "mask must be bool of shape {:?}, one for each token, got {:?}",
            [batch, n],
            mask.dims()
        ));
    }
    Ok(mask.array()?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?)
}

/// The number of positions by which each row is rotated to the left, so that its first real token
/// comes first. Padding then follows the tokens, where it does not affect their results.
fn turns(real: Option<&[u8]>, batch: usize, n: usize) -> Vec<usize> {
    match real {
        None => vec![0; batch],
        Some(real) => {
            real.chunks_exact(n).map(|row| row.iter().position(|r| *r != 0).unwrap_or(0)).collect()
        }
    }
}

/// Rotates each row of `all` to the left by its entry of `turns`, or back to the right.
fn turn<T>(all: &mut [T], turns: &[usize], back: bool) {
    let width = all.len() / turns.len().max(1);
    for (row, by) in all.chunks_exact_mut(width.max(1)).zip(turns) {
        match back {
            true => row.rotate_right(*by),
            false => row.rotate_left(*by),
        }
    }
}

/// The tensors that accompany the tokens, with masks rotated like the rows.
///
/// # Errors
///
/// [`Error::Shape`] if a mask does not fit, or if other tensors with one column per token would
/// have to be rotated.
fn inputs(with: &TokenTensors, turns: &[usize], front: usize, n: usize) -> Result<TokenTensors> {
    let mut with = with.clone();
    let turned = turns.iter().any(|by| *by > 0);
    if turned && has_columns(&with) {
        return Error::shape(
            "pos, sum_embeds and attn_mask do not go with tokens that are padded on the left: pad them on the right",
        );
    }
    let again = |mask: &Tensor| -> Result<Tensor> {
        let mut bits = rows_of(mask, turns.len(), front + n)?;
        for (row, by) in bits.chunks_exact_mut(front + n).zip(turns) {
            row[front..].rotate_left(*by);
        }
        let array = Array::from_vec(bits, (turns.len(), front + n), &Device::Cpu)?
            .to_device(&mask.device())?;
        Ok(Tensor::boolean(array))
    };
    let layers = &mut with.layers;
    layers.mask = layers.mask.as_ref().map(again).transpose()?;
    layers.self_attn_context_mask =
        layers.self_attn_context_mask.as_ref().map(again).transpose()?;
    // the mask also serves as the mask of a context of equal length; parts cut `mask`, so the whole
    // mask is kept as `context_mask`
    if let (Some(context), None, Some(mask)) = (&layers.context, &layers.context_mask, &layers.mask)
    {
        if context.rank() == 3 && context.dim(1) == front + n - 1 {
            layers.context_mask = Some(ops::narrow(mask, 1, 0, front + n - 1)?);
        }
    }
    Ok(with)
}

/// The score from log-probabilities `(batch, n - 1)` of rotated rows, with the columns rotated
/// back. `counted` tells which targets count.
fn scored(log_probs: Tensor, counted: &[bool], turns: &[usize]) -> Result<Score> {
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
    if turns.iter().all(|by| *by == 0) {
        return Ok(Score { log_probs, perplexity });
    }
    // the rotated column from which each column of a row comes
    let mut places: Vec<i64> = (0..batch).flat_map(|_| 0..n as i64).collect();
    turn(&mut places, turns, true);
    let places = Tensor::constant(Array::from_vec(places, (batch, n), &device)?);
    Ok(Score { log_probs: ops::gather(&log_probs, &places, 1)?, perplexity })
}
