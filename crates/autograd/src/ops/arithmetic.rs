//! Arithmetic and comparison of two tensors, with broadcasting.

use super::integer;
use super::shape::{cast, sum_to};
use crate::error::invalid;
use crate::{Array, DType, Result, Tensor};
use xt_kernels::memory::alloc;
pub use xt_kernels::ops::compare::Comparison;
use xt_kernels::ops::elementwise::{self, Binary, Unary};
use xt_kernels::ops::layout::contiguous;

/// The shape that `a` and `b` are broadcast to. `name` is the operation, for messages.
///
/// # Errors
/// The types differ, the shapes do not broadcast, or memory does not suffice for the result.
pub fn broadcast_shape(a: &Tensor, b: &Tensor, name: &str) -> Result<Vec<usize>> {
    if a.dtype() != b.dtype() {
        let kind = |t: &Tensor| t.scalar_type().map_or("?", |k| k.name());
        return invalid(format!(
            "{name}: types {} and {} differ; cast one of them",
            kind(a),
            kind(b)
        ));
    }
    let dims = broadcast_dims(a.dims(), b.dims(), name)?;
    alloc::check_on(&a.device(), &dims, a.dtype())?;
    Ok(dims)
}

/// The shape that both shapes are broadcast to.
pub(super) fn broadcast_dims(a: &[usize], b: &[usize], name: &str) -> Result<Vec<usize>> {
    let rank = a.len().max(b.len());
    let axis = |dims: &[usize], i: usize| (i + dims.len()).checked_sub(rank).map_or(1, |i| dims[i]);
    let size = |i: usize| match (axis(a, i), axis(b, i)) {
        (x, y) if x == y => Ok(x),
        (1, y) => Ok(y),
        (x, 1) => Ok(x),
        _ => invalid(format!("{name}: shapes {a:?} and {b:?} do not broadcast")),
    };
    (0..rank).map(size).collect()
}

/// `value` as a scalar tensor of the type and device of `x`.
///
/// # Errors
/// `x` has an integer type that cannot represent `value`.
pub fn scalar_like(x: &Tensor, value: f64) -> Result<Tensor> {
    if !x.dtype().is_float() {
        return integer::scalar(x, value);
    }
    Ok(Tensor::constant(Array::full(value, (), &x.device())?.to_dtype(x.dtype())?))
}

/// `x` and a scalar as operands of one type, promoted as in PyTorch: booleans become i64; if
/// `for_division`, integers and booleans become f32.
pub fn promote_with_scalar(x: &Tensor, value: f64, for_division: bool) -> Result<(Tensor, Tensor)> {
    let x = match x.dtype().is_float() {
        false if for_division => cast(x, DType::F32, false)?,
        false if x.is_boolean() => cast(x, DType::I64, false)?,
        _ => x.clone(),
    };
    let y = scalar_like(&x, value)?;
    Ok((x, y))
}

/// Runs `run` on `x` and a scalar, see [`promote_with_scalar`]. Half precision is computed in f32,
/// as in PyTorch, so that the scalar need not be representable in half precision.
pub fn with_scalar(
    x: &Tensor,
    value: f64,
    for_division: bool,
    run: impl Fn(&Tensor, &Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let wide = xt_kernels::host::accumulation_dtype(x.dtype());
    if wide == x.dtype() {
        let (x, y) = promote_with_scalar(x, value, for_division)?;
        return run(&x, &y);
    }
    alloc::check_like(&x.array()?, wide, 3)?;
    let (y, scalar) = promote_with_scalar(&cast(x, wide, false)?, value, for_division)?;
    cast(&run(&y, &scalar)?, x.dtype(), false)
}

/// Whether both are boolean; some operations are then logical ones.
fn both_boolean(a: &Tensor, b: &Tensor) -> bool {
    a.is_boolean() && b.is_boolean()
}

/// `a + b`; of booleans the logical or, as in PyTorch.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if both_boolean(a, b) {
        return maximum(a, b);
    }
    broadcast_shape(a, b, "add")?;
    let (x, y) = (a.array()?, b.array()?);
    let z = elementwise::add(&x, &y)?;
    let (da, db) = (a.dims().to_vec(), b.dims().to_vec());
    Ok(Tensor::record(z, &[a, b], move |g| Ok(vec![Some(sum_to(g, &da)?), Some(sum_to(g, &db)?)])))
}

/// `a - b`; an error for booleans.
pub fn sub(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if both_boolean(a, b) {
        return invalid("sub: truth values have no difference: take ne for where they differ, or cast one to i64");
    }
    broadcast_shape(a, b, "sub")?;
    let (x, y) = (a.array()?, b.array()?);
    let z = elementwise::sub(&x, &y)?;
    let (da, db) = (a.dims().to_vec(), b.dims().to_vec());
    Ok(Tensor::record(z, &[a, b], move |g| {
        Ok(vec![Some(sum_to(g, &da)?), Some(sum_to(&elementwise::unary(g, Unary::Neg)?, &db)?)])
    }))
}

/// `a · b`, element-wise; of booleans the logical and, as in PyTorch.
pub fn mul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if both_boolean(a, b) {
        return minimum(a, b);
    }
    broadcast_shape(a, b, "mul")?;
    let (x, y) = (a.array()?, b.array()?);
    let z = elementwise::mul(&x, &y)?;
    let needs = (a.requires_grad(), b.requires_grad());
    Ok(Tensor::record(z, &[a, b], move |g| {
        let da = needs.0.then(|| sum_to(&elementwise::mul(g, &y)?, x.dims())).transpose()?;
        let db = needs.1.then(|| sum_to(&elementwise::mul(g, &x)?, y.dims())).transpose()?;
        Ok(vec![da, db])
    }))
}

/// True division, as in PyTorch: integers and booleans are converted to the type of the other
/// operand, or to f32 if neither is floating-point.
pub fn div(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let float =
        [a, b].into_iter().map(Tensor::dtype).find(|dtype| dtype.is_float()).unwrap_or(DType::F32);
    let real =
        |t: &Tensor| if t.dtype().is_float() { Ok(t.clone()) } else { cast(t, float, false) };
    let (a, b) = (&real(a)?, &real(b)?);
    broadcast_shape(a, b, "div")?;
    let (x, y) = (a.array()?, b.array()?);
    let z = elementwise::div(&x, &y)?;
    Ok(Tensor::record(z, &[a, b], move |g| {
        let by_y = elementwise::div(g, &y)?;
        let db =
            elementwise::unary(&elementwise::div(&elementwise::mul(&by_y, &x)?, &y)?, Unary::Neg)?;
        Ok(vec![Some(sum_to(&by_y, x.dims())?), Some(sum_to(&db, y.dims())?)])
    }))
}

/// `a` to the power `b`, element-wise. Integer powers wrap on overflow. The gradient with respect
/// to the exponent is 0 where the base is 0 and the exponent is not negative.
pub fn pow(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let dims = broadcast_shape(a, b, "pow")?;
    if both_boolean(a, b) {
        return invalid("pow: truth values have no powers: cast to i64 or f32 first");
    }
    let (x, y) =
        (a.array()?.broadcast_as(dims.as_slice())?, b.array()?.broadcast_as(dims.as_slice())?);
    if !x.dtype().is_float() {
        return Ok(Tensor::constant(integer::power(&x, &y)?));
    }
    let z = power(&x, &y)?;
    let (da, db) = (a.dims().to_vec(), b.dims().to_vec());
    let (needs_exponent, kept) = (b.requires_grad(), z.clone());
    Ok(Tensor::record(z, &[a, b], move |g| {
        alloc::check_like(&y, y.dtype(), 4)?;
        // at y = 0 the slope is 0; y · x^(y - 1) would be 0 times infinity if x = 0 too
        let zero = y.zeros_like()?;
        let less = power(&x, &elementwise::affine(&y, 1.0, -1.0)?)?;
        let slope = y.eq(&zero)?.where_cond(&zero, &elementwise::mul(&y, &less)?)?;
        let base = sum_to(&elementwise::mul(g, &slope)?, &da)?;
        if !needs_exponent {
            return Ok(vec![Some(base), None]);
        }
        let flat = elementwise::mul(&x.eq(&x.zeros_like()?)?, &y.ge(&y.zeros_like()?)?)?;
        let slope = elementwise::mul(&kept, &elementwise::unary(&x, Unary::Log)?)?;
        let slope = flat.where_cond(&x.zeros_like()?, &slope)?;
        Ok(vec![Some(base), Some(sum_to(&elementwise::mul(g, &slope)?, &db)?)])
    }))
}

/// Element-wise power, computed in f64, so that negative bases with integer exponents are correct.
pub(super) fn power(x: &Array, y: &Array) -> Result<Array> {
    let wide = |a: &Array| a.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
    alloc::check(&[x.elem_count(), 4], DType::F64)?;
    let z: Vec<f64> = wide(x)?.iter().zip(wide(y)?).map(|(x, y)| x.powf(y)).collect();
    Ok(Array::from_vec(z, x.dims(), &x.device())?.to_dtype(x.dtype())?)
}

/// Element-wise maximum; NaN if either is NaN. Where both are equal, each gets half of the
/// gradient.
pub fn maximum(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    extreme(a, b, "maximum", Binary::Max)
}

/// Element-wise minimum; NaN if either is NaN. Where both are equal, each gets half of the
/// gradient.
pub fn minimum(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    extreme(a, b, "minimum", Binary::Min)
}

fn extreme(a: &Tensor, b: &Tensor, name: &str, op: Binary) -> Result<Tensor> {
    broadcast_shape(a, b, name)?;
    let (x, y) = (a.array()?, b.array()?);
    let z = elementwise::binary(&x, &y, op)?;
    if both_boolean(a, b) {
        return Ok(Tensor::boolean(z));
    }
    Ok(Tensor::record(z, &[a, b], move |g| {
        alloc::check_like(g, g.dtype(), 3)?;
        let (less, more) = (x.lt(&y)?, x.gt(&y)?);
        let (a_loses, b_loses) = if op == Binary::Max { (less, more) } else { (more, less) };
        let half = x.eq(&y)?.where_cond(&elementwise::affine(g, 0.5, 0.0)?, &contiguous(g)?)?;
        let zero = g.zeros_like()?;
        // where either is NaN both get the full gradient, as in PyTorch
        let share = |loses: Array, dims: &[usize]| sum_to(&loses.where_cond(&zero, &half)?, dims);
        Ok(vec![Some(share(a_loses, x.dims())?), Some(share(b_loses, y.dims())?)])
    }))
}

/// Element-wise comparison, as a boolean tensor.
pub fn compare(a: &Tensor, b: &Tensor, op: Comparison) -> Result<Tensor> {
    broadcast_shape(a, b, "comparison")?;
    let (x, y) = (a.array()?, b.array()?);
    Ok(Tensor::boolean(xt_kernels::ops::compare::compare(&x, &y, op)?))
}

/// Element-wise comparison with a number, as a boolean tensor. Integers are compared exactly, also
/// with fractions and with numbers outside the range of their type.
pub fn compare_with(x: &Tensor, value: f64, op: Comparison) -> Result<Tensor> {
    if x.dtype().is_float() {
        return compare(x, &scalar_like(x, value)?, op);
    }
    integer::compare(x, value, op)
}

/// True where `x` is 0 or false.
pub fn logical_not(x: &Tensor) -> Result<Tensor> {
    let a = x.array()?;
    // the zeros to compare with, and the result
    alloc::check_like(&a, a.dtype(), 2)?;
    Ok(Tensor::boolean(a.eq(&a.zeros_like()?)?))
}

/// `x · scale + offset`.
pub fn affine(x: &Tensor, scale: f64, offset: f64) -> Result<Tensor> {
    let y = elementwise::affine(&x.array()?, scale, offset)?;
    Ok(Tensor::record(y, &[x], move |g| Ok(vec![Some(elementwise::affine(g, scale, 0.0)?)])))
}
