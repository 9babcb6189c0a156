//! Repetition, reversal, and the outer product.

use super::shape::{broadcast_to, keep_boolean, record_like, reshape};
use crate::error::invalid;
use crate::{Array, Result, Tensor};
use xt_kernels::memory::alloc;
use xt_kernels::ops::elementwise::sub;

/// `x` repeated along each axis, as PyTorch's `repeat`: `counts` has a number for each axis, and
/// before them those of new axes in front.
///
/// # Errors
/// There are fewer counts than axes, or memory does not suffice.
pub fn repeat(x: &Tensor, counts: &[usize]) -> Result<Tensor> {
    let Some(added) = counts.len().checked_sub(x.rank()) else {
        return invalid(format!(
            "repeat: {counts:?} has fewer counts than shape {:?} has axes",
            x.dims()
        ));
    };
    let mut dims = vec![1; added];
    dims.extend(x.dims());
    let repeated = dims.iter().zip(counts).map(|(size, count)| size.checked_mul(*count));
    let Some(repeated) = repeated.collect::<Option<Vec<usize>>>() else {
        return invalid(format!("repeat: {:?} by {counts:?} is too long an axis", x.dims()));
    };
    alloc::check_on(&x.device(), &repeated, x.dtype())?;
    let mut y = reshape(x, &dims)?;
    for (axis, count) in counts.iter().enumerate().filter(|(_, count)| **count != 1) {
        let [outer, inner] = [&dims[..axis], &dims[axis..]].map(|dims| dims.iter().product());
        let blocks = reshape(&y, &[outer, 1, inner])?;
        dims[axis] = repeated[axis];
        y = reshape(&broadcast_to(&blocks, &[outer, *count, inner])?, &dims)?;
    }
    Ok(y)
}

/// Reverses the order of the elements along `axes`.
pub fn flip(x: &Tensor, axes: &[usize]) -> Result<Tensor> {
    let axes = super::reduce::axes(x, Some(axes))?;
    let y = keep_boolean(x, flipped(&x.array()?, &axes)?);
    Ok(record_like(y, x, move |g| Ok(vec![Some(flipped(g, &axes)?)])))
}

fn flipped(x: &Array, axes: &[usize]) -> Result<Array> {
    let mut y = x.clone();
    for axis in axes {
        let last = x.dims()[*axis] as i64 - 1;
        if last < 1 {
            continue;
        }
        alloc::check_like(x, x.dtype(), 1)?;
        let ids = Array::arange(0, last + 1, &x.device())?;
        y = y.index_select(&sub(&Array::full(last, (), &x.device())?, &ids)?, *axis)?;
    }
    Ok(y)
}

/// `x[i] · y[j]` for two vectors: (m) and (n) to (m, n).
pub fn outer(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    if x.rank() != 1 || y.rank() != 1 {
        return invalid(format!("outer needs two vectors, got {:?} and {:?}", x.dims(), y.dims()));
    }
    super::mul(&reshape(x, &[x.dim(0), 1])?, y)
}
