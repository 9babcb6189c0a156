//! The matrix product.

use super::shape::{reshape, sum_to};
use crate::error::invalid;
use crate::{Array, Result, Tensor};

/// `alpha · a b`, batched; shapes as in [`xt_kernels::ops::matmul`]. A vector counts as a row on
/// the left, as a column on the right, and its axis of size 1 is removed from the result.
///
/// # Errors
/// An operand is a scalar or has no floating-point type, the types differ, or the shapes do not
/// match.
pub fn matmul(a: &Tensor, b: &Tensor, alpha: f64) -> Result<Tensor> {
    if a.rank() == 0 || b.rank() == 0 {
        return invalid(format!(
            "matmul: both need one axis or more, got {:?} and {:?}",
            a.dims(),
            b.dims()
        ));
    }
    if a.rank() == 1 || b.rank() == 1 {
        return with_vectors(a, b, alpha);
    }
    let kind = |t: &Tensor| t.scalar_type().map_or("?", |k| k.name());
    if let Some(whole) = [a, b].into_iter().find(|t| !t.dtype().is_float()) {
        let kind = kind(whole);
        return invalid(format!(
            "matmul needs floating-point values, got {kind}: cast the tensor to f32 first"
        ));
    }
    if a.dtype() != b.dtype() {
        return invalid(format!(
            "matmul: types {} and {} differ; cast one of them",
            kind(a),
            kind(b)
        ));
    }
    let (x, y) = (a.array()?, b.array()?);
    let z = xt_kernels::ops::matmul::matmul(&x, &y, alpha)?;
    let needs = (a.requires_grad(), b.requires_grad());
    Ok(Tensor::record(z, &[a, b], move |g| {
        let transposed = |m: &Array| m.transpose(m.rank() - 2, m.rank() - 1);
        let product = |l: &Array, r: &Array, dims: &[usize]| {
            sum_to(&xt_kernels::ops::matmul::matmul(l, r, alpha)?, dims)
        };
        let da = needs.0.then(|| product(g, &transposed(&y)?, x.dims())).transpose()?;
        let db = needs.1.then(|| product(&transposed(&x)?, g, y.dims())).transpose()?;
        Ok(vec![da, db])
    }))
}

/// [`matmul`] where one of both is a vector.
fn with_vectors(a: &Tensor, b: &Tensor, alpha: f64) -> Result<Tensor> {
    // checked here: what a product of matrices would tell are their reshaped shapes
    let (own, other) = (a.dim(a.rank() - 1), b.dim(b.rank().saturating_sub(2)));
    if own != other {
        return invalid(format!(
            "matmul: {:?} and {:?} do not fit: their inner sizes are {own} and {other}",
            a.dims(),
            b.dims()
        ));
    }
    let row = if a.rank() == 1 { reshape(a, &[1, a.dim(0)])? } else { a.clone() };
    let column = if b.rank() == 1 { reshape(b, &[b.dim(0), 1])? } else { b.clone() };
    let y = matmul(&row, &column, alpha)?;
    let mut dims = y.dims().to_vec();
    if b.rank() == 1 {
        dims.pop();
    }
    if a.rank() == 1 {
        // the axis of rows is the last but one of what `b` has left
        dims.remove(dims.len() - if b.rank() == 1 { 1 } else { 2 });
    }
    reshape(&y, &dims)
}
