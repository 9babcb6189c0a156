//! Integers that accompany the tokens of rows, one for each column: positions, and ids of kinds.
//! New tokens have some too: positions go on by 1, and the kind is that of the last token.

use crate::ids::wrong_ids;
use crate::models::TokenTensors;
use crate::{Array, DType, Device, Error, Result, Tensor};
use std::ops::Range;
use xt_autograd::ops;

/// The largest position, so that those of new tokens are integers too.
const LAST_POSITION: i64 = i64::MAX / 2;

/// Applies `f` to each tensor of such integers and to what a new column adds to that before it.
fn each(with: &mut TokenTensors, f: impl Fn(&Tensor, i64) -> Result<Tensor>) -> Result<()> {
    if let Some(pos) = with.pos.as_mut().filter(|pos| pos.dtype() == DType::I64) {
        *pos = f(pos, 1)?;
    }
    for (_, ids) in &mut with.embed_ids {
        *ids = f(ids, 0)?;
    }
    Ok(())
}

/// Checks that all have one of the numbers of columns `allowed`, for `batch` rows.
///
/// # Errors
///
/// [`Error::Shape`] if one has another shape, or is not i64.
pub fn check_columns(with: &TokenTensors, batch: usize, allowed: &[usize]) -> Result<()> {
    let fits = |ids: &Tensor, ranks: &[usize]| {
        let columns = ids.dims().last().is_some_and(|n| allowed.contains(n));
        let rows = ids.rank() < 2 || [1, batch].contains(&ids.dim(0));
        ids.dtype() == DType::I64 && ranks.contains(&ids.rank()) && columns && rows
    };
    let shapes = allowed.iter().map(|n| format!("({n}) or ({batch}, {n})"));
    let wanted = shapes.collect::<Vec<_>>().join(", or else ");
    for (name, ids) in &with.embed_ids {
        if !fits(ids, &[1, 2]) {
            return wrong_ids(&format!("embed_ids.{name}"), &wanted, ids);
        }
    }
    let Some(pos) = with.pos.as_ref().filter(|pos| pos.dtype() == DType::I64) else {
        return Ok(());
    };
    if !fits(pos, &[1, 2, 3]) {
        return wrong_ids("pos", &wanted, pos);
    }
    Ok(())
}

/// Checks that new positions can follow those that are given.
///
/// # Errors
///
/// [`Error::Shape`] if one is too far.
pub fn check_far(with: &TokenTensors) -> Result<()> {
    let Some(pos) = with.pos.as_ref().filter(|pos| pos.dtype() == DType::I64) else {
        return Ok(());
    };
    let numbers = pos.array()?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<i64>()?;
    match numbers.iter().find(|place| **place > LAST_POSITION) {
        Some(far) => Error::shape(format!("pos has the position {far}, which is too far")),
        None => Ok(()),
    }
}

/// The integers of the columns from `from` to `to` (exclusive), where those that are not given
/// follow the last one.
pub fn span_columns(with: &mut TokenTensors, from: usize, to: usize) -> Result<()> {
    each(with, |ids, step| {
        let (axis, n) = (ids.rank() - 1, ids.dim(ids.rank() - 1));
        let mut all = ids.clone();
        if to > n {
            let steps = (1..=(to - n) as i64).map(|i| i * step).collect::<Vec<_>>();
            let steps = Tensor::constant(Array::from_vec(steps, to - n, &ids.device())?);
            let more = ops::add(&ops::narrow(ids, axis, n - 1, 1)?, &steps)?;
            all = ops::cat(&[ids, &more], axis)?;
        }
        Ok(ops::narrow(&all, axis, from, to - from)?)
    })
}

/// Whether the positions of all columns up to `n` are below `end`.
pub fn ends_before(with: &TokenTensors, n: usize, end: usize) -> Result<bool> {
    let Some(pos) = with.pos.as_ref().filter(|pos| pos.dtype() == DType::I64) else {
        return Ok(true);
    };
    let given = pos.dim(pos.rank() - 1);
    let last = ops::narrow(pos, pos.rank() - 1, given - 1, 1)?.array()?;
    let last = last.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<i64>()?;
    let more = n.saturating_sub(given) as i64;
    Ok(more == 0 || last.iter().all(|place| place.saturating_add(more) < end as i64))
}

/// Moves the positions of each row down, at least to 0, so that they stay below `end`, where a
/// table of them ends.
pub fn fit_positions(with: &mut TokenTensors, end: usize) -> Result<()> {
    let Some(pos) = with.pos.as_mut().filter(|pos| pos.dtype() == DType::I64) else {
        return Ok(());
    };
    *pos = each_line(pos, None, |_, line| {
        let most = line.iter().copied().max().unwrap_or(0);
        let beyond = most.saturating_add(1).saturating_sub(end as i64).max(0);
        // a negative one stays, and is refused
        line.iter_mut().filter(|place| **place >= 0).for_each(|place| {
            *place = (*place - beyond).max(0);
        });
    })?;
    Ok(())
}

/// Gives the columns outside of the `real` ones of each row the integers of the first of these:
/// those of padding may be anything.
pub fn fill_padding(with: &mut TokenTensors, real: &[Range<usize>]) -> Result<()> {
    each(with, |ids, _| {
        each_line(ids, Some(real.len()), |row, line| {
            let Range { start, end } = real[row];
            let first = line.get(start).copied().unwrap_or(0);
            let (front, rest) = line.split_at_mut(start.min(line.len()));
            front.fill(first);
            rest.iter_mut().skip(end - start).for_each(|id| *id = first);
        })
    })
}

/// Rotates the columns of each row to the right by its entry of `by`.
pub fn rotate_columns(with: &mut TokenTensors, by: &[usize]) -> Result<()> {
    if by.iter().all(|by| *by == 0) {
        return Ok(());
    }
    each(with, |ids, _| each_line(ids, Some(by.len()), |row, line| line.rotate_right(by[row])))
}

/// `ids`, `(n)`, `(rows, n)` or `(rows, heads, n)`, after `change` of each line of `n`, which is
/// told the number of its row. With a `batch`, there is a row for each, copies of a single one.
fn each_line(
    ids: &Tensor,
    batch: Option<usize>,
    change: impl Fn(usize, &mut [i64]),
) -> Result<Tensor> {
    let n = ids.dim(ids.rank() - 1);
    let mut dims = ids.dims().to_vec();
    if batch.is_some() && dims.len() == 1 {
        dims.insert(0, 1);
    }
    let mut all = ids.array()?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<i64>()?;
    if let Some(batch) = batch.filter(|_| dims[0] == 1) {
        xt_kernels::memory::alloc::check(&[all.len(), batch], DType::I64)?;
        (all, dims[0]) = (all.repeat(batch), batch);
    }
    let rows = if dims.len() == 1 { 1 } else { dims[0].max(1) };
    let block = (all.len() / rows).max(1);
    for (row, lines) in all.chunks_exact_mut(block).enumerate() {
        lines.chunks_exact_mut(n.max(1)).for_each(|line| change(row, line));
    }
    Ok(Tensor::constant(Array::from_vec(all, &dims[..], &ids.device())?))
}
