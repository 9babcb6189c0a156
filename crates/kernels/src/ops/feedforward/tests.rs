use super::inner::Inner;
use super::{backward, hidden, Backward, Hidden, UpAndHidden};
use crate::ops::activation::Activation;
use crate::testing::{assert_matches_reference, normal, on_device};

#[test]
fn equals_the_reference() {
    assert_matches_reference::<Hidden>(1e-5);
    assert_matches_reference::<UpAndHidden>(1e-5);
    assert_matches_reference::<Backward>(1e-5);
}

#[test]
fn misfitting_shapes_are_refused() {
    let inner = Inner::Glu(Activation::Gelu);
    let of = |dims: &[usize], seed| on_device(&normal(dims, seed));
    let message = backward(&of(&[20, 3], 1), &of(&[3, 4], 2), &of(&[20, 4], 3), inner).unwrap_err();
    assert!(message.to_string().contains("[20, 4]"), "{message}");
    assert!(hidden(&of(&[2, 3], 1), &of(&[5, 3], 2), None, inner).is_err());
}
