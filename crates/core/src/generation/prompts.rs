//! Prompts aligned at the right, of different lengths if there is a mask, and the tensors that
//! accompany them.

use super::columns::{check_columns, check_far, fill_padding, rotate_columns, span_columns};
use crate::ids::{in_vocabulary, out_of_vocabulary, require_bool, unknown_id, wrong_ids};
use crate::models::TokenTensors;
use crate::{Array, DType, Device, Error, Result, Tensor};
use xt_autograd::ops;

/// Prompts with padding on the left only: rows padded on the right were rotated.
pub struct Prompts {
    /// Token ids by row; all rows have the same length.
    pub rows: Vec<Vec<i64>>,
    /// The number of padding columns at the start of each row.
    pub padding: Vec<usize>,
    /// Whether the prompt came without a batch axis.
    pub unbatched: bool,
}

/// The real columns of a row.
struct RealColumns {
    /// The first real column.
    first: usize,
    /// By how many columns the row is rotated to the right, so that its last real column becomes
    /// the last column.
    rotation: usize,
}

impl Prompts {
    /// Reads `start`, i64, (n) or (batch, n). A mask in `with`, bool (batch, front + n), tells
    /// which tokens are real; the mask and `self_attn_context_mask` are rotated with the rows. A
    /// prompt without batch axis may have masks without one. Where the mask is false, ids may be
    /// outside of the `vocabulary`.
    ///
    /// # Errors
    /// `start` or a mask has the wrong type or shape, a real id is outside of the vocabulary, or a
    /// prompt has no real token.
    pub fn read(start: &Tensor, vocabulary: usize, with: &mut TokenTensors) -> Result<Self> {
        let (unbatched, n) = (start.rank() == 1, start.dim(start.rank().saturating_sub(1)));
        if !matches!(start.rank(), 1 | 2) || start.dtype() != DType::I64 || start.elem_count() == 0
        {
            return wrong_ids(
                "start_tokens",
                "(length) or (batch, length), with at least one token",
                start,
            );
        }
        xt_kernels::memory::alloc::check(&[start.elem_count(), 3], DType::I64)?;
        let ids: Vec<i64> = start.array()?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?;
        let mut rows: Vec<Vec<i64>> = ids.chunks_exact(n).map(<[i64]>::to_vec).collect();
        if unbatched {
            with.layers.add_batch_axis()?;
        }
        check_columns(with, rows.len(), &[n])?;
        if with.layers.mask.is_none() {
            check_far(with)?;
        }
        let Some(mask) = with.layers.mask.clone() else {
            if let Some(error) = out_of_vocabulary(start, vocabulary, None) {
                return Err(error);
            }
            let padding = vec![0; rows.len()];
            return Ok(Self { rows, padding, unbatched });
        };
        let prefix = with.prepend_embeds.as_ref().map_or(0, |e| e.dim(1));
        let real = mask_values(&mask, rows.len(), prefix + n)?;
        let spans = spans(&real, prefix)?;
        if spans.iter().any(|span| span.rotation > 0) {
            refuse_per_column_tensors(with)?;
        }
        if spans.iter().any(|span| span.first + span.rotation > 0) {
            let tokens = spans.iter().map(|span| span.first..n - span.rotation);
            fill_padding(with, &tokens.collect::<Vec<_>>())?;
            let by: Vec<usize> = spans.iter().map(|span| span.rotation).collect();
            rotate_columns(with, &by)?;
        }
        check_far(with)?;
        for (i, ((row, real), span)) in rows.iter_mut().zip(&real).zip(&spans).enumerate() {
            replace_padding_ids(row, &real[prefix..], span, vocabulary);
            if let Some(at) = row.iter().position(|id| !in_vocabulary(*id, vocabulary)) {
                return Err(unknown_id(row[at], &[i, at], vocabulary));
            }
            row.rotate_right(span.rotation);
        }
        with.layers.mask = Some(rotated_mask(&mask, &real, &spans, prefix)?);
        if let Some(keys) = &with.layers.self_attn_context_mask {
            let mut allowed = mask_values(keys, rows.len(), prefix + n)?;
            // padding must not be attended to, whatever this mask says
            allowed
                .iter_mut()
                .flatten()
                .zip(real.iter().flatten())
                .for_each(|(a, real)| *a &= real);
            with.layers.self_attn_context_mask =
                Some(rotated_mask(keys, &allowed, &spans, prefix)?);
        }
        Ok(Self {
            rows,
            padding: spans.iter().map(|span| span.first + span.rotation).collect(),
            unbatched,
        })
    }

    /// The tokens of each row without the padding in front.
    pub fn real(&self) -> Vec<&[i64]> {
        self.rows.iter().zip(&self.padding).map(|(row, padding)| &row[*padding..]).collect()
    }

    /// Rows and padding, with each prompt repeated `times` times in succession.
    pub fn repeated(self, times: usize) -> (Vec<Vec<i64>>, Vec<usize>) {
        let rows = self.rows.into_iter().flat_map(|row| std::iter::repeat_n(row, times)).collect();
        (
            rows,
            self.padding
                .into_iter()
                .flat_map(|padding| std::iter::repeat_n(padding, times))
                .collect(),
        )
    }
}

/// The values of a bool mask, (rows, columns), row by row.
pub fn mask_values(mask: &Tensor, rows: usize, columns: usize) -> Result<Vec<Vec<u8>>> {
    require_bool(mask, "mask")?;
    if mask.dims() != [rows, columns] {
        return Error::shape(format!(
            "mask must be bool of shape {:?}, got {:?}",
            [rows, columns],
            mask.dims()
        ));
    }
    let flat: Vec<u8> = mask.array()?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?;
    Ok(flat.chunks_exact(columns).map(<[u8]>::to_vec).collect())
}

/// The real columns of each row after the first `prefix`; an error if a row has none.
fn spans(real: &[Vec<u8>], prefix: usize) -> Result<Vec<RealColumns>> {
    let span = |(i, row): (usize, &Vec<u8>)| {
        let row = &row[prefix..];
        match (row.iter().position(|r| *r != 0), row.iter().rposition(|r| *r != 0)) {
            (Some(first), Some(last)) => Ok(RealColumns { first, rotation: row.len() - 1 - last }),
            _ => Error::shape(format!(
                "row {i} of mask is false everywhere: a prompt needs at least one token"
            )),
        }
    };
    real.iter().enumerate().map(span).collect()
}

/// Replaces padding ids outside of the vocabulary by the first real token. Between real tokens,
/// this adds neither a token to penalise nor an end token.
fn replace_padding_ids(row: &mut [i64], real: &[u8], span: &RealColumns, vocabulary: usize) {
    let first = row[span.first];
    let is_unknown_padding = |id: i64, real: u8| real == 0 && !in_vocabulary(id, vocabulary);
    row.iter_mut()
        .zip(real)
        .filter(|(id, real)| is_unknown_padding(**id, **real))
        .for_each(|(id, _)| *id = first);
}

/// The name of a tensor that belongs to columns of the prompt and has nothing for new ones, if
/// there is one. Masks and [`columns`] go on with the sequence.
fn per_column_tensor(with: &TokenTensors) -> Option<&'static str> {
    let given = [
        ("pos", with.pos.as_ref().is_some_and(|pos| pos.dtype() != DType::I64)),
        ("sum_embeds", with.sum_embeds.is_some()),
        ("attn_mask", with.layers.attn_mask.is_some()),
    ];
    given.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
}

/// Whether a tensor belongs to columns of the prompt and has nothing for new ones.
pub fn has_per_column_tensors(with: &TokenTensors) -> bool {
    per_column_tensor(with).is_some()
}

/// Returns an error if there are such tensors: they would not be rotated with the rows.
fn refuse_per_column_tensors(with: &TokenTensors) -> Result<()> {
    match per_column_tensor(with) {
        Some(name) => Error::shape(format!(
            "{name} does not go with prompts that are padded on the right: pad them on the left"
        )),
        None => Ok(()),
    }
}

/// `rows` as a mask on the device of `like`, with the columns after the first `prefix` rotated by
/// `spans`.
fn rotated_mask(
    like: &Tensor,
    rows: &[Vec<u8>],
    spans: &[RealColumns],
    prefix: usize,
) -> Result<Tensor> {
    let mut rows = rows.to_vec();
    rows.iter_mut().zip(spans).for_each(|(row, span)| row[prefix..].rotate_right(span.rotation));
    let array = Array::from_vec(rows.concat(), like.dims(), &Device::Cpu)?;
    Ok(Tensor::boolean(array.to_device(&like.device())?))
}

/// Positions of the last `seen` of `n` columns, i64 (rows, seen), counted from the first real token
/// of each row. `None` without padding, when all rows count from the first column.
pub fn positions(
    padding: &[usize],
    n: usize,
    seen: usize,
    device: &Device,
) -> Result<Option<Tensor>> {
    if padding.iter().all(|padding| *padding == 0) {
        return Ok(None);
    }
    let cut = n - seen;
    let row = |padding: &usize| {
        let first = padding.saturating_sub(cut);
        (0..seen).map(move |column| column.saturating_sub(first) as i64)
    };
    let all: Vec<i64> = padding.iter().flat_map(row).collect();
    Ok(Some(Tensor::constant(Array::from_vec(all, (padding.len(), seen), device)?)))
}

/// Repeats the rows of each tensor with a batch axis of size `batch`, each `times` times in
/// succession.
pub fn repeat_rows(with: &TokenTensors, batch: usize, times: usize) -> Result<TokenTensors> {
    if times == 1 {
        return Ok(with.clone());
    }
    let rows: Vec<usize> = (0..batch).flat_map(|row| std::iter::repeat_n(row, times)).collect();
    select_rows(with, batch, &rows)
}

/// Selects rows of each tensor with a batch axis of size `batch`. The results have no graph.
pub fn select_rows(with: &TokenTensors, batch: usize, rows: &[usize]) -> Result<TokenTensors> {
    let mut with = with.clone();
    let layers = &mut with.layers;
    // each with the rank that the tensor has with a batch axis
    let pos = with.pos.as_ref().map_or(0, Tensor::rank);
    let integers = with.pos.as_ref().is_some_and(|pos| pos.dtype() == DType::I64);
    let tensors = [
        (&mut with.pos, if integers { pos.max(2) } else { 3 }),
        (&mut with.prepend_embeds, 3),
        (&mut with.sum_embeds, 3),
        (&mut layers.context, 3),
        (&mut layers.mask, 2),
        (&mut layers.context_mask, 2),
        (&mut layers.context_pos, 2),
        (&mut layers.attn_mask, 4),
        (&mut layers.self_attn_context_mask, 2),
    ];
    for (tensor, rank) in tensors {
        if let Some(t) = tensor.as_ref().filter(|t| t.rank() == rank && t.dim(0) == batch) {
            *tensor = Some(select(t, rows)?);
        }
    }
    for (_, ids) in with.embed_ids.iter_mut().filter(|(_, t)| t.rank() == 2 && t.dim(0) == batch) {
        *ids = select(ids, rows)?;
    }
    for mask in layers.mem_masks.iter_mut().filter(|m| m.rank() == 2 && m.dim(0) == batch) {
        *mask = select(mask, rows)?;
    }
    for memory in layers.mems.iter_mut().filter(|m| m.rank() == 3 && m.dim(0) == batch) {
        *memory = select(memory, rows)?;
    }
    Ok(with)
}

/// The given rows of `x`, along the first axis.
fn select(x: &Tensor, rows: &[usize]) -> Result<Tensor> {
    // the output of an encoder may be a view of a larger array
    let array = xt_kernels::ops::layout::contiguous(&x.array()?)?;
    xt_kernels::memory::alloc::check_on(
        &array.device(),
        &[rows.len(), array.elem_count() / array.dim(0)?.max(1)],
        array.dtype(),
    )?;
    let rows: Vec<i64> = rows.iter().map(|row| *row as i64).collect();
    let chosen =
        array.index_select(&Array::from_vec(rows.clone(), rows.len(), &array.device())?, 0)?;
    Ok(if x.is_boolean() { Tensor::boolean(chosen) } else { Tensor::constant(chosen) })
}

/// The tensors for the columns of a prompt without the first `cut` of its `n` columns; those of
/// embeddings in front stay.
pub fn drop_columns(with: &TokenTensors, cut: usize, n: usize) -> Result<TokenTensors> {
    let mut with = with.clone();
    span_columns(&mut with, cut, n)?;
    let prefix = with.prepend_embeds.as_ref().map_or(0, |e| e.dim(1));
    // those of another length stay: the model refuses them
    let without = |t: &Tensor, axis: usize, front: usize| -> Result<Tensor> {
        if t.dim(axis) != front + n {
            return Ok(t.clone());
        }
        let rest = ops::narrow(t, axis, front + cut, n - cut)?;
        Ok(ops::cat(&[&ops::narrow(t, axis, 0, front)?, &rest], axis)?)
    };
    // position embeddings are (n, dim) or (batch, n, dim)
    if let Some(pos) = with.pos.as_mut().filter(|pos| pos.dtype() != DType::I64 && pos.rank() > 1) {
        *pos = without(pos, pos.rank() - 2, 0)?;
    }
    if let Some(sums) = with.sum_embeds.as_mut().filter(|sums| sums.rank() == 3) {
        *sums = without(sums, 1, 0)?;
    }
    let layers = &mut with.layers;
    for mask in [&mut layers.mask, &mut layers.self_attn_context_mask].into_iter().flatten() {
        *mask = without(mask, 1, prefix)?;
    }
    if let Some(pairs) = layers.attn_mask.as_mut().filter(|mask| mask.rank() > 1) {
        let rank = pairs.rank();
        *pairs = without(&without(pairs, rank - 1, prefix)?, rank - 2, prefix)?;
    }
    Ok(with)
}
