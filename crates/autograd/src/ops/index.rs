//! Selection of elements by index or by condition.

use super::shape::{keep_boolean, sum_to};
use crate::error::invalid;
use crate::{Array, DType, Result, Tensor};
use xt_kernels::memory::alloc;
use xt_kernels::ops::compare::{compare, Comparison};
use xt_kernels::ops::layout::contiguous;

fn require_indices(ids: &Tensor, name: &str) -> Result<()> {
    if ids.dtype() != DType::I64 {
        let kind = ids.scalar_type().map_or("?", |k| k.name());
        return invalid(format!(
            "{name}: indices must be i64, got {kind}: convert them with `.to('i64')`"
        ));
    }
    Ok(())
}

/// Looks up the rows of `table`, (count, dim), at `ids`, i64 (..). Result: (.., dim).
pub fn embedding(table: &Tensor, ids: &Tensor) -> Result<Tensor> {
    require_indices(ids, "embedding")?;
    let (t, i) = (table.array()?, ids.array()?);
    let y = xt_kernels::ops::embedding::forward(&t, &i)?;
    Ok(Tensor::record(y, &[table], move |g| {
        Ok(vec![Some(xt_kernels::ops::embedding::backward(&t, &i, g)?)])
    }))
}

/// `y[.., i, ..] = x[.., ids[.., i, ..], ..]` along `axis`, as `torch.gather`; `ids` is i64 and no
/// larger than `x` along the other axes.
pub fn gather(x: &Tensor, ids: &Tensor, axis: usize) -> Result<Tensor> {
    require_indices(ids, "gather")?;
    let fits = x.rank() == ids.rank()
        && axis < x.rank()
        && (0..x.rank()).all(|i| i == axis || ids.dim(i) <= x.dim(i));
    if !fits {
        return invalid(format!(
            "gather: indices {:?} do not fit {:?} along axis {axis}",
            ids.dims(),
            x.dims()
        ));
    }
    let (a, i) = (contiguous(&x.array()?)?, contiguous(&ids.array()?)?);
    alloc::check_like(&i, a.dtype(), 1)?;
    let bound = x.dim(axis) as i64;
    if i.elem_count() > 0 && i.may_leave(0..bound) {
        let (low, high) = i.bounds()?;
        if low < 0 || high >= bound {
            let bad = if low < 0 { low } else { high };
            return invalid(format!(
                "gather: index {bad} is out of range for an axis of size {bound}"
            ));
        }
    }
    let y = a.gather(&i, axis)?;
    if x.is_boolean() {
        return Ok(Tensor::boolean(y));
    }
    Ok(Tensor::record(y, &[x], move |g| {
        // where `ids` is shorter than `x` along another axis, the remainder of the gradient is zero
        let mut dims = i.dims().to_vec();
        dims[axis] = a.dims()[axis];
        // the zeros, the sum, and the gradient in the wider type
        let wide = xt_kernels::host::accumulation_dtype(g.dtype());
        alloc::check_like(&a, wide, 3)?;
        let zeros = Array::zeros(dims.as_slice(), wide, &g.device())?;
        let mut dx =
            zeros.scatter_add(&i, &contiguous(g)?.to_dtype(wide)?, axis)?.to_dtype(g.dtype())?;
        for (other, size) in a.dims().iter().enumerate() {
            dx = dx.pad_with_zeros(other, 0, size - dims[other])?;
        }
        Ok(vec![Some(dx)])
    }))
}

/// `a` where the condition is true, else `b`; all three are broadcast together. `condition` is bool
/// or u8.
pub fn where_cond(condition: &Tensor, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let dims = super::broadcast_shape(a, b, "where")?;
    if condition.dtype() != DType::U8 {
        let kind = condition.scalar_type().map_or("?", |k| k.name());
        return invalid(format!(
            "where: the condition must be bool, got {kind}: compare it (`x.ne(0)`)"
        ));
    }
    let plain = Tensor::constant(condition.array()?);
    let dims = super::arithmetic::broadcast_dims(&dims, condition.dims(), "where")?;
    alloc::check_on(&a.device(), &dims, a.dtype())?;
    let wide = |t: &Tensor| -> Result<Array> {
        Ok(contiguous(&t.array()?.broadcast_as(dims.as_slice())?)?)
    };
    let c = wide(&plain)?;
    let (yes, no) = (wide(a)?, wide(b)?);
    alloc::check_on(&a.device(), &dims, a.dtype())?;
    let y = c.where_cond(&yes, &no)?;
    if a.is_boolean() && b.is_boolean() {
        return Ok(Tensor::boolean(y));
    }
    let (da, db) = (a.dims().to_vec(), b.dims().to_vec());
    let needs = (a.requires_grad(), b.requires_grad());
    Ok(Tensor::record(y, &[a, b], move |g| {
        // the zeros and both gradients
        alloc::check_like(g, g.dtype(), 3)?;
        let zero = g.zeros_like()?;
        let g = contiguous(g)?;
        let of_a = || sum_to(&c.where_cond(&g, &zero)?, &da);
        let of_b = || sum_to(&c.where_cond(&zero, &g)?, &db);
        Ok(vec![needs.0.then(of_a).transpose()?, needs.1.then(of_b).transpose()?])
    }))
}

/// `x` with `value` where the mask, bool or u8, is true; both are broadcast together.
pub fn masked_fill(x: &Tensor, mask: &Tensor, value: f64) -> Result<Tensor> {
    where_cond(mask, &filling(x, value)?, x)
}

/// `value` as a scalar that is boolean if `x` is.
fn filling(x: &Tensor, value: f64) -> Result<Tensor> {
    Ok(keep_boolean(x, super::scalar_like(x, value)?.array()?))
}

/// `x` with 0 above the diagonal of the last two axes if `lower`, else below it. `diagonal` counts
/// from the main one to the right.
pub fn triangle(x: &Tensor, diagonal: i64, lower: bool) -> Result<Tensor> {
    let [.., rows, columns] = *x.dims() else {
        return invalid(format!("a triangle needs two axes, got shape {:?}", x.dims()));
    };
    // further away, there is nothing to be found
    let diagonal = diagonal.clamp(-(rows as i64), columns as i64);
    let device = x.device();
    let rows = Array::arange(diagonal, rows as i64 + diagonal, &device)?.unsqueeze(1)?;
    let columns = Array::arange(0, columns as i64, &device)?.unsqueeze(0)?;
    let how = if lower { Comparison::Le } else { Comparison::Ge };
    let kept = Tensor::boolean(compare(&columns, &rows, how)?);
    where_cond(&kept, x, &filling(x, 0.0)?)
}

/// The indices of the first `k` elements along `axis`, i64, in ascending or descending order: see
/// [`xt_kernels::ops::sort`].
pub fn argsort(x: &Tensor, axis: usize, k: usize, descending: bool) -> Result<Tensor> {
    if axis >= x.rank() || k > x.dim(axis) {
        return invalid(format!("there are no {k} elements along axis {axis} of {:?}", x.dims()));
    }
    let last = x.rank() - 1;
    let rows = x.array()?.transpose(axis, last)?;
    let order = xt_kernels::ops::sort::argsort(&rows, k, descending)?;
    Ok(Tensor::constant(order.transpose(axis, last)?))
}
