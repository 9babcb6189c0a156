//! Views, copies and conversions.

use crate::error::invalid;
use crate::{Array, DType, Device, Result, Tensor};
use xt_kernels::memory::alloc;
use xt_kernels::ops::layout::{contiguous, narrow as narrowed};

/// Reduces `grad` to the shape `dims` by summing over the axes that broadcasting has added or
/// expanded.
pub(crate) fn sum_to(grad: &Array, dims: &[usize]) -> Result<Array> {
    if grad.dims() == dims {
        return Ok(grad.clone());
    }
    let added = grad.rank() - dims.len();
    let axes: Vec<usize> = (0..grad.rank())
        .filter(|i| *i < added || (dims[i - added] == 1 && grad.dims()[*i] != 1))
        .collect();
    Ok(xt_kernels::ops::reduce::sum(grad, &axes)?.reshape(dims)?)
}

/// The same elements in row-major order with the shape `dims`; copies if `x` is not contiguous.
///
/// # Errors
/// The number of elements differs.
pub fn reshape(x: &Tensor, dims: &[usize]) -> Result<Tensor> {
    if dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d)) != Some(x.elem_count()) {
        return invalid(format!(
            "reshape: {:?} has {} elements, {dims:?} another number",
            x.dims(),
            x.elem_count()
        ));
    }
    let from = x.dims().to_vec();
    let array = x.array()?;
    if !array.is_contiguous() {
        alloc::check_on(&x.device(), dims, x.dtype())?; // a copy
    }
    let y = keep_boolean(x, contiguous(&array)?.reshape(dims)?);
    Ok(record_like(y, x, move |g| Ok(vec![Some(contiguous(g)?.reshape(from.as_slice())?)])))
}

/// A tensor without a graph that is boolean if `x` is.
pub(super) fn keep_boolean(x: &Tensor, array: Array) -> Tensor {
    if x.is_boolean() {
        Tensor::boolean(array)
    } else {
        Tensor::constant(array)
    }
}

/// Records `backward` for `y` if `x` requires a gradient, else returns `y` unchanged.
pub(super) fn record_like(
    y: Tensor,
    x: &Tensor,
    backward: impl Fn(&Array) -> Result<Vec<Option<Array>>> + Send + Sync + 'static,
) -> Tensor {
    match (x.requires_grad(), y.array()) {
        (true, Ok(array)) => Tensor::record(array, &[x], backward),
        _ => y,
    }
}

/// Permutes the axes: axis `n` of the result is axis `axes[n]` of `x`. A view.
pub fn permute(x: &Tensor, axes: &[usize]) -> Result<Tensor> {
    let mut sorted = axes.to_vec();
    sorted.sort_unstable();
    if sorted != (0..x.rank()).collect::<Vec<_>>() {
        return invalid(format!("permute: {axes:?} is no order of the {} axes", x.rank()));
    }
    let mut inverse = vec![0; axes.len()];
    axes.iter().enumerate().for_each(|(to, from)| inverse[*from] = to);
    let y = keep_boolean(x, x.array()?.permute(axes)?);
    Ok(record_like(y, x, move |g| Ok(vec![Some(g.permute(inverse.as_slice())?)])))
}

/// Swaps the axes `a` and `b`. A view.
pub fn transpose(x: &Tensor, a: usize, b: usize) -> Result<Tensor> {
    if a >= x.rank() || b >= x.rank() {
        return invalid(format!("transpose: no axes {a} and {b} in shape {:?}", x.dims()));
    }
    let mut axes: Vec<usize> = (0..x.rank()).collect();
    axes.swap(a, b);
    permute(x, &axes)
}

/// `length` elements of axis `axis`, from `start` on.
pub fn narrow(x: &Tensor, axis: usize, start: usize, length: usize) -> Result<Tensor> {
    if axis >= x.rank() || start.checked_add(length).is_none_or(|end| end > x.dim(axis)) {
        return invalid(format!(
            "slice: {length} entries from {start} on in axis {axis} of {:?}",
            x.dims()
        ));
    }
    let after = x.dim(axis) - start - length;
    let y = keep_boolean(x, narrowed(&x.array()?, axis, start, length)?);
    let from = x.dims().to_vec();
    Ok(record_like(y, x, move |g| {
        // the zeros on both sides, and the padded gradient
        alloc::check_wide_on(
            &g.device(),
            &[from.iter().map(|d| *d as u64).product(), 2],
            g.dtype(),
        )?;
        Ok(vec![Some(g.pad_with_zeros(axis, start, after)?)])
    }))
}

/// Concatenates the tensors along `axis`.
pub fn cat(parts: &[&Tensor], axis: usize) -> Result<Tensor> {
    let Some(first) = parts.first() else {
        return invalid("cat: no tensors");
    };
    let fits = |t: &Tensor| {
        t.rank() == first.rank()
            && t.scalar_type() == first.scalar_type()
            && (0..t.rank()).all(|i| i == axis || t.dim(i) == first.dim(i))
    };
    if axis >= first.rank() || !parts.iter().all(|t| fits(t)) {
        let shapes: Vec<_> = parts.iter().map(|t| t.dims()).collect();
        return invalid(format!("cat: {shapes:?} differ in type or outside of axis {axis}"));
    }
    let arrays = parts.iter().map(|t| t.array()).collect::<Result<Vec<_>>>()?;
    let mut dims: Vec<u64> = first.dims().iter().map(|d| *d as u64).collect();
    dims[axis] = parts.iter().map(|t| t.dim(axis) as u64).sum();
    // arrays that are not contiguous are copied first
    dims.push(if arrays.iter().all(Array::is_contiguous) { 1 } else { 2 });
    alloc::check_wide_on(&first.device(), &dims, first.dtype())?;
    let y = Array::cat(&arrays, axis)?;
    if first.is_boolean() {
        return Ok(Tensor::boolean(y));
    }
    let sizes: Vec<usize> = parts.iter().map(|t| t.dim(axis)).collect();
    Ok(Tensor::record(y, parts, move |g| {
        let mut start = 0;
        let mut piece = |size: &usize| {
            start += size;
            Ok(Some(narrowed(g, axis, start - size, *size)?))
        };
        sizes.iter().map(&mut piece).collect()
    }))
}

/// Stacks the tensors along a new axis.
pub fn stack(parts: &[&Tensor], axis: usize) -> Result<Tensor> {
    if parts.windows(2).any(|pair| {
        pair[0].dims() != pair[1].dims() || pair[0].scalar_type() != pair[1].scalar_type()
    }) {
        let shapes: Vec<_> = parts.iter().map(|t| t.dims()).collect();
        return invalid(format!("stack: {shapes:?} differ in shape or type"));
    }
    let raised = parts
        .iter()
        .map(|t| {
            let mut dims = t.dims().to_vec();
            if axis > dims.len() {
                return invalid(format!("stack: no place for axis {axis} in shape {dims:?}"));
            }
            dims.insert(axis, 1);
            reshape(t, &dims)
        })
        .collect::<Result<Vec<_>>>()?;
    cat(&raised.iter().collect::<Vec<_>>(), axis)
}

/// Broadcasts to `dims`: repeats axes of size 1 and adds axes at the front.
///
/// # Errors
/// The shapes do not fit together, or there are more elements than can be counted.
pub fn broadcast_to(x: &Tensor, dims: &[usize]) -> Result<Tensor> {
    if dims.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).is_none() {
        return invalid(format!("expand: {dims:?} has more elements than can be counted"));
    }
    let from = x.dims().to_vec();
    let y = keep_boolean(x, x.array()?.broadcast_as(dims)?);
    Ok(record_like(y, x, move |g| Ok(vec![Some(sum_to(g, &from)?)])))
}

/// Converts to another type. With `boolean`, the result is boolean: everything but 0 is true, NaN
/// too. Otherwise fractions are truncated and u8 wraps, as in PyTorch.
///
/// # Errors
/// NaN, and numbers outside the range of i64, cannot be converted to integers.
pub fn cast(x: &Tensor, dtype: DType, boolean: bool) -> Result<Tensor> {
    let a = x.array()?;
    if boolean {
        if x.is_boolean() {
            return Ok(x.clone());
        }
        // the zeros to compare with, and the result
        alloc::check_like(&a, x.dtype(), 2)?;
        return Ok(Tensor::boolean(a.ne(&a.zeros_like()?)?));
    }
    if dtype == x.dtype() && !x.is_boolean() {
        return Ok(x.clone());
    }
    let from = x.dtype();
    let by_i64 = from.is_float() && !dtype.is_float();
    alloc::check_on(&x.device(), x.dims(), if by_i64 { DType::I64 } else { dtype })?;
    let y = converted(&a, dtype)?;
    if !dtype.is_float() {
        return Ok(Tensor::constant(y));
    }
    Ok(Tensor::record(y, &[x], move |g| {
        alloc::check_like(g, from, 1)?;
        Ok(vec![Some(g.to_dtype(from)?)])
    }))
}

/// Converts the type. f64 is converted to half precision via f32, as some processors do in
/// hardware, so that all processors round alike.
fn converted(a: &Array, dtype: DType) -> Result<Array> {
    let small = matches!(dtype, DType::F16 | DType::BF16);
    let twice = small && a.dtype() == DType::F64;
    if twice {
        alloc::check_like(a, DType::F64, 1)?;
    }
    let a = if twice { a.to_dtype(DType::F32)? } else { a.clone() };
    match dtype.is_float() || !a.dtype().is_float() {
        true => Ok(a.to_dtype(dtype)?),
        false => Ok(xt_kernels::ops::convert::to_integer(&a, dtype)?),
    }
}

/// The same values on another device.
pub fn to_device(x: &Tensor, device: &Device) -> Result<Tensor> {
    let from = x.device();
    if from.same_device(device) {
        return Ok(x.clone());
    }
    let y = keep_boolean(x, x.array()?.to_device(device)?);
    Ok(record_like(y, x, move |g| Ok(vec![Some(g.to_device(&from)?)])))
}
