//! Arithmetic and comparison of two tensors, with broadcasting, and the matrix product.

use super::shape::sum_to;
use crate::error::invalid;
use crate::{Array, DType, Result, Tensor};
use xt_kernels::alloc;
use xt_kernels::elementwise::{self, Binary, Unary};

/// The common shape of `a` and `b` by the rules of broadcasting; types must agree.
pub fn equal_shape(a: &Tensor, b: &Tensor, name: &str) -> Result<Vec<usize>> {
    if a.dtype() != b.dtype() {
        let kind = |t: &Tensor| t.kind().map_or("?", |k| k.name());
        return invalid(format!("{name}: types {} and {} differ; cast one of them", kind(a), kind(b)));
    }
    let dims = common_shape(a.dims(), b.dims(), name)?;
    alloc::check(&dims, a.dtype())?;
    Ok(dims)
}

/// The shape that both are broadcast to.
pub(super) fn common_shape(a: &[usize], b: &[usize], name: &str) -> Result<Vec<usize>> {
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

/// `value` as a tensor that goes with `x` in arithmetic.
pub fn scalar_like(x: &Tensor, value: f64) -> Result<Tensor> {
    if !x.dtype().is_float() && value.fract() != 0.0 {
        return invalid(format!("{value} with whole numbers: cast the tensor to f32 first"));
    }
    Ok(Tensor::constant(Array::full(value, (), &x.device())?.to_dtype(x.dtype())?))
}

pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    equal_shape(a, b, "add")?;
    let (x, y) = (a.array()?, b.array()?);
    let z = elementwise::add(&x, &y)?;
    let (da, db) = (a.dims().to_vec(), b.dims().to_vec());
    Ok(Tensor::record(z, &[a, b], move |g| Ok(vec![Some(sum_to(g, &da)?), Some(sum_to(g, &db)?)])))
}

pub fn sub(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    equal_shape(a, b, "sub")?;
    let (x, y) = (a.array()?, b.array()?);
    let z = elementwise::sub(&x, &y)?;
    let (da, db) = (a.dims().to_vec(), b.dims().to_vec());
    Ok(Tensor::record(z, &[a, b], move |g| {
        Ok(vec![Some(sum_to(g, &da)?), Some(sum_to(&elementwise::unary(g, Unary::Neg)?, &db)?)])
    }))
}

pub fn mul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    equal_shape(a, b, "mul")?;
    let (x, y) = (a.array()?, b.array()?);
    let z = elementwise::mul(&x, &y)?;
    let needs = (a.requires_grad(), b.requires_grad());
    Ok(Tensor::record(z, &[a, b], move |g| {
        let da = needs.0.then(|| sum_to(&elementwise::mul(g, &y)?, x.dims())).transpose()?;
        let db = needs.1.then(|| sum_to(&elementwise::mul(g, &x)?, y.dims())).transpose()?;
        Ok(vec![da, db])
    }))
}

/// True division; whole numbers divide to whole numbers, towards 0.
pub fn div(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    equal_shape(a, b, "div")?;
    let (x, y) = (a.array()?, b.array()?);
    if !x.dtype().is_float() && zero_inside(&y)? {
        return invalid("div: division of whole numbers by zero");
    }
    let z = elementwise::div(&x, &y)?;
    Ok(Tensor::record(z, &[a, b], move |g| {
        let by_y = elementwise::div(g, &y)?;
        let db = elementwise::unary(&elementwise::div(&elementwise::mul(&by_y, &x)?, &y)?, Unary::Neg)?;
        Ok(vec![Some(sum_to(&by_y, x.dims())?), Some(sum_to(&db, y.dims())?)])
    }))
}

fn zero_inside(x: &Array) -> Result<bool> {
    alloc::check_like(x, x.dtype(), 2)?;
    Ok(x.elem_count() > 0 && x.eq(&x.zeros_like()?)?.to_dtype(DType::U8)?.max_all()?.to_scalar::<u8>()? != 0)
}

/// `a` to the power `b`. The gradient of the exponent is 0 where the base is 0 and the exponent is not negative.
pub fn pow(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let dims = equal_shape(a, b, "pow")?;
    let (x, y) = (a.array()?.broadcast_as(dims.as_slice())?, b.array()?.broadcast_as(dims.as_slice())?);
    let z = power(&x, &y)?;
    let (da, db) = (a.dims().to_vec(), b.dims().to_vec());
    let (needs_exponent, kept) = (b.requires_grad(), z.clone());
    Ok(Tensor::record(z, &[a, b], move |g| {
        alloc::check_like(&y, y.dtype(), 4)?;
        // 0 to the power 0 is 1 and flat, where y · x^(y - 1) would be 0 times infinity
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

/// Element by element in f64, so that negative bases with whole exponents are right.
fn power(x: &Array, y: &Array) -> Result<Array> {
    let wide = |a: &Array| a.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
    alloc::check(&[x.elem_count(), 4], DType::F64)?;
    let z: Vec<f64> = wide(x)?.iter().zip(wide(y)?).map(|(x, y)| x.powf(y)).collect();
    Ok(Array::from_vec(z, x.dims(), x.device())?.to_dtype(x.dtype())?)
}

/// The larger of two; where they are equal, each gets half of the gradient.
pub fn maximum(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    extreme(a, b, "maximum", true)
}

/// The smaller of two; where they are equal, each gets half of the gradient.
pub fn minimum(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    extreme(a, b, "minimum", false)
}

fn extreme(a: &Tensor, b: &Tensor, name: &str, larger: bool) -> Result<Tensor> {
    equal_shape(a, b, name)?;
    let (x, y) = (a.array()?, b.array()?);
    let z = elementwise::binary(&x, &y, if larger { Binary::Max } else { Binary::Min })?;
    Ok(Tensor::record(z, &[a, b], move |g| {
        alloc::check_like(g, g.dtype(), 3)?;
        let wins = if larger { x.broadcast_gt(&y)? } else { x.broadcast_lt(&y)? }.to_dtype(g.dtype())?;
        let tie = elementwise::affine(&x.broadcast_eq(&y)?.to_dtype(g.dtype())?, 0.5, 0.0)?;
        let share = elementwise::add(&wins, &tie)?;
        let da = elementwise::mul(g, &share)?;
        let db = elementwise::sub(g, &da)?;
        Ok(vec![Some(sum_to(&da, x.dims())?), Some(sum_to(&db, y.dims())?)])
    }))
}

/// Which comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

/// Truth values of a comparison.
pub fn compare(a: &Tensor, b: &Tensor, how: Comparison) -> Result<Tensor> {
    equal_shape(a, b, "comparison")?;
    let (x, y) = (a.array()?, b.array()?);
    Ok(Tensor::boolean(match how {
        Comparison::Eq => x.broadcast_eq(&y)?,
        Comparison::Ne => x.broadcast_ne(&y)?,
        Comparison::Lt => x.broadcast_lt(&y)?,
        Comparison::Le => x.broadcast_le(&y)?,
        Comparison::Gt => x.broadcast_gt(&y)?,
        Comparison::Ge => x.broadcast_ge(&y)?,
    }))
}

/// True where `x` is 0 or false.
pub fn logical_not(x: &Tensor) -> Result<Tensor> {
    let a = x.array()?;
    // the zeroes to compare with, and the result
    alloc::check_like(&a, a.dtype(), 2)?;
    Ok(Tensor::boolean(a.eq(&a.zeros_like()?)?))
}

/// `a · scale + offset`.
pub fn affine(x: &Tensor, scale: f64, offset: f64) -> Result<Tensor> {
    let y = elementwise::affine(&x.array()?, scale, offset)?;
    Ok(Tensor::record(y, &[x], move |g| Ok(vec![Some(elementwise::affine(g, scale, 0.0)?)])))
}

/// `alpha · a b`, batched; shapes as in [`xt_kernels::matmul`]. Vectors count as matrices with one row or column.
pub fn matmul(a: &Tensor, b: &Tensor, alpha: f64) -> Result<Tensor> {
    if a.rank() < 2 || b.rank() < 2 {
        return invalid(format!("matmul: both need two axes or more, got {:?} and {:?}", a.dims(), b.dims()));
    }
    let (x, y) = (a.array()?, b.array()?);
    let z = xt_kernels::matmul::matmul(&x, &y, alpha)?;
    let needs = (a.requires_grad(), b.requires_grad());
    Ok(Tensor::record(z, &[a, b], move |g| {
        let turned = |m: &Array| m.transpose(m.rank() - 2, m.rank() - 1);
        let product = |l: &Array, r: &Array, dims: &[usize]| sum_to(&xt_kernels::matmul::matmul(l, r, alpha)?, dims);
        let da = needs.0.then(|| product(g, &turned(&y)?, x.dims())).transpose()?;
        let db = needs.1.then(|| product(&turned(&x)?, g, y.dims())).transpose()?;
        Ok(vec![da, db])
    }))
}
