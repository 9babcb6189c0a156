//! Gradients of arithmetic with broadcasting, unary functions, selection and reductions.

use crate::common::{check_all, check_over, Case};
use xt_autograd::ops::{self, Activation, Comparison};
use xt_autograd::{Array, Tensor};
use xt_kernels::ops::elementwise::{affine, unary, Unary};

#[test]
fn unary_functions() {
    let cases: [Case; 9] = [
        ("neg", &[&[2, 3]], |x| ops::neg(&x[0])),
        ("exp", &[&[2, 3]], |x| ops::exp(&x[0])),
        ("abs", &[&[2, 3]], |x| ops::abs(&x[0])),
        ("tanh", &[&[2, 3]], |x| ops::tanh(&x[0])),
        ("affine", &[&[2, 3]], |x| ops::affine(&x[0], -1.7, 0.3)),
        ("gelu", &[&[2, 3]], |x| ops::activation(&x[0], Activation::Gelu)),
        ("silu", &[&[2, 3]], |x| ops::activation(&x[0], Activation::Silu)),
        ("relu", &[&[2, 3]], |x| ops::activation(&x[0], Activation::Relu)),
        ("sigmoid", &[&[]], |x| ops::activation(&x[0], Activation::Sigmoid)),
    ];
    check_all(&cases);
}

#[test]
fn unary_functions_of_positive_elements() {
    let cases: [Case; 7] = [
        ("pow, both", &[&[2, 3], &[2, 3]], |x| ops::pow(&x[0], &x[1])),
        ("pow, both, broadcast", &[&[2, 1], &[3]], |x| ops::pow(&x[0], &x[1])),
        ("log", &[&[2, 3]], |x| ops::log(&x[0])),
        ("sqrt", &[&[2, 3]], |x| ops::sqrt(&x[0])),
        ("pow", &[&[2, 3]], |x| ops::pow(&x[0], &ops::scalar_like(&x[0], 2.5)?)),
        ("div", &[&[2, 3], &[2, 3]], |x| ops::div(&x[0], &x[1])),
        ("div with broadcasting", &[&[2, 1, 3], &[4, 1]], |x| ops::div(&x[0], &x[1])),
    ];
    let positive: fn(Array) -> Array =
        |x| affine(&unary(&x, Unary::Abs).unwrap(), 1.0, 0.5).unwrap();
    check_over(&cases, positive);
}

#[test]
fn arithmetic_with_every_kind_of_broadcasting() {
    let cases: [Case; 12] = [
        ("add", &[&[2, 3], &[2, 3]], |x| ops::add(&x[0], &x[1])),
        ("add, an axis in front", &[&[2, 2, 3], &[2, 3]], |x| ops::add(&x[0], &x[1])),
        ("add, stretched on both sides", &[&[2, 1, 3], &[1, 4, 1]], |x| ops::add(&x[0], &x[1])),
        ("add, a scalar", &[&[], &[2, 3]], |x| ops::add(&x[0], &x[1])),
        ("sub", &[&[3], &[2, 3]], |x| ops::sub(&x[0], &x[1])),
        ("mul", &[&[2, 3], &[2, 3]], |x| ops::mul(&x[0], &x[1])),
        ("mul, stretched on both sides", &[&[2, 1, 3], &[4, 1]], |x| ops::mul(&x[0], &x[1])),
        ("a square", &[&[2, 3]], |x| ops::mul(&x[0], &x[0])),
        ("twice the same", &[&[2, 3]], |x| ops::add(&x[0], &x[0])),
        ("maximum", &[&[2, 3], &[1, 3]], |x| ops::maximum(&x[0], &x[1])),
        ("minimum", &[&[2, 1], &[2, 3]], |x| ops::minimum(&x[0], &x[1])),
        ("pow, negative base", &[&[2, 3]], |x| ops::pow(&x[0], &ops::scalar_like(&x[0], 3.0)?)),
    ];
    check_all(&cases);
}

#[test]
fn matrix_products() {
    let cases: [Case; 6] = [
        ("matrices", &[&[2, 3], &[3, 4]], |x| ops::matmul(&x[0], &x[1], 1.0)),
        ("with a factor", &[&[2, 3], &[3, 4]], |x| ops::matmul(&x[0], &x[1], -0.5)),
        ("batched", &[&[2, 2, 2, 3], &[2, 2, 3, 2]], |x| ops::matmul(&x[0], &x[1], 1.0)),
        ("a batch with one matrix", &[&[3, 2, 3], &[3, 2]], |x| ops::matmul(&x[0], &x[1], 2.0)),
        ("batch axes of size 1", &[&[1, 2, 2, 3], &[2, 1, 3, 2]], |x| {
            ops::matmul(&x[0], &x[1], 1.0)
        }),
        ("with itself", &[&[3, 3]], |x| ops::matmul(&x[0], &x[0], 1.0)),
    ];
    check_all(&cases);
}

#[test]
fn reductions() {
    let cases: [Case; 12] = [
        ("sum", &[&[2, 3]], |x| ops::sum(&x[0], None, false)),
        ("sum over one axis", &[&[2, 3, 2]], |x| ops::sum(&x[0], Some(&[1]), false)),
        ("sum over two, kept", &[&[2, 3, 2]], |x| ops::sum(&x[0], Some(&[2, 0]), true)),
        ("sum over no axis", &[&[2, 3]], |x| ops::sum(&x[0], Some(&[]), false)),
        ("mean", &[&[2, 3]], |x| ops::mean(&x[0], None, false)),
        ("mean over one axis", &[&[2, 3, 2]], |x| ops::mean(&x[0], Some(&[0]), true)),
        ("max", &[&[2, 3]], |x| ops::max(&x[0], None, false)),
        ("max over one axis", &[&[2, 3, 2]], |x| ops::max(&x[0], Some(&[1]), false)),
        ("min over two", &[&[2, 3, 2]], |x| ops::min(&x[0], Some(&[0, 2]), true)),
        ("softmax, last axis", &[&[2, 3]], |x| ops::softmax(&x[0], 1)),
        ("softmax, another axis", &[&[2, 3, 2]], |x| ops::softmax(&x[0], 0)),
        ("log_softmax", &[&[2, 3, 2]], |x| ops::log_softmax(&x[0], 1)),
    ];
    check_all(&cases);
}

#[test]
fn selection_by_condition_and_by_index() {
    let cases: [Case; 7] = [
        ("where", &[&[2, 3], &[2, 3]], |x| ops::where_cond(&positive(&x[0])?, &x[0], &x[1])),
        ("where, all broadcast", &[&[2, 1], &[3]], |x| ops::where_cond(&odd(), &x[0], &x[1])),
        ("where, by a wider condition", &[&[3], &[]], |x| ops::where_cond(&odd(), &x[0], &x[1])),
        ("gather", &[&[3, 2]], |x| {
            ops::gather(&x[0], &crate::common::ids(&[2, 0, 2, 1], &[2, 2]), 0)
        }),
        ("gather, fewer rows", &[&[3, 4]], |x| {
            ops::gather(&x[0], &crate::common::ids(&[3, 3, 0], &[1, 3]), 1)
        }),
        ("embedding", &[&[4, 3]], |x| {
            ops::embedding(&x[0], &crate::common::ids(&[3, 0, 3, 1], &[2, 2]))
        }),
        ("embedding, one row", &[&[4, 3]], |x| {
            ops::embedding(&x[0], &crate::common::ids(&[2], &[]))
        }),
    ];
    check_all(&cases);
}

fn positive(x: &Tensor) -> xt_autograd::Result<Tensor> {
    ops::compare(x, &ops::scalar_like(x, 0.0)?, Comparison::Gt)
}

/// A condition of shape (2, 2, 3).
fn odd() -> Tensor {
    let bits = (0..12).map(|i| u8::from(i % 3 == 1)).collect::<Vec<_>>();
    Tensor::boolean(Array::from_vec(bits, (2, 2, 3), &xt_autograd::Device::Cpu).unwrap())
}
