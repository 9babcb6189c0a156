//! Gradients of views, copies and conversions.

use crate::common::{backward, check_all, grad, leaf, normal, total, values, Case};
use xt_autograd::{ops, DType};

#[test]
fn views_and_copies() {
    let cases: [Case; 14] = [
        ("reshape", &[&[2, 3]], |x| ops::reshape(&x[0], &[3, 1, 2])),
        ("reshape to one axis", &[&[2, 3]], |x| ops::reshape(&x[0], &[6])),
        ("permute", &[&[2, 3, 4]], |x| ops::permute(&x[0], &[2, 0, 1])),
        ("transpose", &[&[2, 3, 4]], |x| ops::transpose(&x[0], 0, 2)),
        ("narrow, start", &[&[2, 4]], |x| ops::narrow(&x[0], 1, 0, 2)),
        ("narrow, middle", &[&[2, 4, 2]], |x| ops::narrow(&x[0], 1, 1, 2)),
        ("narrow, end", &[&[4, 2]], |x| ops::narrow(&x[0], 0, 3, 1)),
        ("cat", &[&[2, 3], &[2, 1], &[2, 2]], |x| ops::cat(&[&x[0], &x[1], &x[2]], 1)),
        ("cat, first axis", &[&[2, 3], &[1, 3]], |x| ops::cat(&[&x[0], &x[1]], 0)),
        ("cat with itself", &[&[2, 3]], |x| ops::cat(&[&x[0], &x[0]], 0)),
        ("stack in front", &[&[2, 3], &[2, 3]], |x| ops::stack(&[&x[0], &x[1]], 0)),
        ("stack behind", &[&[2, 3], &[2, 3]], |x| ops::stack(&[&x[0], &x[1]], 2)),
        ("broadcast_to", &[&[2, 1]], |x| ops::broadcast_to(&x[0], &[3, 2, 4])),
        ("a chain of views", &[&[2, 3, 4]], |x| {
            let part = ops::narrow(&ops::permute(&x[0], &[1, 2, 0])?, 1, 1, 2)?;
            ops::exp(&ops::reshape(&part, &[6, 2])?)
        }),
    ];
    check_all(&cases);
}

#[test]
fn the_gradient_of_a_conversion_has_the_type_of_the_input() {
    let (x, of_x) = leaf(normal(&[2, 3], 1));
    let narrow = ops::cast(&x, DType::F32, false).unwrap();
    backward(&total(&ops::mul(&narrow, &narrow).unwrap())).unwrap();
    assert_eq!(of_x.grad().unwrap().unwrap().dtype(), DType::F64);
    for (g, x) in grad(&of_x).iter().zip(values(&normal(&[2, 3], 1))) {
        assert!((g - 2.0 * x).abs() < 1e-6);
    }
}

#[test]
fn integers_and_booleans_carry_no_gradient() {
    let (x, _) = leaf(normal(&[2, 3], 1));
    assert!(!ops::cast(&x, DType::I64, false).unwrap().requires_grad());
    assert!(!ops::cast(&x, DType::U8, true).unwrap().requires_grad());
    assert!(!ops::argmax(&x, 1, false).unwrap().requires_grad());
    assert!(!ops::logical_not(&x).unwrap().requires_grad());
    assert!(!ops::compare(&x, &x, ops::Comparison::Eq).unwrap().requires_grad());
}

#[test]
fn booleans_stay_booleans_through_views() {
    let flags = ops::cast(&leaf(normal(&[2, 3], 1)).0, DType::U8, true).unwrap();
    let views = [
        ops::reshape(&flags, &[6]),
        ops::permute(&flags, &[1, 0]),
        ops::narrow(&flags, 1, 1, 2),
        ops::cat(&[&flags, &flags], 0),
        ops::stack(&[&flags, &flags], 0),
        ops::broadcast_to(&flags, &[4, 2, 3]),
    ];
    assert!(views.into_iter().all(|view| view.unwrap().is_boolean()));
    assert!(!ops::cast(&flags, DType::U8, false).unwrap().is_boolean());
}
