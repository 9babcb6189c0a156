//! When a graph frees the arrays that its operations saved. `Held` represents such an array.

use crate::common::{array, backward, leaf};
use std::sync::{Arc, Weak};
use xt_autograd::{ops, Error, Tensor};

struct Held;

/// `x` plus 0, by an operation that saves an array for backward.
fn add_zero_and_save(x: &Tensor) -> (Tensor, Weak<Held>) {
    let held = Arc::new(Held);
    let weak = Arc::downgrade(&held);
    let y = Tensor::record(x.array().unwrap(), &[x], move |g| {
        let _kept = &held;
        Ok(vec![Some(g.clone())])
    });
    (y, weak)
}

fn alive(kept: &[Weak<Held>]) -> usize {
    kept.iter().filter(|weak| weak.upgrade().is_some()).count()
}

fn chain(x: &Tensor, length: usize) -> (Vec<Tensor>, Vec<Weak<Held>>) {
    let mut tensors = vec![x.clone()];
    let mut kept = Vec::new();
    for _ in 0..length {
        let (y, weak) = add_zero_and_save(&tensors[tensors.len() - 1]);
        tensors.push(y);
        kept.push(weak);
    }
    (tensors, kept)
}

#[test]
fn backward_frees_saved_arrays_even_while_tensors_are_alive() {
    let (x, _) = leaf(array(&[1.0], &[]));
    let (tensors, kept) = chain(&x, 10);
    assert_eq!(alive(&kept), 10);
    backward(&tensors[10]).unwrap();
    assert_eq!(alive(&kept), 0);
    assert!(tensors.iter().all(|t| t.array().is_ok()), "values stay readable");
}

#[test]
fn backward_frees_saved_arrays_as_it_goes() {
    let (x, _) = leaf(array(&[1.0], &[]));
    let (tensors, kept) = chain(&x, 10);
    let seen = std::sync::Mutex::new(Vec::new());
    let note = || {
        seen.lock().unwrap().push(alive(&kept));
        false
    };
    tensors[10].backward(false, &note).unwrap();
    assert_eq!(*seen.lock().unwrap(), (1..=10).rev().collect::<Vec<_>>());
}

#[test]
fn a_retained_graph_keeps_saved_arrays_until_it_is_dropped() {
    let (x, _) = leaf(array(&[1.0], &[]));
    let (mut tensors, kept) = chain(&x, 10);
    let loss = tensors.pop().unwrap();
    drop(tensors);
    loss.backward(true, &|| false).unwrap();
    assert_eq!(alive(&kept), 10);
    drop(loss);
    assert_eq!(alive(&kept), 0);
}

#[test]
fn dropping_a_loss_without_backward_frees_its_graph() {
    let (x, _) = leaf(array(&[1.0], &[]));
    let (mut tensors, kept) = chain(&x, 10);
    let loss = tensors.pop().unwrap();
    drop(tensors);
    assert_eq!(alive(&kept), 10);
    drop(loss);
    assert_eq!(alive(&kept), 0);
}

#[test]
fn dropping_a_result_does_not_free_an_input_that_is_still_used() {
    let (x, _) = leaf(array(&[1.0], &[]));
    let (base, weak) = add_zero_and_save(&x);
    drop(ops::exp(&base).unwrap());
    assert!(weak.upgrade().is_some());
    backward(&base).unwrap();
    assert!(weak.upgrade().is_none());
}

#[test]
fn a_failed_backward_leaks_nothing_once_the_loss_is_dropped() {
    let (x, of_x) = leaf(array(&[1.0], &[]));
    let (mut tensors, kept) = chain(&x, 10);
    let loss = tensors.pop().unwrap();
    drop(tensors);
    of_x.set(array(&[2.0], &[])).unwrap();
    assert!(matches!(backward(&loss), Err(Error::StaleParameter { .. })));
    drop(loss);
    assert_eq!(alive(&kept), 0);
}

#[test]
fn no_grad_saves_nothing() {
    let (x, _) = leaf(array(&[1.0], &[]));
    let (_y, weak) = xt_autograd::no_grad(|| add_zero_and_save(&x));
    assert!(weak.upgrade().is_none());
}
