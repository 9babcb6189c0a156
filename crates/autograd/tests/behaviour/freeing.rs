//! What a graph holds, and when it lets go of it. `Held` stands for an array that an operation
//! keeps for backward.

use crate::common::{array, backward, leaf};
use std::sync::{Arc, Weak};
use xt_autograd::{ops, Error, Tensor};

struct Held;

/// `x` plus 0, by an operation that keeps something for backward.
fn keeping(x: &Tensor) -> (Tensor, Weak<Held>) {
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
        let (y, weak) = keeping(&tensors[tensors.len() - 1]);
        tensors.push(y);
        kept.push(weak);
    }
    (tensors, kept)
}

#[test]
fn backward_frees_what_operations_keep_even_where_tensors_are_still_held() {
    let (x, _) = leaf(array(&[1.0], &[]));
    let (tensors, kept) = chain(&x, 10);
    assert_eq!(alive(&kept), 10);
    backward(&tensors[10]).unwrap();
    assert_eq!(alive(&kept), 0);
    assert!(tensors.iter().all(|t| t.array().is_ok()), "values stay readable");
}

#[test]
fn backward_frees_while_it_walks() {
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
fn a_retained_graph_keeps_everything_until_it_is_dropped() {
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
fn what_another_tensor_still_needs_is_not_freed_with_its_user() {
    let (x, _) = leaf(array(&[1.0], &[]));
    let (base, weak) = keeping(&x);
    drop(ops::exp(&base).unwrap());
    assert!(weak.upgrade().is_some());
    backward(&base).unwrap();
    assert!(weak.upgrade().is_none());
}

#[test]
fn a_failed_backward_leaves_nothing_behind_once_the_loss_is_dropped() {
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
fn without_recording_nothing_is_kept() {
    let (x, _) = leaf(array(&[1.0], &[]));
    let (_y, weak) = xt_autograd::no_grad(|| keeping(&x));
    assert!(weak.upgrade().is_none());
}
