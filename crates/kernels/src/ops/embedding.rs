//! Rows of a table by index.
//!
//! Shapes: `table` is (count, dim), `ids`, i64, (..); the result is (.., dim).

use crate::host::{self, dispatch, Real};
use crate::memory::alloc;
use crate::ops::layout::contiguous;
use crate::{Array, DType, Device, Result};

/// The rows on candle's own operations.
pub fn reference(table: &Array, ids: &Array) -> Result<Array> {
    table.index_select(&ids.flatten_all()?, 0)?.reshape(output_dims(table, ids)?)
}

fn output_dims(table: &Array, ids: &Array) -> Result<Vec<usize>> {
    let mut dims = ids.dims().to_vec();
    dims.push(table.dims2()?.1);
    Ok(dims)
}

/// The indices, checked against the number of rows.
fn indices(ids: &Array, count: usize) -> Result<Vec<usize>> {
    // the rows take as much
    alloc::check_like(ids, DType::I64, 2)?;
    let ids: Vec<i64> = host::vector(&ids.to_dtype(DType::I64)?.to_device(&Device::Cpu)?)?;
    ids.into_iter()
        .map(|id| match usize::try_from(id) {
            Ok(row) if row < count => Ok(row),
            _ => candle_core::bail!("index {id} is out of range: there are {count} rows (0 to {})", count as i64 - 1),
        })
        .collect()
}

/// The rows of `table` at `ids`; an index outside the table is an error.
pub fn forward(table: &Array, ids: &Array) -> Result<Array> {
    let dims = output_dims(table, ids)?;
    alloc::check(&dims, table.dtype())?;
    let rows = indices(ids, dims2(table)?.0)?;
    dispatch!(table, T => forward_cpu::<T>(table, &rows, dims), else reference(table, ids))
}

fn dims2(table: &Array) -> Result<(usize, usize)> {
    table.dims2()
}

fn forward_cpu<T: Real>(table: &Array, rows: &[usize], dims: Vec<usize>) -> Result<Array> {
    let table = contiguous(table)?;
    let width = dims2(&table)?.1;
    let ts = host::slice::<T>(&table)?;
    let mut y = alloc::room(rows.len() * width)?;
    rows.iter().for_each(|r| y.extend_from_slice(&ts[r * width..(r + 1) * width]));
    host::array(y, dims)
}

/// Gradient of the table: each row of `grad` added to the row that it came from.
pub fn backward(table: &Array, ids: &Array, grad: &Array) -> Result<Array> {
    let (count, width) = dims2(table)?;
    let rows = indices(ids, count)?;
    dispatch!(grad, T => backward_cpu::<T>(grad, &rows, (count, width)), else {
        let flat = grad.contiguous()?.reshape((rows.len(), width))?;
        Array::zeros((count, width), grad.dtype(), grad.device())?.index_add(&ids.flatten_all()?, &flat, 0)
    })
}

fn backward_cpu<T: Real>(grad: &Array, rows: &[usize], (count, width): (usize, usize)) -> Result<Array> {
    let grad = contiguous(grad)?;
    let gs = host::slice::<T>(&grad)?;
    let mut dt = crate::host::parallel::zeros::<T>(count * width)?;
    for (g, r) in gs.chunks_exact(width.max(1)).zip(rows) {
        crate::ops::reduce::add_assign(&mut dt[r * width..(r + 1) * width], g);
    }
    host::array(dt, (count, width))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, differences, f64s, normal};

    #[test]
    fn equals_the_reference_and_adds_up_repeated_rows() {
        let ids = Array::from_vec(vec![3i64, 0, 3, 1], (2, 2), &Device::Cpu).unwrap();
        let (table, g) = (f64s(&normal(&[5, 3], 1)), f64s(&normal(&[2, 2, 3], 2)));
        close(&forward(&table, &ids).unwrap(), &reference(&table, &ids).unwrap(), 1e-7);
        differences(&table, &g, &backward(&table, &ids, &g).unwrap(), |t| forward(t, &ids).unwrap());
    }

    #[test]
    fn indices_outside_are_errors() {
        for id in [-1i64, 5] {
            let ids = Array::from_vec(vec![id], 1, &Device::Cpu).unwrap();
            let message = forward(&normal(&[5, 3], 1), &ids).unwrap_err().to_string();
            assert!(message.contains(&format!("index {id} is out of range")), "{message}");
        }
    }
}
