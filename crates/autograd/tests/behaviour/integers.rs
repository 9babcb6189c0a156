//! Integers, booleans and NaN behave as in PyTorch.

use crate::common::{array, ids, leaf};
use xt_autograd::ops::{self, Comparison};
use xt_autograd::{Array, DType, Device, ScalarType, Tensor};

fn bytes(values: &[u8]) -> Tensor {
    Tensor::constant(Array::new(values, &Device::Cpu).unwrap())
}

fn bools(values: &[u8]) -> Tensor {
    Tensor::boolean(Array::new(values, &Device::Cpu).unwrap())
}

#[track_caller]
fn expect(x: xt_autograd::Result<Tensor>, kind: ScalarType, values: &[f64]) {
    let x = x.unwrap();
    assert_eq!(x.scalar_type(), Some(kind));
    let got: Vec<f64> =
        x.array().unwrap().to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    assert_eq!(got, values);
}

#[test]
fn sums_are_i64_and_min_and_max_keep_the_type() {
    expect(ops::sum(&bytes(&[200, 100]), None, false), ScalarType::I64, &[300.0]);
    expect(ops::sum(&bools(&[1; 300]), Some(&[0]), true), ScalarType::I64, &[300.0]);
    expect(ops::sum(&ids(&[7], &[]), None, false), ScalarType::I64, &[7.0]);
    expect(ops::sum(&bools(&[1]), Some(&[]), false), ScalarType::I64, &[1.0]);
    expect(ops::max(&bools(&[0, 1]), None, false), ScalarType::Bool, &[1.0]);
    expect(ops::min(&bytes(&[9, 4]), None, false), ScalarType::U8, &[4.0]);
    expect(ops::max(&ids(&[-9, -4], &[2]), None, false), ScalarType::I64, &[-4.0]);
}

#[test]
fn booleans_combine_logically_and_act_as_numbers_beside_a_number() {
    let (a, b) = (bools(&[1, 1, 0, 0]), bools(&[1, 0, 1, 0]));
    expect(ops::add(&a, &b), ScalarType::Bool, &[1.0, 1.0, 1.0, 0.0]);
    expect(ops::mul(&a, &b), ScalarType::Bool, &[1.0, 0.0, 0.0, 0.0]);
    expect(ops::add(&a, &bytes(&[255, 1, 2, 3])), ScalarType::U8, &[0.0, 2.0, 2.0, 3.0]);
    let (x, y) = ops::promote_with_scalar(&a, 255.0, false).unwrap();
    expect(ops::add(&x, &y), ScalarType::I64, &[256.0, 256.0, 255.0, 255.0]);
    expect(ops::where_cond(&a, &a, &b), ScalarType::Bool, &[1.0, 1.0, 1.0, 0.0]);
    expect(ops::gather(&a, &ids(&[3, 0], &[2]), 0), ScalarType::Bool, &[0.0, 1.0]);
}

#[test]
fn integers_use_true_division() {
    let whole = ids(&[1, 3, 0], &[3]);
    expect(ops::div(&whole, &ids(&[2, 0, 5], &[3])), ScalarType::F32, &[0.5, f64::INFINITY, 0.0]);
    expect(ops::div(&whole, &bytes(&[2])), ScalarType::F32, &[0.5, 1.5, 0.0]);
    expect(
        ops::div(&whole, &Tensor::constant(array(&[2.0], &[1]))),
        ScalarType::F64,
        &[0.5, 1.5, 0.0],
    );
    let (x, two) = ops::promote_with_scalar(&whole, 2.0, true).unwrap();
    expect(ops::div(&x, &two), ScalarType::F32, &[0.5, 1.5, 0.0]);
    let (by, of) = leaf(array(&[2.0, 4.0], &[2]));
    ops::sum(&ops::div(&ids(&[1, 3], &[2]), &by).unwrap(), None, false)
        .unwrap()
        .backward(false, &|| false)
        .unwrap();
    assert_eq!(of.grad().unwrap().unwrap().to_vec1::<f64>().unwrap(), [-0.25, -0.1875]);
}

#[test]
fn out_of_range_values_wrap_and_comparisons_are_exact() {
    expect(ops::neg(&bytes(&[1, 0])), ScalarType::U8, &[255.0, 0.0]);
    expect(ops::pow(&bytes(&[16, 3]), &bytes(&[2, 4])), ScalarType::U8, &[0.0, 81.0]);
    expect(ops::cast(&ids(&[300, -1], &[2]), DType::U8, false), ScalarType::U8, &[44.0, 255.0]);
    let (x, three) = ops::promote_with_scalar(&ids(&[3], &[1]), 3.0, false).unwrap();
    expect(ops::pow(&x, &three), ScalarType::I64, &[27.0]);
    let compared = |value, how| ops::compare_with(&bytes(&[0, 1, 255]), value, how);
    expect(compared(0.5, Comparison::Gt), ScalarType::Bool, &[0.0, 1.0, 1.0]);
    expect(compared(300.0, Comparison::Lt), ScalarType::Bool, &[1.0; 3]);
    expect(compared(f64::NAN, Comparison::Ne), ScalarType::Bool, &[1.0; 3]);
    expect(compared(1.0, Comparison::Le), ScalarType::Bool, &[1.0, 1.0, 0.0]);
}

#[test]
fn nan_is_true_and_gets_the_gradient_of_the_maximum() {
    let values = array(&[f64::NAN, 0.0, -0.0, f64::INFINITY], &[4]);
    expect(
        ops::cast(&Tensor::constant(values.clone()), DType::U8, true),
        ScalarType::Bool,
        &[1.0, 0.0, 0.0, 1.0],
    );
    let (x, of) = leaf(values);
    ops::max(&x, None, false).unwrap().backward(false, &|| false).unwrap();
    assert_eq!(of.grad().unwrap().unwrap().to_vec1::<f64>().unwrap(), [1.0, 0.0, 0.0, 0.0]);
}
