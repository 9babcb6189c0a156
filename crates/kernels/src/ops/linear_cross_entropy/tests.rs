//! Tests of the loss of a linear layer.

use super::*;
use crate::testing::{
    assert_matches_reference, device, f64s, gradcheck, normal, on_device, values,
};

const ALL: NeedsGrad = NeedsGrad { x: true, weight: true, bias: true };

fn targets(values: &[i64]) -> Array {
    Array::from_vec(values.to_vec(), values.len(), &device()).unwrap()
}

#[test]
fn equals_the_reference() {
    assert_matches_reference::<Forward>(1e-5);
}

#[test]
fn gradients_agree_with_differences() {
    let of = |dims: &[usize], seed| on_device(&f64s(&normal(dims, seed)));
    let (x, weight, bias) = (of(&[4, 3], 1), of(&[5, 3], 2), of(&[5], 3));
    let (t, one) = (targets(&[1, 4, 2, 1]), Array::ones((), crate::DType::F64, &device()).unwrap());
    for (label_smoothing, softclamp) in [(0.0, None), (0.3, None), (0.3, Some(0.8))] {
        let loss = |x: &Array, weight: &Array, bias: &Array| {
            let of = CrossEntropy { ignore_index: 2, label_smoothing };
            let of = LossArgs { x, weight, bias: Some(bias), targets: &t, of, softclamp };
            forward(&of, ALL).unwrap()
        };
        let got = loss(&x, &weight, &bias).1;
        gradcheck(&x, &one, &got.x.unwrap(), |x| loss(&on_device(x), &weight, &bias).0);
        gradcheck(&weight, &one, &got.weight.unwrap(), |w| loss(&x, &on_device(w), &bias).0);
        gradcheck(&bias, &one, &got.bias.unwrap(), |bias| loss(&x, &weight, &on_device(bias)).0);
    }
}

#[test]
fn nothing_to_count_is_nan_without_a_gradient_and_classes_outside_are_errors() {
    let (x, weight) = (on_device(&normal(&[2, 3], 1)), on_device(&normal(&[4, 3], 2)));
    let of = |targets, ignore_index| LossArgs {
        x: &x,
        weight: &weight,
        bias: None,
        targets,
        of: CrossEntropy::ignoring(ignore_index),
        softclamp: None,
    };
    let (none, outside) = (targets(&[0, 0]), targets(&[0, 4]));
    let (loss, grads) = forward(&of(&none, 0), NeedsGrad { bias: false, ..ALL }).unwrap();
    assert!(values(&loss)[0].is_nan());
    assert!(values(&grads.weight.unwrap()).iter().all(|g| *g == 0.0));
    let message = forward(&of(&outside, -1), ALL).err().unwrap().to_string();
    assert!(message.contains("target 4 is out of range"), "{message}");
}
