//! Integers that accompany the tokens of rows, one for each column: positions, and ids of kinds.
//! New tokens have some too: positions go on by 1, and the kind is that of the last token.

use crate::ids::wrong_ids;
use crate::models::TokenTensors;
use crate::{Array, DType, Device, Error, Result, Tensor};
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
/// [`Error::Shape`] if one has another shape, is not i64, or is a position too far.
pub fn check_columns(with: &TokenTensors, batch: usize, allowed: &[usize]) -> Result<()> {
    let fits = |ids: &Tensor, ranks: &[usize]| {
        let columns = ids.dims().last().is_some_and(|n| allowed.contains(n));
        let rows = ids.rank() < 2 || [1, batch].contains(&ids.dim(0));
        ids.dtype() == DType::I64 && ranks.contains(&ids.rank()) && columns && rows
    };
    let n = allowed.first().copied().unwrap_or(0);
    let wanted = format!("({n}) or ({batch}, {n})");
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

/// Moves the positions of each row down, at least to 0, so that they stay below `end`: those of a
/// table that ends there, in a window that has left the first columns behind.
pub fn fit_positions(with: &mut TokenTensors, end: usize) -> Result<()> {
    let Some(pos) = with.pos.as_mut().filter(|pos| pos.dtype() == DType::I64) else {
        return Ok(());
    };
    let mut all = pos.array()?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<i64>()?;
    for row in all.chunks_exact_mut(pos.dim(pos.rank() - 1).max(1)) {
        let most = row.iter().copied().max().unwrap_or(0);
        let beyond = (most + 1).saturating_sub(end as i64).max(0);
        row.iter_mut().filter(|_| beyond > 0).for_each(|place| *place = (*place - beyond).max(0));
    }
    *pos = Tensor::constant(Array::from_vec(all, pos.dims(), &pos.device())?);
    Ok(())
}

/// Rotates the columns of each row to the right by its entry of `by`.
pub fn rotate_columns(with: &mut TokenTensors, by: &[usize]) -> Result<()> {
    if by.iter().all(|by| *by == 0) {
        return Ok(());
    }
    each(with, |ids, _| {
        let n = ids.dim(ids.rank() - 1);
        // a row for each of the batch, behind which heads may have rows of their own
        let mut dims = ids.dims().to_vec();
        if dims.len() == 1 {
            dims.insert(0, 1);
        }
        let all = ids.array()?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<i64>()?;
        let block = all.len() / dims[0].max(1);
        let mut rotated = Vec::with_capacity(block * by.len());
        for (row, by) in by.iter().enumerate() {
            let own = if dims[0] == 1 { 0 } else { row };
            for line in all[own * block..][..block].chunks_exact(n.max(1)) {
                rotated.extend_from_slice(&line[n - by..]);
                rotated.extend_from_slice(&line[..n - by]);
            }
        }
        dims[0] = by.len();
        Ok(Tensor::constant(Array::from_vec(rotated, &dims[..], &ids.device())?))
    })
}
