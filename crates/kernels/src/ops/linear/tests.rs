use super::{
    forward, grad_bias, grad_input, grad_input_all, grad_weight, grad_weight_all, Forward,
    ForwardAll, GradInput, GradWeight,
};
use crate::ops::reduce;
use crate::testing::{assert_close, assert_matches_reference, normal, on_device};
use crate::Array;

fn of(dims: &[usize], seed: u64) -> Array {
    on_device(&normal(dims, seed))
}

#[test]
fn equals_the_reference() {
    assert_matches_reference::<Forward>(1e-5);
    assert_matches_reference::<ForwardAll>(1e-5);
    assert_matches_reference::<GradInput>(1e-5);
    assert_matches_reference::<GradWeight>(1e-5);
}

#[test]
fn gradients_of_one_layer_are_those_of_several() {
    let (x, w, g) = (of(&[2, 3, 5], 1), of(&[7, 5], 2), of(&[2, 3, 7], 3));
    let all = grad_weight_all(std::slice::from_ref(&g), &x).unwrap();
    assert_close(&grad_weight(&g, &x).unwrap(), &all[0], 1e-5);
    assert_close(&grad_input(&g, &w).unwrap(), &grad_input_all(&[(g.clone(), w)]).unwrap(), 1e-5);
    assert_close(
        &grad_bias(&g).unwrap(),
        &reduce::sum(&g, &[0, 1]).unwrap().reshape(7).unwrap(),
        1e-5,
    );
}

#[test]
fn misfitting_shapes_are_errors() {
    let (x, w) = (of(&[2, 3], 1), of(&[4, 5], 2));
    let message = forward(&x, &w, None).unwrap_err().to_string();
    assert!(message.contains("[4, 5]") && message.contains("[2, 3]"), "{message}");
    assert!(forward(&of(&[2, 5], 1), &w, Some(&x)).is_err());
    assert!(grad_input_all(&[(x.clone(), w)]).is_err() && grad_input_all(&[]).is_err());
    assert!(grad_weight_all(&[of(&[3, 3], 1)], &x).is_err());
}
