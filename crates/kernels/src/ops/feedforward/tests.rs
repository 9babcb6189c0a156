use super::inner::Inner;
use super::{backward, hidden, Backward, Hidden, UpAndHidden};
use crate::ops::activation::Activation;
use crate::testing::{assert_matches_reference, normal};

#[test]
fn equals_the_reference() {
    assert_matches_reference::<Hidden>(1e-5);
    assert_matches_reference::<UpAndHidden>(1e-5);
    assert_matches_reference::<Backward>(1e-5);
}

#[test]
fn misfitting_shapes_are_refused() {
    let inner = Inner::Glu(Activation::Gelu);
    let message = backward(&normal(&[20, 3], 1), &normal(&[3, 4], 2), &normal(&[20, 4], 3), inner)
        .unwrap_err();
    assert!(message.to_string().contains("[20, 4]"), "{message}");
    assert!(hidden(&normal(&[2, 3], 1), &normal(&[5, 3], 2), None, inner).is_err());
}
