//! Gradients at points where finite differences do not apply, as PyTorch defines them.

use crate::common::{array, backward, grad, leaf, total, Op};
use xt_autograd::ops::{self, Activation};

#[test]
fn kinks_and_ties() {
    let cases: [(&str, &[f64], Op, &[f64]); 10] = [
        (
            "relu at 0",
            &[-1.0, 0.0, 1.0],
            |x| ops::activation(&x[0], Activation::Relu),
            &[0.0, 0.0, 1.0],
        ),
        ("abs at 0", &[-2.0, 0.0, 2.0], |x| ops::abs(&x[0]), &[-1.0, 0.0, 1.0]),
        (
            "max with equal ones",
            &[3.0, 1.0, 3.0],
            |x| ops::max(&x[0], None, false),
            &[0.5, 0.0, 0.5],
        ),
        (
            "min with equal ones",
            &[1.0, 1.0, 3.0],
            |x| ops::min(&x[0], None, false),
            &[0.5, 0.5, 0.0],
        ),
        (
            "maximum of equal ones",
            &[3.0],
            |x| ops::maximum(&x[0], &ops::scalar_like(&x[0], 3.0)?),
            &[0.5],
        ),
        (
            "minimum of equal ones",
            &[3.0],
            |x| ops::minimum(&x[0], &ops::scalar_like(&x[0], 3.0)?),
            &[0.5],
        ),
        (
            "0 squared",
            &[0.0, -3.0],
            |x| ops::pow(&x[0], &ops::scalar_like(&x[0], 2.0)?),
            &[0.0, -6.0],
        ),
        (
            "0 to the power 0",
            &[0.0, 2.0],
            |x| ops::pow(&x[0], &ops::scalar_like(&x[0], 0.0)?),
            &[0.0, 0.0],
        ),
        (
            "an exponent over 0",
            &[0.0, 2.0],
            |x| ops::pow(&ops::scalar_like(&x[0], 0.0)?, &x[0]),
            &[0.0, 0.0],
        ),
        ("sqrt at 0", &[0.0], |x| ops::sqrt(&x[0]), &[f64::INFINITY]),
    ];
    for (name, values, op, want) in cases {
        let (x, of_x) = leaf(array(values, &[values.len()]));
        backward(&total(&op(&[x]).unwrap())).unwrap();
        assert_eq!(grad(&of_x), want, "{name}");
    }
}

#[test]
fn backward_of_a_leaf_accumulates_1() {
    let (x, of_x) = leaf(array(&[4.0], &[1]));
    backward(&x).unwrap();
    backward(&x).unwrap();
    assert_eq!(grad(&of_x), [2.0]);
}
