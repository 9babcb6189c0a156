//! The autograd graph: the effects of backward, and its errors.

use crate::common::{array, backward, grad, leaf, normal, total};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use xt_autograd::{checkpoint, is_grad_enabled, no_grad, ops, with_grad, Error, Leaf, Tensor};

const DEPTH: usize = 200_000;

fn chain(x: &Tensor, length: usize) -> Tensor {
    (0..length).fold(x.clone(), |y, _| ops::affine(&y, 1.0, 1.0).unwrap())
}

/// Runs `f` on a thread whose stack is too small for recursion over the graph.
fn on_a_small_stack(f: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(256 * 1024).spawn(f).unwrap().join().unwrap();
}

#[test]
fn backward_through_200_000_nodes_needs_little_stack() {
    on_a_small_stack(|| {
        let (x, of_x) = leaf(array(&[1.0], &[]));
        backward(&chain(&x, DEPTH)).unwrap();
        assert_eq!(grad(&of_x), [1.0]);
    });
}

#[test]
fn dropping_200_000_nodes_needs_little_stack() {
    on_a_small_stack(|| drop(chain(&leaf(array(&[1.0], &[])).0, DEPTH)));
}

#[test]
fn failed_and_retained_backwards_through_200_000_nodes_need_little_stack() {
    on_a_small_stack(|| {
        let (x, of_x) = leaf(array(&[1.0], &[]));
        let y = chain(&x, DEPTH);
        y.backward(true, &|| false).unwrap();
        let steps = AtomicUsize::new(0);
        let late = || steps.fetch_add(1, Ordering::Relaxed) > DEPTH / 2;
        assert!(matches!(y.backward(false, &late), Err(Error::Aborted)));
        drop(y);
        assert_eq!(grad(&of_x), [1.0]);
    });
}

#[test]
fn a_shared_ladder_graph_can_be_dropped_from_several_threads_at_once() {
    let (x, _) = leaf(array(&[1.0], &[]));
    // each node is used twice by the next one
    let ladder = |x: &Tensor| (0..DEPTH / 4).fold(x.clone(), |y, _| ops::add(&y, &y).unwrap());
    let shared = ladder(&x);
    let ends: Vec<Tensor> = (0..4).map(|_| chain(&shared, 1000)).collect();
    drop(shared);
    let threads: Vec<_> =
        ends.into_iter().map(|end| std::thread::spawn(move || drop(end))).collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
}

#[test]
fn a_second_backward_is_an_error_and_adds_no_gradient() {
    let (x, of_x) = leaf(array(&[3.0], &[1]));
    let y = ops::mul(&x, &x).unwrap();
    backward(&y).unwrap();
    assert!(matches!(backward(&y), Err(Error::GraphFreed)));
    assert_eq!(grad(&of_x), [6.0]);
    assert_eq!(crate::common::values(&y.array().unwrap()), [9.0], "the loss stays readable");
}

#[test]
fn backward_through_a_partly_freed_graph_adds_no_gradient() {
    let ((a, of_a), (b, of_b)) = (leaf(array(&[3.0], &[1])), leaf(array(&[2.0], &[1])));
    let shared = ops::exp(&a).unwrap();
    backward(&total(&shared)).unwrap();
    let before = grad(&of_a);
    let both = total(&ops::add(&shared, &ops::mul(&b, &b).unwrap()).unwrap());
    assert!(matches!(backward(&both), Err(Error::GraphFreed)));
    assert_eq!(grad(&of_a), before);
    assert!(of_b.grad().unwrap().is_none());
}

#[test]
fn repeated_backwards_through_a_retained_graph_accumulate() {
    let (x, of_x) = leaf(array(&[3.0], &[1]));
    let y = ops::mul(&x, &x).unwrap();
    y.backward(true, &|| false).unwrap();
    y.backward(true, &|| false).unwrap();
    assert_eq!(grad(&of_x), [12.0]);
    backward(&y).unwrap();
    assert_eq!(grad(&of_x), [18.0]);
    assert!(matches!(backward(&y), Err(Error::GraphFreed)));
}

#[test]
fn gradients_of_all_paths_of_a_diamond_add_up() {
    let (x, of_x) = leaf(array(&[0.5], &[1]));
    let a = ops::affine(&x, 2.0, 0.0).unwrap();
    let (left, right) = (ops::affine(&a, 3.0, 0.0).unwrap(), ops::affine(&a, 5.0, 0.0).unwrap());
    let y = ops::add(&ops::add(&left, &right).unwrap(), &x).unwrap();
    backward(&y).unwrap();
    assert_eq!(grad(&of_x), [17.0]);
}

#[test]
fn outputs_of_one_node_contribute_only_where_they_are_used() {
    let (x, of_x) = leaf(array(&[2.0, 3.0], &[1, 2]));
    let (weights, leaves): (Vec<_>, Vec<_>) =
        [1.0, 10.0, 100.0].map(|w| leaf(array(&[w, w], &[1, 2]))).into_iter().unzip();
    let all = ops::linear_all(&x, &weights).unwrap();
    // the first output is used twice, the second never
    let y = ops::add(&all[2], &ops::add(&all[0], &all[0]).unwrap()).unwrap();
    let loss = total(&y);
    loss.backward(true, &|| false).unwrap();
    assert_eq!(grad(&of_x), [102.0, 102.0]);
    assert_eq!((grad(&leaves[0]), grad(&leaves[2])), (vec![4.0, 6.0], vec![2.0, 3.0]));
    assert!(leaves[1].grad().unwrap().is_none());
    // a later backward from another output uses the retained graph
    backward(&total(&all[1])).unwrap();
    assert_eq!((grad(&of_x), grad(&leaves[1])), (vec![112.0, 112.0], vec![2.0, 3.0]));
    assert!(matches!(backward(&loss), Err(Error::GraphFreed)));
}

#[test]
fn changing_a_leaf_after_forward_fails_backward_before_any_gradient() {
    for deep in [false, true] {
        let ((a, of_a), (b, of_b)) = (leaf(array(&[3.0], &[1])), leaf(array(&[2.0], &[1])));
        let end = if deep { chain(&a, 10) } else { a };
        let y = ops::add(&ops::mul(&b, &b).unwrap(), &end).unwrap();
        of_a.set(array(&[4.0], &[1])).unwrap();
        match backward(&y) {
            Err(Error::StaleParameter { shape }) => assert_eq!(shape, [1]),
            other => panic!("{other:?}"),
        }
        assert!(of_a.grad().unwrap().is_none() && of_b.grad().unwrap().is_none());
    }
}

#[test]
fn converting_a_leaf_after_forward_makes_it_stale_too() {
    let (x, of_x) = leaf(array(&[3.0], &[1]));
    let y = ops::exp(&x).unwrap();
    of_x.move_to(&xt_autograd::Device::Cpu, xt_autograd::DType::F32).unwrap();
    assert!(matches!(backward(&y), Err(Error::StaleParameter { .. })));
    assert!(of_x.grad().unwrap().is_none());
}

#[test]
fn an_aborted_backward_changes_no_gradient() {
    let (x, of_x) = leaf(array(&[3.0], &[1]));
    backward(&ops::affine(&x, 1.5, 0.0).unwrap()).unwrap();
    for after in [0, 1, 5] {
        let y = chain(&x, 20);
        let polls = AtomicUsize::new(0);
        let aborted = || polls.fetch_add(1, Ordering::Relaxed) >= after;
        assert!(matches!(y.backward(true, &aborted), Err(Error::Aborted)));
        assert_eq!(grad(&of_x), [1.5]);
    }
}

#[test]
fn an_aborted_backward_of_a_retained_graph_can_be_repeated() {
    let (x, of_x) = leaf(array(&[3.0], &[1]));
    let y = chain(&x, 20);
    let polls = AtomicUsize::new(0);
    assert!(y.backward(true, &|| polls.fetch_add(1, Ordering::Relaxed) >= 7).is_err());
    backward(&y).unwrap();
    assert_eq!(grad(&of_x), [1.0]);
}

#[test]
fn no_grad_records_no_graph() {
    let (x, _) = leaf(array(&[3.0], &[1]));
    let y = no_grad(|| {
        assert!(!is_grad_enabled());
        with_grad(true, || assert!(ops::exp(&x).unwrap().requires_grad()));
        ops::exp(&x).unwrap()
    });
    assert!(is_grad_enabled() && !y.requires_grad());
    assert!(matches!(backward(&y), Err(Error::NoGraph)));
    assert!(matches!(backward(&Tensor::constant(array(&[1.0], &[]))), Err(Error::NoGraph)));
    let panicked = std::panic::catch_unwind(|| no_grad(|| panic!("inside")));
    assert!(panicked.is_err() && is_grad_enabled(), "a panic inside leaves recording on");
}

#[test]
fn a_detached_tensor_stops_the_gradient() {
    let (x, of_x) = leaf(array(&[3.0], &[1]));
    let y = ops::mul(&x, &ops::mul(&x, &x).unwrap().detach().unwrap()).unwrap();
    backward(&y).unwrap();
    assert_eq!(grad(&of_x), [9.0]);
}

#[test]
fn backward_needs_a_single_element() {
    let (x, of_x) = leaf(normal(&[2, 3], 1));
    match backward(&ops::exp(&x).unwrap()) {
        Err(Error::NotScalar { shape }) => assert_eq!(shape, [2, 3]),
        other => panic!("{other:?}"),
    }
    let one = ops::reshape(&total(&x), &[1, 1]).unwrap();
    backward(&one).unwrap();
    assert_eq!(grad(&of_x), [1.0; 6]);
}

#[test]
fn moving_a_leaf_to_its_own_device_and_type_changes_nothing() {
    let (x, of_x) = leaf(array(&[3.0], &[1]));
    let y = ops::affine(&x, 2.0, 0.0).unwrap();
    of_x.move_to(&of_x.device(), of_x.dtype()).unwrap();
    backward(&y).unwrap();
    assert_eq!(grad(&of_x), [2.0]);
}

/// `(x a + b) c`, in a checkpoint whose first half is one too.
fn nested(x: &Tensor, [a, b, c]: [&Arc<Leaf>; 3]) -> Tensor {
    let [a, b, c] = [a, b, c].map(|leaf| Tensor::leaf(leaf.clone()));
    let inner = move |xs: &[Tensor]| ops::add(&ops::mul(&xs[0], &a)?, &b);
    let inner = Arc::new(inner);
    let outer = move |xs: &[Tensor]| {
        let inner = inner.clone();
        ops::mul(&checkpoint(&[&xs[0]], move |xs| inner(xs))?, &c)
    };
    checkpoint(&[x], outer).unwrap()
}

#[test]
fn checkpoints_within_checkpoints_give_all_gradients_and_notice_changes() {
    let [(x, of_x), (_, a), (_, b), (_, c)] =
        [2.0, 3.0, 5.0, 7.0].map(|value| leaf(array(&[value], &[])));
    backward(&nested(&x, [&a, &b, &c])).unwrap();
    assert_eq!([&of_x, &a, &b, &c].map(|leaf| grad(leaf)[0]), [21.0, 14.0, 7.0, 11.0]);
    b.set_requires_grad(false);
    let y = nested(&x, [&a, &b, &c]);
    b.set(array(&[1.0], &[])).unwrap();
    assert!(matches!(backward(&y), Err(Error::StaleParameter { .. })));
}
