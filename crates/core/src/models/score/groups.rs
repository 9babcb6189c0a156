//! Rows of equal length, which go through the model together.

use crate::generation::{select_rows, span_columns};
use crate::models::TokenTensors;
use crate::{Array, DType, Device, Result, Tensor};
use xt_autograd::ops;

/// Rows of equal length, which go through the model together.
pub struct Group {
    /// The number of tokens per row, including the last, which is only a target.
    pub length: usize,
    /// The indices of the rows in the batch.
    pub rows: Vec<usize>,
}

/// Groups the rows by length. Rows in which no token counts are in no group.
pub fn group_by_length(lengths: &[usize]) -> Vec<Group> {
    let mut all: Vec<usize> = lengths.iter().copied().filter(|length| *length > 1).collect();
    all.sort_unstable();
    all.dedup();
    let rows = |length: usize| (0..lengths.len()).filter(|row| lengths[*row] == length).collect();
    all.into_iter().map(|length| Group { length, rows: rows(length) }).collect()
}

/// All rows, rotated.
pub struct RotatedRows {
    /// The number of tokens per row.
    pub n: usize,
    /// The number of prepended embeddings.
    pub prefix: usize,
    /// The input of the model, `(batch · (n - 1))`.
    pub input: Vec<i64>,
    /// All ids, `(batch · n)`.
    pub ids: Vec<i64>,
    /// Which targets count, `(batch · (n - 1))`.
    pub counted: Vec<bool>,
    /// The device of the tokens.
    pub device: Device,
}

impl RotatedRows {
    /// Applies `f` to the index in `(batch · (n - 1))` of each input column of a group, row by row.
    fn each<T>(&self, group: &Group, f: impl Fn(usize) -> T) -> Vec<T> {
        let row = |row: &usize| row * (self.n - 1)..row * (self.n - 1) + group.length - 1;
        group.rows.iter().flat_map(row).map(f).collect()
    }

    /// The input of the model for a group, i64, `(rows, length - 1)`.
    pub fn input_ids(&self, group: &Group) -> Result<Tensor> {
        let ids = self.each(group, |at| self.input[at]);
        Ok(Tensor::constant(Array::from_vec(
            ids,
            (group.rows.len(), group.length - 1),
            &self.device,
        )?))
    }

    /// Selects the log-probabilities of the targets from the logits of a group. Returns
    /// `(rows, n - 1)`, with 0 for tokens that do not count.
    pub fn log_probs(&self, logits: &Tensor, group: &Group) -> Result<Tensor> {
        let (rows, columns) = (group.rows.len(), group.length - 1);
        let logits = ops::narrow(logits, 1, self.prefix, columns)?;
        // ids that do not count need not be in the vocabulary
        let target =
            |at: usize| if self.counted[at] { self.ids[at + at / (self.n - 1) + 1] } else { 0 };
        let targets = Array::from_vec(self.each(group, target), (rows, columns, 1), &self.device)?;
        // (rows, columns, 1)
        let all = ops::gather(&ops::log_softmax(&logits, 2)?, &Tensor::constant(targets), 2)?;
        let all = ops::reshape(&all, &[rows, columns])?;
        let bits = self.each(group, |at| u8::from(self.counted[at]));
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

/// The results of all groups in the order of the batch, `(batch, n - 1)`, with 0 for rows that are
/// in no group.
pub fn merge_groups(
    group_by_length: &[(Tensor, Vec<usize>)],
    batch: usize,
    rows: &RotatedRows,
) -> Result<Tensor> {
    if let [(all, own)] = group_by_length {
        if own.len() == batch {
            return Ok(all.clone());
        }
    }
    let dtype = group_by_length.first().map_or(DType::F32, |(all, _)| all.dtype());
    let mut arrays =
        group_by_length.iter().map(|(all, _)| Ok(all.array()?)).collect::<Result<Vec<_>>>()?;
    let scored: Vec<usize> =
        group_by_length.iter().flat_map(|(_, rows)| rows.iter().copied()).collect();
    // an additional row of zeros for the rows in which no token counts
    arrays.push(Array::zeros((1, rows.n - 1), dtype, &rows.device)?);
    let place =
        |row: usize| scored.iter().position(|own| *own == row).unwrap_or(scored.len()) as i64;
    let places = Array::from_vec((0..batch).map(place).collect::<Vec<_>>(), batch, &rows.device)?;
    Ok(Tensor::constant(Array::cat(&arrays, 0)?.index_select(&places, 0)?))
}

/// The tensors that accompany a group, cut to its rows and columns. `with` has the tensors of all
/// rows; its masks have `prefix + n` columns.
pub fn group_tensors(
    with: &TokenTensors,
    (batch, n): (usize, usize),
    prefix: usize,
    group: &Group,
) -> Result<TokenTensors> {
    let mut with = if group.rows.len() == batch {
        with.clone()
    } else {
        select_rows(with, batch, &group.rows)?
    };
    let columns = group.length - 1;
    span_columns(&mut with, 0, columns)?;
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
    first(&mut layers.mask, |_| 1, prefix + columns)?;
    first(&mut layers.self_attn_context_mask, |_| 1, prefix + columns)?;
    if group.length < n {
        // these tensors have n - 1 columns, without the last token
        first(&mut layers.attn_mask, |mask| mask.rank().saturating_sub(1), prefix + columns)?;
        first(&mut layers.attn_mask, |mask| mask.rank().saturating_sub(2), prefix + columns)?;
        first(&mut with.sum_embeds, |_| 1, columns)?;
        // position embeddings, (.., n, dim)
        let axis = |pos: &Tensor| pos.rank().saturating_sub(2);
        if with.pos.as_ref().is_some_and(|pos| pos.dtype() != DType::I64) {
            first(&mut with.pos, axis, columns)?;
        }
    }
    Ok(with)
}
