//! Averages of weights.

use crate::common::{array_values, close};
use crate::device::device;
use std::sync::Arc;
use xt_core::training::{average, swap_values};
use xt_core::{Array, DType, Leaf, Rng};

fn leaf(count: usize, seed: u64) -> Arc<Leaf> {
    let values = Rng::new(seed, 0).stream().normal(count);
    Arc::new(Leaf::new(Array::from_vec(values, count, &device()).unwrap()))
}

fn values(leaf: &Leaf) -> Vec<f64> {
    array_values(&leaf.values().unwrap())
}

#[test]
fn averages_move_towards_the_weights() {
    let (leaves, averages) = ([leaf(5, 1), leaf(0, 2)], [leaf(5, 3), leaf(0, 4)]);
    let (mut want, weights) = (values(&averages[0]), values(&leaves[0]));
    for _ in 0..3 {
        average(&averages, &leaves, 0.9).unwrap();
        want.iter_mut().zip(&weights).for_each(|(mean, w)| *mean = 0.9 * *mean + 0.1 * w);
        close(&values(&averages[0]), &want, 1e-12);
    }
    assert_eq!(values(&leaves[0]), weights);
}

#[test]
fn an_average_that_shares_its_values_leaves_the_weights_alone() {
    let own = leaf(4, 1);
    let mean = Arc::new(Leaf::new(own.values().unwrap()));
    let before = values(&own);
    own.set(leaf(4, 2).values().unwrap()).unwrap();
    let after = values(&own);
    let (means, leaves) = ([mean], [own]);
    average(&means, &leaves, 0.5).unwrap();
    let ([mean], [own]) = (means, leaves);
    assert_eq!(values(&own), after);
    let want: Vec<f64> = before.iter().zip(&after).map(|(a, b)| (a + b) / 2.0).collect();
    close(&values(&mean), &want, 1e-12);
}

#[test]
fn values_are_exchanged_and_back() {
    let (a, b) = ([leaf(3, 1), leaf(2, 2)], [leaf(3, 3), leaf(2, 4)]);
    let all = |leaves: &[Arc<Leaf>]| leaves.iter().map(|leaf| values(leaf)).collect::<Vec<_>>();
    let (of_a, of_b) = (all(&a), all(&b));
    swap_values(&a, &b).unwrap();
    assert_eq!((all(&a), all(&b)), (of_b.clone(), of_a.clone()));
    swap_values(&a, &b).unwrap();
    assert_eq!((all(&a), all(&b)), (of_a, of_b));
}

#[test]
fn averages_follow_their_weights_to_another_type() {
    let (own, mean) = (leaf(3, 1), leaf(3, 2));
    own.move_to(&device(), DType::F32).unwrap();
    let means = [mean];
    average(&means, &[own], 0.5).unwrap();
    assert_eq!(means[0].dtype(), DType::F32);
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let (own, longer, gone) = ([leaf(3, 1)], [leaf(4, 2)], [leaf(3, 4)]);
    assert!(average(&own, &longer, 0.5).is_err());
    gone[0].release();
    let before = values(&own[0]);
    for error in [average(&own, &gone, 0.5), swap_values(&own, &gone)] {
        assert_eq!(error.unwrap_err().code(), "disposed");
    }
    assert_eq!(values(&own[0]), before);
}

#[test]
fn averages_that_share_their_values_need_memory_for_themselves_alone() {
    // frozen weights share them, beside a large weight that was trained: as large each, they would
    // need 320 GB
    let own: Vec<_> = (0..10_000).map(|_| leaf(1, 1)).chain([leaf(1 << 22, 2)]).collect();
    let means: Vec<_> =
        own.iter().map(|leaf| Arc::new(Leaf::new(leaf.values().unwrap()))).collect();
    let trained = &own[10_000];
    trained.set(trained.values().unwrap().zeros_like().unwrap()).unwrap();
    average(&means, &own, 0.5).unwrap();
    assert_eq!(values(&means[0]), values(&own[0]));
}
