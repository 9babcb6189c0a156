use super::in_place::{update_all, InPlace};
use super::norm::{sum_of_squares, SumOfSquares};
use super::out_of_place::{update_out_of_place, OutOfPlace};
use super::step::{Adam, Lion, Sgd, Step, Update};
use crate::host::parallel::PIECE;
use crate::kernel::Arrays;
use crate::testing::{
    assert_close, assert_matches_reference, f64s, normal, normal64, on_device, reference, values,
};
use crate::{Array, DType};

fn adam(decoupled: bool) -> Adam {
    Adam { lr: 0.1, beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.1, decoupled, step: 3 }
}

fn sgd() -> Sgd {
    Sgd { lr: 0.5, momentum: 0.9, dampening: 0.0, weight_decay: 0.0, nesterov: false, first: false }
}

/// A step of each kind, each with its own arrays.
pub(super) fn steps(dims: &[usize]) -> Vec<Step> {
    let array = |seed| crate::testing::map(&normal64(dims, seed), |x| x * x);
    let of_sgd = [
        sgd(),
        Sgd { first: true, nesterov: true, ..sgd() },
        Sgd { nesterov: true, dampening: 0.4, weight_decay: 0.1, ..sgd() },
        Sgd { dampening: 0.4, weight_decay: 0.1, first: true, ..sgd() },
    ];
    let with = of_sgd.map(|settings| Step::Sgd { settings, buffer: Some(array(5)) });
    let without = of_sgd.map(|settings| Step::Sgd { settings, buffer: None });
    let adams =
        [true, false].map(|d| Step::Adam { settings: adam(d), mean: array(6), square: array(7) });
    let lion = Lion { lr: 0.1, beta1: 0.9, beta2: 0.99, weight_decay: 0.1 };
    let lion = Step::Lion { settings: lion, mean: normal64(dims, 8) };
    with.into_iter().chain(without).chain(adams).chain([lion]).collect()
}

#[test]
fn equals_the_reference() {
    assert_matches_reference::<OutOfPlace>(1e-5);
    assert_matches_reference::<InPlace>(1e-5);
    assert_matches_reference::<SumOfSquares>(1e-5);
}

#[test]
fn all_in_one_pass_equal_the_reference_of_each() {
    let mut updates = Vec::new();
    for (seed, dims) in [[3, 7], [1, 1], [5, PIECE], [0, 4]].into_iter().enumerate() {
        let single = |mut step: Step| {
            step.each_mut(&mut |array| *array = on_device(&array.to_dtype(DType::F32).unwrap()));
            step
        };
        for (step, factor) in
            steps(&dims).into_iter().map(single).zip([1.0, 0.3].into_iter().cycle())
        {
            let weight = on_device(&normal(&dims, seed as u64));
            let grad = on_device(&normal(&[dims[1], dims[0]], 20 + seed as u64)).t().unwrap();
            updates.push(Update { weight, grad, factor, step });
        }
    }
    let double = |array: &Array| f64s(array).copy().unwrap();
    let doubles = updates.iter().cloned().map(|of| Update {
        weight: double(&of.weight),
        grad: double(&of.grad),
        step: match of.step {
            Step::Adam { settings, mean, square } => {
                Step::Adam { settings, mean: double(&mean), square: double(&square) }
            }
            Step::Sgd { settings, buffer } => {
                Step::Sgd { settings, buffer: buffer.as_ref().map(double) }
            }
            Step::Lion { settings, mean } => Step::Lion { settings, mean: double(&mean) },
        },
        ..of
    });
    for updates in [doubles.collect(), updates] {
        assert!(updates.iter().all(Update::is_in_place));
        let want: Vec<_> =
            updates.iter().map(|of| reference(&OutOfPlace { update: of.clone() })).collect();
        for ((got, of), (weight, step)) in
            update_all(&updates).unwrap().iter().zip(&updates).zip(&want)
        {
            assert_close(got, weight, 1e-5);
            let state = of.step.state().into_iter().zip(step.state());
            state.for_each(|(got, want)| assert_close(got, want, 1e-6));
        }
    }
    assert!(update_all(&[]).unwrap().is_empty());
}

#[test]
fn what_does_not_fit_is_an_error_and_changes_nothing() {
    let array = |seed| on_device(&normal(&[4], seed));
    let short = on_device(&normal(&[2], 4));
    let of = |grad, buffer| {
        let step = Step::Sgd { settings: sgd(), buffer: Some(buffer) };
        Update { weight: array(1), grad, factor: 1.0, step }
    };
    let state = array(3);
    for wrong in [of(array(2), short.clone()), of(short.clone(), array(2))] {
        assert!(!wrong.is_in_place());
        let message = update_all(&[of(array(2), state.clone()), wrong]).unwrap_err().to_string();
        assert!(message.contains("[2]"), "{message}");
    }
    assert_close(&state, &normal(&[4], 3), 0.0);
    let half = short.to_dtype(DType::F16).unwrap();
    let step = Step::Sgd { settings: sgd(), buffer: None };
    let of = Update { weight: half.clone(), grad: half, factor: 1.0, step };
    assert!(
        !of.is_in_place()
            && update_all(std::slice::from_ref(&of)).is_err()
            && update_out_of_place(&of).is_ok()
    );
}

#[test]
fn sgd_with_momentum_by_hand() {
    let [mut weight, grad, buffer] = [1, 2, 3].map(|seed| on_device(&normal(&[4], seed)));
    let before = weight.clone();
    for settings in [Sgd { first: true, ..sgd() }, sgd()] {
        let step = Step::Sgd { settings, buffer: Some(buffer.clone()) };
        let of = Update { weight: weight.clone(), grad: grad.clone(), factor: 1.0, step };
        weight = update_all(&[of]).unwrap().swap_remove(0);
    }
    for (i, x) in values(&weight).iter().enumerate() {
        let want = values(&before)[i] - 0.5 * values(&grad)[i] * (1.0 + 1.9);
        assert!((x - want).abs() < 1e-5);
    }
}

#[test]
fn lion_by_hand() {
    let array = |values: &[f32]| {
        on_device(&Array::from_slice(values, values.len(), &crate::Device::Cpu).unwrap())
    };
    let settings = Lion { lr: 0.5, beta1: 0.5, beta2: 0.75, weight_decay: 0.1 };
    let mean = array(&[1.0, -1.0, 2.0, 0.0]).copy().unwrap();
    let step = Step::Lion { settings, mean: mean.clone() };
    let (weight, grad) = (array(&[1.0, 2.0, 3.0, 4.0]), array(&[2.0, -6.0, -2.0, 0.0]));
    let of = Update { weight, grad, factor: 1.0, step };
    let new = update_all(&[of]).unwrap().swap_remove(0);
    // shrunk by 0.95, and moved by 0.5 against the sign of (1.5, -3.5, 0, 0)
    assert_close(&new, &array(&[0.45, 2.4, 2.85, 3.8]), 1e-6);
    assert_close(&mean, &array(&[1.25, -2.25, 1.0, 0.0]), 1e-6);
}

#[test]
fn norm() {
    let x =
        [normal(&[5000], 1), f64s(&normal(&[3, 5], 2)), normal(&[7, PIECE], 3), normal(&[0], 4)];
    let half = normal(&[30], 5).to_dtype(DType::BF16).unwrap();
    let all: Vec<_> = x.iter().chain([&half, &half]).map(on_device).collect();
    let want: f64 = all.iter().flat_map(|x| values(&f64s(x))).map(|v| v * v).sum();
    assert!((sum_of_squares(&all).unwrap() / want - 1.0).abs() < 1e-5);
    assert_eq!(sum_of_squares(&[]).unwrap(), 0.0);
}
