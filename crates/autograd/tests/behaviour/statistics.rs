//! Gradients of functions, statistics, and arrangements that heads and metrics use.

use crate::common::{
    array, backward, check_all, check_over, grad, ids, leaf, normal, total, values, Case, Op,
};
use xt_autograd::ops::{self, Unary};
use xt_autograd::{DType, Tensor};

#[test]
fn functions() {
    check_all(&[
        ("sin", &[&[2, 3]], |x| ops::sin(&x[0])),
        ("cos", &[&[2, 3]], |x| ops::cos(&x[0])),
        ("square", &[&[2, 3]], |x| ops::square(&x[0])),
        ("reciprocal", &[&[2, 3]], |x| ops::reciprocal(&x[0])),
        ("clamp", &[&[4, 5]], |x| ops::clamp(&x[0], Some(-0.5), Some(0.7))),
        ("clamp from below", &[&[4, 5]], |x| ops::clamp(&x[0], Some(0.1), None)),
        ("clamp from above", &[&[4, 5]], |x| ops::clamp(&x[0], None, Some(0.1))),
        ("copy", &[&[2, 3]], |x| ops::copy(&x[0])),
    ]);
    let positive = |x: xt_autograd::Array| {
        array(&values(&x).iter().map(|x| x.abs() + 0.1).collect::<Vec<_>>(), x.dims())
    };
    check_over(&[("rsqrt", &[&[2, 3]], |x| ops::rsqrt(&x[0]))], positive);
}

#[test]
fn statistics() {
    let cases: [Case; 14] = [
        ("var", &[&[2, 5]], |x| ops::var(&x[0], None, 1.0, false)),
        ("var of rows", &[&[2, 5, 3]], |x| ops::var(&x[0], Some(&[1]), 0.0, true)),
        ("std", &[&[2, 5]], |x| ops::std(&x[0], None, 1.0, false)),
        ("std of planes", &[&[2, 5, 3]], |x| ops::std(&x[0], Some(&[0, 2]), 1.5, false)),
        ("2-norm", &[&[2, 5]], |x| ops::norm(&x[0], None, 2.0, false)),
        ("2-norm of rows", &[&[2, 5, 3]], |x| ops::norm(&x[0], Some(&[1]), 2.0, true)),
        ("1-norm", &[&[2, 5]], |x| ops::norm(&x[0], Some(&[1]), 1.0, false)),
        ("3-norm", &[&[2, 5]], |x| ops::norm(&x[0], Some(&[1]), 3.0, false)),
        ("0.5-norm", &[&[2, 5]], |x| ops::norm(&x[0], None, 0.5, false)),
        ("greatest norm", &[&[2, 5]], |x| ops::norm(&x[0], Some(&[1]), f64::INFINITY, false)),
        ("least norm", &[&[2, 5]], |x| ops::norm(&x[0], Some(&[0]), f64::NEG_INFINITY, false)),
        ("product", &[&[2, 5]], |x| ops::product(&x[0], Some(&[1]), false)),
        ("product of all", &[&[2, 3, 2]], |x| ops::product(&x[0], None, false)),
        ("running sums", &[&[2, 5, 3]], |x| ops::cumsum(&x[0], 1)),
    ];
    check_all(&cases);
}

#[test]
fn arrangements() {
    let cases: [Case; 10] = [
        ("repeat", &[&[2, 3]], |x| ops::repeat(&x[0], &[2, 3])),
        ("repeat with a new axis", &[&[2, 3]], |x| ops::repeat(&x[0], &[2, 1, 2])),
        ("flip", &[&[2, 3, 2]], |x| ops::flip(&x[0], &[0, 1])),
        ("outer", &[&[3], &[4]], |x| ops::outer(&x[0], &x[1])),
        ("lower triangle", &[&[2, 3, 4]], |x| ops::triangle(&x[0], 1, true)),
        ("upper triangle", &[&[4, 3]], |x| ops::triangle(&x[0], -1, false)),
        ("masked_fill", &[&[2, 3]], |x| {
            ops::masked_fill(&x[0], &ops::compare_with(&x[0], 0.3, ops::Comparison::Gt)?, 7.0)
        }),
        ("vectors", &[&[3], &[3]], |x| ops::matmul(&x[0], &x[1], 1.0)),
        ("a vector and matrices", &[&[3], &[2, 3, 4]], |x| ops::matmul(&x[0], &x[1], 0.5)),
        ("matrices and a vector", &[&[2, 4, 3], &[3]], |x| ops::matmul(&x[0], &x[1], 1.0)),
    ];
    check_all(&cases);
}

/// Where finite differences do not apply, gradients are PyTorch's.
#[test]
fn kinks() {
    let cases: [(&str, &[f64], Op, &[f64]); 7] = [
        (
            "clamp at its bounds",
            &[-2.0, -1.0, 0.0, 1.0, 2.0, f64::NAN],
            |x| ops::clamp(&x[0], Some(-1.0), Some(1.0)),
            &[0.0, 0.0, 1.0, 0.0, 0.0, 0.0],
        ),
        ("std of equal ones", &[3.0, 3.0], |x| ops::std(&x[0], None, 1.0, false), &[0.0, 0.0]),
        ("2-norm at 0", &[0.0, 0.0], |x| ops::norm(&x[0], None, 2.0, false), &[0.0, 0.0]),
        ("3-norm at 0", &[0.0, 0.0], |x| ops::norm(&x[0], None, 3.0, false), &[0.0, 0.0]),
        (
            "greatest norm with equal ones",
            &[-2.0, 2.0, 1.0],
            |x| ops::norm(&x[0], None, f64::INFINITY, false),
            &[-0.5, 0.5, 0.0],
        ),
        (
            "product with a 0",
            &[2.0, 0.0, 3.0],
            |x| ops::product(&x[0], None, false),
            &[0.0, 6.0, 0.0],
        ),
        ("rounding", &[0.5, 2.7], |x| ops::rounded(&x[0], Unary::Round), &[0.0, 0.0]),
    ];
    for (name, values, op, want) in cases {
        let (x, of_x) = leaf(array(values, &[values.len()]));
        backward(&total(&op(&[x]).unwrap())).unwrap();
        assert_eq!(grad(&of_x), want, "{name}");
    }
    // in the graph, without a gradient
    let (x, of_x) = leaf(array(&[-2.0, 0.0], &[2]));
    let count = ops::norm(&x, None, 0.0, false).unwrap();
    assert_eq!(numbers(&count), [1.0]);
    backward(&count).unwrap();
    assert!(of_x.grad().unwrap().is_none());
}

fn numbers(x: &Tensor) -> Vec<f64> {
    values(&x.array().unwrap())
}

#[test]
fn integers_and_truth_values() {
    let x = ids(&[3, -2, 0, 5], &[2, 2]);
    assert_eq!(numbers(&ops::cumsum(&x, 0).unwrap()), [3.0, -2.0, 3.0, 3.0]);
    assert_eq!(numbers(&ops::product(&x, Some(&[1]), false).unwrap()), [-6.0, 0.0]);
    assert_eq!(numbers(&ops::clamp(&x, Some(0.0), Some(4.0)).unwrap()), [3.0, 0.0, 0.0, 4.0]);
    assert_eq!(numbers(&ops::square(&x).unwrap()), [9.0, 4.0, 0.0, 25.0]);
    assert_eq!(numbers(&ops::sign(&x).unwrap()), [1.0, -1.0, 0.0, 1.0]);
    assert_eq!(numbers(&ops::rounded(&x, Unary::Floor).unwrap()), numbers(&x));
    assert_eq!(numbers(&ops::argmin(&x, 1, false).unwrap()), [1.0, 0.0]);
    let half = ops::reciprocal(&ids(&[2], &[1])).unwrap();
    assert_eq!((half.dtype(), numbers(&half)), (DType::F32, vec![0.5]));
    for (is, want) in
        [(ops::is_nan(&x), 0.0), (ops::is_infinite(&x), 0.0), (ops::is_finite(&x), 1.0)]
    {
        assert_eq!(numbers(&is.unwrap()), [want; 4]);
    }

    let flags = ops::cast(&x, DType::U8, true).unwrap();
    let arranged = [
        ops::repeat(&flags, &[2, 2]),
        ops::flip(&flags, &[1]),
        ops::copy(&flags),
        ops::triangle(&flags, 0, true),
        ops::masked_fill(&flags, &flags, 0.0),
        ops::any(&flags, Some(&[0]), false),
        ops::all(&x, None, true),
    ];
    assert!(arranged.into_iter().all(|x| x.unwrap().is_boolean()));
    assert_eq!(numbers(&ops::cumsum(&flags, 1).unwrap()), [1.0, 2.0, 0.0, 1.0]);
    assert_eq!(numbers(&ops::any(&x, Some(&[1]), false).unwrap()), [1.0, 1.0]);
    assert_eq!(numbers(&ops::all(&x, Some(&[1]), false).unwrap()), [1.0, 0.0]);
    let (some, _) = leaf(array(&[f64::NAN, f64::INFINITY, 1.0], &[3]));
    assert!(!ops::any(&some, None, false).unwrap().requires_grad());
    assert_eq!(numbers(&ops::is_nan(&some).unwrap()), [1.0, 0.0, 0.0]);
    assert_eq!(numbers(&ops::is_infinite(&some).unwrap()), [0.0, 1.0, 0.0]);
    assert_eq!(numbers(&ops::is_finite(&some).unwrap()), [0.0, 0.0, 1.0]);
}

#[test]
fn of_nothing() {
    let none = Tensor::constant(normal(&[2, 0], 1));
    let rows = |x: xt_autograd::Result<Tensor>| numbers(&x.unwrap());
    assert_eq!(rows(ops::product(&none, Some(&[1]), false)), [1.0, 1.0]);
    assert_eq!(rows(ops::any(&none, Some(&[1]), false)), [0.0, 0.0]);
    assert_eq!(rows(ops::all(&none, Some(&[1]), false)), [1.0, 1.0]);
    assert_eq!(rows(ops::norm(&none, Some(&[1]), 2.0, false)), [0.0, 0.0]);
    assert!(rows(ops::var(&none, Some(&[1]), 1.0, false)).iter().all(|x| x.is_nan()));
    assert_eq!(ops::cumsum(&none, 1).unwrap().dims(), [2, 0]);
    assert_eq!(ops::flip(&none, &[0, 1]).unwrap().dims(), [2, 0]);
    assert_eq!(ops::repeat(&none, &[3, 2]).unwrap().dims(), [6, 0]);
    assert_eq!(ops::triangle(&none, 0, true).unwrap().dims(), [2, 0]);
    let (x, of_x) = leaf(normal(&[2, 3], 1));
    let gone = ops::repeat(&x, &[0, 2]).unwrap();
    assert_eq!(gone.dims(), [0, 6]);
    backward(&total(&gone)).unwrap();
    assert_eq!(grad(&of_x), [0.0; 6]);
}

#[test]
fn a_product_of_nothing_stays_in_the_graph() {
    let (x, of_x) = leaf(array(&[], &[2, 0]));
    let y = ops::product(&x, Some(&[1]), false).unwrap();
    assert_eq!(numbers(&y), [1.0, 1.0]);
    backward(&total(&y)).unwrap();
    assert_eq!(of_x.grad().unwrap().unwrap().dims(), [2, 0]);
}
