//! The shape of a matrix product.

use crate::{Array, Error, Result};

/// The shape of the product, (batch.., m, n).
pub(super) fn output_dims(a: &Array, b: &Array) -> Result<Vec<usize>> {
    let mismatch =
        || Error::Invalid(format!("matmul: shapes {:?} and {:?} do not fit", a.dims(), b.dims()));
    if a.rank() < 2 || b.rank() < 2 || a.dtype() != b.dtype() {
        return Err(if a.dtype() == b.dtype() {
            mismatch()
        } else {
            Error::Invalid(format!("matmul: types {:?} and {:?} differ", a.dtype(), b.dtype()))
        });
    }
    let (abatch, am) = a.dims().split_at(a.rank() - 2);
    let (bbatch, bm) = b.dims().split_at(b.rank() - 2);
    if am[1] != bm[0] {
        return Err(mismatch());
    }
    let rank = abatch.len().max(bbatch.len());
    let axis =
        |batch: &[usize], i: usize| (i + batch.len()).checked_sub(rank).map_or(1, |i| batch[i]);
    let mut dims = Vec::with_capacity(rank + 2);
    for i in 0..rank {
        dims.push(match (axis(abatch, i), axis(bbatch, i)) {
            (x, y) if x == y => x,
            (1, y) => y,
            (x, 1) => x,
            _ => return Err(mismatch()),
        });
    }
    dims.extend([am[0], bm[1]]);
    Ok(dims)
}
