//! Rows of different lengths, as masks and positions.

use super::inputs::see_whole_context;
use crate::models::TokenTensors;
use crate::{Args, Array, DType, Device, Error, Result, Tensor};
use xt_autograd::ops;
use xt_options::generation::PromptOptions;
use xt_options::IdsRef;

/// The prompts of a generation, i64 `(n)` or `(batch, n)`, and what is real of them, bool
/// `(batch, n)`, where the arguments say lengths: an array of prompts, each i64 `(length)`, or one
/// tensor and `prompt_lens`.
pub fn prompts(args: &Args, options: &PromptOptions) -> Result<(Tensor, Option<Tensor>)> {
    let lens = args.optional(options.prompt_lens)?;
    let Ok(list) = args.positional::<Vec<IdsRef>>(0, "start_tokens") else {
        let start = args.tensor(0, "start_tokens")?;
        let mask = lens.map(|lens| first_columns("prompt_lens", &lens, &start)).transpose()?;
        return Ok((start, mask));
    };
    if lens.is_some() {
        return Error::shape("prompt_lens do not go with an array of prompts, which have lengths");
    }
    let all: Vec<Tensor> =
        list.into_iter().map(|ids| args.resolve(ids.into())).collect::<Result<_>>()?;
    let right = |t: &Tensor| t.rank() == 1 && t.dim(0) > 0 && t.dtype() == DType::I64;
    if let Some(at) = all.iter().position(|t| !right(t)) {
        return Error::shape(format!(
            "start_tokens[{at}] must be token ids of shape (length), at least one, got shape {:?}",
            all[at].dims()
        ));
    }
    let lengths: Vec<i64> = all.iter().map(|t| t.dim(0) as i64).collect();
    let n = lengths.iter().copied().max().unwrap_or(0) as usize;
    if n == 0 {
        return Error::shape("start_tokens must have one prompt at least, got an empty array");
    }
    let row = |ids: &Tensor| -> Result<Array> {
        let rest = Array::zeros(n - ids.dim(0), DType::I64, &ids.device())?;
        Ok(Array::cat(&[ids.array()?, rest], 0)?.reshape((1, n))?)
    };
    let rows = all.iter().map(row).collect::<Result<Vec<_>>>()?;
    let start = Tensor::constant(Array::cat(&rows, 0)?);
    let mask = of_lengths(&lengths, n, &start.device())?;
    Ok((start, Some(mask)))
}

/// The mask of rows `start`, `(n)` or `(batch, n)`, whose first `lens`, i64 `(batch)`, tokens are
/// real; with the axes of `start`. `name` is that of the argument `lens`.
pub fn first_columns(name: &str, lens: &Tensor, start: &Tensor) -> Result<Tensor> {
    let n = start.dims().last().copied().unwrap_or(0);
    let rows = if start.rank() == 2 { start.dim(0) } else { 1 };
    let lengths = integers(name, lens, rows)?;
    if let Some(length) = lengths.iter().find(|length| !(1..=n as i64).contains(*length)) {
        return Error::shape(format!(
            "{name} are from 1 to {n}, the length of the rows, got {length}"
        ));
    }
    let mask = of_lengths(&lengths, n, &start.device())?;
    Ok(if start.rank() == 1 { ops::reshape(&mask, &[n])? } else { mask })
}

/// Bool `(batch, n)`: true for the first `lengths` columns of each row.
fn of_lengths(lengths: &[i64], n: usize, device: &Device) -> Result<Tensor> {
    let row = |length: &i64| (0..n as i64).map(|i| u8::from(i < *length)).collect::<Vec<_>>();
    let bits = lengths.iter().flat_map(row).collect::<Vec<_>>();
    Ok(Tensor::boolean(Array::from_vec(bits, (lengths.len(), n), &Device::Cpu)?.to_device(device)?))
}

/// The values of i64 `(rows)`.
fn integers(name: &str, ids: &Tensor, rows: usize) -> Result<Vec<i64>> {
    if ids.dims() != [rows] || ids.dtype() != DType::I64 {
        return Error::shape(format!(
            "{name} must be whole numbers of shape ({rows}), one for each row, got shape {:?}",
            ids.dims()
        ));
    }
    Ok(ids.array()?.to_device(&Device::Cpu)?.to_vec1()?)
}

/// Hides the columns of `x`, `(batch, n)`, before `starts`, i64 `(batch)`, and counts positions
/// from there. Masks cover the prepended embeddings already.
pub fn start_rows(with: &mut TokenTensors, starts: &Tensor, x: &Tensor) -> Result<()> {
    if x.rank() != 2 {
        return Ok(()); // the model refuses such ids
    }
    let [batch, n] = [x.dim(0), x.dim(1)];
    let starts = integers("seq_start_pos", starts, batch)?;
    if let Some(start) = starts.iter().find(|start| !(0..n as i64).contains(*start)) {
        return Error::shape(format!("seq_start_pos are from 0 to {}, got {start}", n - 1));
    }
    let device = x.device();
    let places: Vec<i64> =
        starts.iter().flat_map(|start| (0..n as i64).map(move |i| (i - start).max(0))).collect();
    with.pos = Some(Tensor::constant(Array::from_vec(places, (batch, n), &device)?));
    let front = with.prepend_embeds.as_ref().map_or(0, |embeds| embeds.dim(1));
    let columns = front + n;
    let mut bits = match &with.layers.mask {
        Some(mask) if mask.dims() == [batch, columns] && mask.is_boolean() => {
            mask.array()?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()?
        }
        Some(_) => return Ok(()), // the layers refuse such a mask
        None => {
            see_whole_context(&mut with.layers)?;
            vec![1u8; batch * columns]
        }
    };
    for (row, start) in bits.chunks_exact_mut(columns).zip(&starts) {
        row[front..front + *start as usize].fill(0);
    }
    let bits = Array::from_vec(bits, (batch, columns), &Device::Cpu)?.to_device(&device)?;
    with.layers.mask = Some(Tensor::boolean(bits));
    Ok(())
}
