//! How likely a model holds a sequence to be.

use super::{AutoregressiveWrapper, TokenTensors};
use crate::generation::{has_columns, with_rows};
use crate::ids::{is_known, not_ids, require_bool, unknown};
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
    /// (batch, n) or, with `count` prepended embeddings, (batch, count + n), only tokens that are real and stand behind a real one do,
    /// and a row is scored as if it began with its first real token. Where what stands behind shows in what comes before (the middle
    /// of xpos), rows of one length go through the model together. Dropout is off, and there is no graph.
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
            return not_ids("tokens", "(length) or (batch, length), length at least 2", tokens);
        }
        let (batch, n) = (tokens.dim(0), tokens.dim(1));
        xt_kernels::memory::alloc::check(&[tokens.elem_count(), 3], crate::DType::I64)?;
        let front = with.prepend_embeds.as_ref().map_or(0, |embeds| embeds.dim(1));
        let mut ids: Vec<i64> = tokens.array()?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?;
        let mut real = with.layers.mask.as_ref().map(|mask| behind(mask, batch, front, n)).transpose()?;
        let turns = turns(real.as_deref(), batch, n);
        let with = inputs(with, &turns, front, n)?;
        turn(&mut ids, &turns, false);
        if let Some(real) = &mut real {
            turn(real, &turns, false);
        }
        let counted = self.counted(&ids, n, real.as_deref(), ignore_pad);
        let input = self.input(&ids, n, real.as_deref(), &counted);
        // a token that does not count need not be one of the vocabulary
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

    /// How many columns of each turned row the model is to see for its score, and one more; 0 where nothing counts. All of them where
    /// what stands behind shows in nothing before.
    fn lengths(&self, n: usize, real: Option<&[u8]>, counted: &[bool]) -> Vec<usize> {
        let layers = self.net().layers();
        let counts = counted.chunks_exact(n - 1).map(|row| row.iter().rposition(|counts| *counts).map(|at| at + 2));
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

    /// An error that names an id, of as many rows as `turns`, which is not in the vocabulary; the first column was column `from`.
    fn check(&self, ids: &[i64], turns: &[usize], from: usize) -> Result<()> {
        let (tokens, width) = (self.net().num_tokens(), (ids.len() / turns.len().max(1)).max(1));
        match ids.iter().position(|id| !is_known(*id, tokens)) {
            Some(at) => Err(unknown(ids[at], &[at / width, at % width + from + turns[at / width]], tokens)),
            None => Ok(()),
        }
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

/// Rows of one length, which go through the model together.
struct Part {
    length: usize,
    rows: Vec<usize>,
}

/// The rows by their lengths; those of which nothing counts are in none.
fn parts(lengths: &[usize]) -> Vec<Part> {
    let mut all: Vec<usize> = lengths.iter().copied().filter(|length| *length > 1).collect();
    all.sort_unstable();
    all.dedup();
    let rows = |length: usize| (0..lengths.len()).filter(|row| lengths[*row] == length).collect();
    all.into_iter().map(|length| Part { length, rows: rows(length) }).collect()
}

/// All rows, turned.
struct Rows {
    n: usize,
    /// Columns in front of the tokens.
    front: usize,
    /// (batch · (n - 1)).
    input: Vec<i64>,
    /// (batch · n).
    ids: Vec<i64>,
    /// (batch · (n - 1)).
    counted: Vec<bool>,
    device: Device,
}

impl Rows {
    /// For each column of a part that comes behind another, what `f` makes of its place in (batch · (n - 1)).
    fn each<T>(&self, part: &Part, f: impl Fn(usize) -> T) -> Vec<T> {
        let row = |row: &usize| row * (self.n - 1)..row * (self.n - 1) + part.length - 1;
        part.rows.iter().flat_map(row).map(f).collect()
    }

    /// What the model sees of a part.
    fn seen(&self, part: &Part) -> Result<Tensor> {
        let ids = self.each(part, |at| self.input[at]);
        Ok(Tensor::constant(Array::from_vec(ids, (part.rows.len(), part.length - 1), &self.device)?))
    }

    /// From the logits of a part those of the tokens that came, (rows, n - 1); 0 where they do not count.
    fn log_probs(&self, logits: &Tensor, part: &Part) -> Result<Tensor> {
        let (rows, columns) = (part.rows.len(), part.length - 1);
        let logits = ops::narrow(logits, 1, self.front, columns)?;
        // a token that does not count need not be one of the vocabulary
        let target = |at: usize| if self.counted[at] { self.ids[at + at / (self.n - 1) + 1] } else { 0 };
        let targets = Array::from_vec(self.each(part, target), (rows, columns, 1), &self.device)?;
        let all = ops::gather(&ops::log_softmax(&logits, 2)?, &Tensor::constant(targets), 2)?;
        let all = ops::reshape(&all, &[rows, columns])?;
        let bits = self.each(part, |at| u8::from(self.counted[at]));
        let mask = Tensor::boolean(Array::from_vec(bits, (rows, columns), &self.device)?);
        let kept = ops::where_cond(&mask, &all, &ops::scalar_like(&all, 0.0)?)?;
        let rest = Array::zeros((rows, self.n - 1 - columns), kept.dtype(), &self.device)?;
        Ok(if columns + 1 == self.n { kept } else { ops::cat(&[&kept, &Tensor::constant(rest)], 1)? })
    }
}

/// The results of all parts in the order of the rows, (batch, n - 1); 0 for rows that are in none.
fn together(parts: &[(Tensor, Vec<usize>)], batch: usize, rows: &Rows) -> Result<Tensor> {
    if let [(all, own)] = parts {
        if own.len() == batch {
            return Ok(all.clone());
        }
    }
    let dtype = parts.first().map_or(DType::F32, |(all, _)| all.dtype());
    let mut arrays = parts.iter().map(|(all, _)| Ok(all.array()?)).collect::<Result<Vec<_>>>()?;
    let scored: Vec<usize> = parts.iter().flat_map(|(_, rows)| rows.iter().copied()).collect();
    // the last one is for rows of which nothing counts
    arrays.push(Array::zeros((1, rows.n - 1), dtype, &rows.device)?);
    let place = |row: usize| scored.iter().position(|own| *own == row).unwrap_or(scored.len()) as i64;
    let places = Array::from_vec((0..batch).map(place).collect::<Vec<_>>(), batch, &rows.device)?;
    Ok(Tensor::constant(Array::cat(&arrays, 0)?.index_select(&places, 0)?))
}

/// What goes along with a part; `with` is for all rows, of which the masks have `front + n` columns.
fn part_of(with: &TokenTensors, (batch, n): (usize, usize), front: usize, part: &Part) -> Result<TokenTensors> {
    let mut with = if part.rows.len() == batch { with.clone() } else { with_rows(with, batch, &part.rows)? };
    let columns = part.length - 1;
    let first = |tensor: &mut Option<Tensor>, axis: fn(&Tensor) -> usize, length: usize| -> Result<()> {
        if let Some(t) = tensor.as_ref().filter(|t| t.rank() > axis(t) && t.dim(axis(t)) > length) {
            *tensor = Some(ops::narrow(t, axis(t), 0, length)?);
        }
        Ok(())
    };
    let layers = &mut with.layers;
    first(&mut layers.mask, |_| 1, front + columns)?;
    first(&mut layers.self_attn_context_mask, |_| 1, front + columns)?;
    if part.length < n {
        // these have no column for the last token
        first(&mut layers.attn_mask, |mask| mask.rank().saturating_sub(1), front + columns)?;
        first(&mut layers.attn_mask, |mask| mask.rank().saturating_sub(2), front + columns)?;
        first(&mut with.sum_embeds, |_| 1, columns)?;
        // positions are the last axis of integers, and the one before the features of embeddings
        let axis: fn(&Tensor) -> usize = match with.pos.as_ref().map(Tensor::dtype) {
            Some(DType::I64) => |pos| pos.rank().saturating_sub(1),
            _ => |pos| pos.rank().saturating_sub(2),
        };
        first(&mut with.pos, axis, columns)?;
    }
    Ok(with)
}

/// The values of a mask over all tokens, row behind row, without the `front` columns before them.
fn behind(mask: &Tensor, batch: usize, front: usize, n: usize) -> Result<Vec<u8>> {
    let all = rows_of(mask, batch, front + n)?;
    Ok(all.chunks_exact(front + n).flat_map(|row| &row[front..]).copied().collect())
}

/// The values of a mask over all tokens, row behind row.
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

/// What goes along with the tokens, the masks turned as the rows are.
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
        let array = Array::from_vec(bits, (turns.len(), front + n), &Device::Cpu)?.to_device(&mask.device())?;
        Ok(Tensor::boolean(array))
    };
    let layers = &mut with.layers;
    layers.mask = layers.mask.as_ref().map(again).transpose()?;
    layers.self_attn_context_mask = layers.self_attn_context_mask.as_ref().map(again).transpose()?;
    // where it stands for the context too, it does so as a whole
    if let (Some(context), None, Some(mask)) = (&layers.context, &layers.context_mask, &layers.mask) {
        if context.rank() == 3 && context.dim(1) == front + n - 1 {
            layers.context_mask = Some(ops::narrow(mask, 1, 0, front + n - 1)?);
        }
    }
    Ok(with)
}

/// From log-probabilities (batch, n - 1), turned.
fn scored(log_probs: Tensor, counted: &[bool], turns: &[usize]) -> Result<Score> {
    let (batch, n) = (log_probs.dim(0), log_probs.dim(1));
    let device = log_probs.device();
    let counts: Vec<f64> =
        counted.chunks_exact(n).map(|row| row.iter().filter(|counts| **counts).count() as f64).collect();
    let counts = Tensor::constant(Array::from_vec(counts, batch, &device)?.to_dtype(log_probs.dtype())?);
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
