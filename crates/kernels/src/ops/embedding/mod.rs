//! Embedding: looks up rows of a table by index.
//!
//! Shapes: `table` is (count, dim), `ids` is (..), i64; the result is (.., dim).

#[cfg(feature = "cuda")]
mod cuda;

use crate::array::HostArray;
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::host::{self, Real};
use crate::kernel::{arrays, run, Kernel};
use crate::memory::alloc;
use crate::ops::layout::contiguous;
use crate::ops::reduce::add_assign;
#[cfg(test)]
use crate::testing::normal64;
use crate::{Array, DType, Device, Result};
#[cfg(feature = "cuda")]
use std::sync::Arc;

/// The shape of the result, (.., dim).
fn output_dims(table: &Array, ids: &Array) -> Result<Vec<usize>> {
    let mut dims = ids.dims().to_vec();
    dims.push(table.dims2()?.1);
    Ok(dims)
}

/// The indices on the host.
///
/// # Errors
/// If an index is not from 0 to `count` - 1.
fn indices(ids: &Array, count: usize) -> Result<Vec<usize>> {
    // For the ids on the host, and the row numbers, which are as large.
    alloc::check_like(ids, DType::I64, 2)?;
    let ids: Vec<i64> = host::to_vec(&ids.to_dtype(DType::I64)?.to_device(&Device::Cpu)?)?;
    ids.into_iter()
        .map(|id| match usize::try_from(id) {
            Ok(row) if row < count => Ok(row),
            _ => bail!(
                "index {id} is out of range: there are {count} rows (0 to {})",
                count as i64 - 1
            ),
        })
        .collect()
}

/// Checks the indices on the host if it is known that some of what was uploaded is out of range;
/// others are checked by the kernel.
#[cfg(feature = "cuda")]
fn check_known(ids: &Array, count: usize) -> Result<()> {
    match ids.may_leave(0..count as i64) {
        true => indices(ids, count).map(|_| ()),
        false => Ok(()),
    }
}

/// Kernel of [`forward`].
#[derive(Clone)]
struct Forward {
    table: Array,
    ids: Array,
}

/// Kernel of [`backward`].
#[derive(Clone)]
/// Gradient of the output, (.., dim).
struct Backward {
    grad: Array,
    /// Number of rows of the table.
    ids: Array,
    count: usize,
}

arrays! {
    Forward { table, ids }
    Backward { grad, ids }
}

impl Kernel for Forward {
    const NAME: &'static str = "embedding";
    type Out = Array;

    fn check(&self) -> Result<()> {
        self.table.dims2().map(|_| ())
    }

    fn reference(&self) -> Result<Array> {
        let dims = output_dims(&self.table, &self.ids)?;
        indices(&self.ids, self.table.dims2()?.0)?;
        Ok(self
            .table
            .host()?
            .contiguous()?
            .index_select(&self.ids.host()?.flatten_all()?, 0)?
            .reshape(dims)?
            .into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        let dims = output_dims(&self.table, &self.ids)?;
        alloc::check(&dims, self.table.dtype())?;
        forward_cpu::<T>(&self.table, &indices(&self.ids, self.table.dims2()?.0)?, dims)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        check_known(&self.ids, self.table.dims2()?.0)?;
        cuda::forward(&self.table, &self.ids, output_dims(&self.table, &self.ids)?, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let ids = |dims: &[usize]| {
            let ids = (0..dims.iter().product::<usize>()).map(|i| (i * 7 % 5) as i64).collect();
            Array::from_vec(ids, dims, &Device::Cpu).unwrap()
        };
        [&[2, 2][..], &[], &[300], &[0]]
            .map(|dims| Self { table: normal64(&[5, 3], 1), ids: ids(dims) })
            .into()
    }
}

impl Kernel for Backward {
    const NAME: &'static str = "embedding backward";
    type Out = Array;

    fn check(&self) -> Result<()> {
        match self.grad.dims().split_last() {
            Some((_, rows)) if rows == self.ids.dims() => Ok(()),
            _ => bail!("a gradient {:?} for indices {:?}", self.grad.dims(), self.ids.dims()),
        }
    }

    fn reference(&self) -> Result<Array> {
        let (grad, ids) = (self.grad.host()?, self.ids.host()?);
        let (_, width) = host::rows_and_width(&self.grad);
        let flat = grad.contiguous()?.reshape((indices(&self.ids, self.count)?.len(), width))?;
        let zeros = HostArray::zeros((self.count, width), grad.dtype(), grad.device())?;
        Ok(zeros.index_add(&ids.flatten_all()?, &flat, 0)?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        let (_, width) = host::rows_and_width(&self.grad);
        backward_cpu::<T>(&self.grad, &indices(&self.ids, self.count)?, (self.count, width))
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        check_known(&self.ids, self.count)?;
        cuda::backward(&self.grad, &self.ids, self.count, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |Forward { ids, .. }: Forward| {
            let dims = [ids.dims(), &[3]].concat();
            Self { grad: normal64(&dims, 2), ids, count: 5 }
        };
        Forward::cases().into_iter().map(of).collect()
    }
}

/// Returns the rows of `table`, (count, dim), at the indices `ids`, (..), as an array (.., dim).
///
/// # Errors
/// If an index is out of range.
pub fn forward(table: &Array, ids: &Array) -> Result<Array> {
    run(&Forward { table: table.clone(), ids: ids.clone() })
}

fn forward_cpu<T: Real>(table: &Array, rows: &[usize], dims: Vec<usize>) -> Result<Array> {
    let table = contiguous(table)?;
    let width = table.dims2()?.1;
    let ts = host::slice::<T>(&table)?;
    let mut y = alloc::with_capacity(rows.len() * width)?;
    rows.iter().for_each(|r| y.extend_from_slice(&ts[r * width..(r + 1) * width]));
    host::array(y, dims)
}

/// Computes the gradient of the table, (count, dim): adds each row of `grad`, (.., dim), to the row
/// of the table that it was looked up from.
///
/// # Errors
/// If the shapes do not fit together, or an index is out of range.
pub fn backward(table: &Array, ids: &Array, grad: &Array) -> Result<Array> {
    run(&Backward { grad: grad.clone(), ids: ids.clone(), count: table.dims2()?.0 })
}

fn backward_cpu<T: Real>(
    grad: &Array,
    rows: &[usize],
    (count, width): (usize, usize),
) -> Result<Array> {
    let grad = contiguous(grad)?;
    let gs = host::slice::<T>(&grad)?;
    let mut dt = crate::host::parallel::zeros::<T>(count * width)?;
    for (g, r) in gs.chunks_exact(width.max(1)).zip(rows) {
        add_assign(&mut dt[r * width..(r + 1) * width], g);
    }
    host::array(dt, (count, width))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_matches_reference, device, gradcheck, normal, on_device};

    #[test]
    fn equals_the_reference() {
        assert_matches_reference::<Forward>(1e-7);
        assert_matches_reference::<Backward>(1e-5);
    }

    #[test]
    fn the_gradient_adds_up_repeated_rows() {
        let ids = Array::from_vec(vec![3i64, 0, 3, 1], (2, 2), &device()).unwrap();
        let (table, g) = (on_device(&normal64(&[5, 3], 1)), on_device(&normal64(&[2, 2, 3], 2)));
        let dtable = backward(&table, &ids, &g).unwrap();
        gradcheck(&table, &g, &dtable, |table| forward(&on_device(table), &ids).unwrap());
    }

    #[test]
    fn indices_outside_are_errors() {
        for id in [-1i64, 5] {
            let ids = Array::from_vec(vec![id], 1, &device()).unwrap();
            let message = forward(&on_device(&normal(&[5, 3], 1)), &ids).unwrap_err().to_string();
            assert!(message.contains(&format!("index {id} is out of range")), "{message}");
        }
    }
}
