//! Sums, dropout, tables, optimizers and random numbers: B/s over inputs and outputs.

use crate::setup::{indices, normal, Group, DIM, ROWS, TOKENS};
use criterion::Criterion;
use xt_kernels::ops::elementwise::{unary, Unary};
use xt_kernels::ops::layout::contiguous;
use xt_kernels::ops::optimizer::{sum_of_squares, update_all, Adam, Sgd, Step, Update};
use xt_kernels::ops::{dropout as drop, embedding as table};
use xt_kernels::ops::{elementwise, in_place, reduce};
use xt_kernels::philox::Stream;

const STREAM: Stream = Stream { seed: 1, call: 2, draw: 3 };
const MILLION: usize = 1 << 20;

pub fn add(c: &mut Criterion) {
    let mut group = Group::new(c, "add");
    for size in [ROWS * DIM, 16 * MILLION] {
        let (a, b) = (normal(&[size], 1), normal(&[size], 2));
        group.memory(&format!("{size}"), 3 * size, || elementwise::add(&a, &b));
        group.memory(&format!("{size}, in place"), 3 * size, || in_place::add(&a, &b));
    }
    group.finish();
}

/// A row for all rows, a number for each row, and the sums that are their gradients.
pub fn broadcast(c: &mut Criterion) {
    let mut group = Group::new(c, "broadcast");
    let (x, row, column) = (normal(&[ROWS, DIM], 1), normal(&[DIM], 2), normal(&[ROWS, 1], 3));
    let size = x.elem_count();
    group.memory("add a row", 2 * size, || elementwise::add(&x, &row));
    group.memory("multiply each row", 2 * size, || elementwise::mul(&x, &column));
    group.memory("sum of rows", size, || reduce::sum(&x, &[0]));
    group.memory("sum of each row", size, || reduce::sum(&x, &[1]));
    group.finish();
}

/// Views made contiguous: a matrix turned, and the patches of an image.
pub fn layout(c: &mut Criterion) {
    let mut group = Group::new(c, "layout");
    let turned = normal(&[ROWS, DIM], 1).t().unwrap();
    group.memory("a matrix turned", 2 * turned.elem_count(), || contiguous(&turned));
    let image = normal(&[8, 3, 8, 32, 8, 32], 1).permute(&[0, 2, 4, 3, 5, 1]).unwrap();
    group.memory("patches of 8 images", 2 * image.elem_count(), || contiguous(&image));
    group.finish();
}

/// Its gradient is the same kernel.
pub fn dropout(c: &mut Criterion) {
    let mut group = Group::new(c, "dropout");
    let x = normal(&[ROWS, 4 * DIM], 1);
    group.memory("forward and backward", 2 * x.elem_count(), || drop::dropout(&x, 0.1, STREAM));
    group.finish();
}

pub fn embedding(c: &mut Criterion) {
    let mut group = Group::new(c, "embedding");
    for count in [TOKENS, 32_000] {
        let (weight, ids, g) =
            (normal(&[count, DIM], 1), indices(ROWS, count), normal(&[ROWS, DIM], 2));
        let size = ROWS * DIM;
        group.memory(&format!("forward, {count} rows"), 2 * size, || table::forward(&weight, &ids));
        let both = size + count * DIM;
        group.memory(&format!("backward, {count} rows"), both, || {
            table::backward(&weight, &ids, &g)
        });
    }
    group.finish();
}

pub fn optimizer(c: &mut Criterion) {
    let mut group = Group::new(c, "optimizer");
    let adam = |decoupled| Adam {
        lr: 1e-3,
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        weight_decay: 0.01,
        decoupled,
        step: 7,
    };
    let sgd = Sgd {
        lr: 0.1,
        momentum: 0.9,
        dampening: 0.0,
        weight_decay: 0.0,
        nesterov: false,
        first: false,
    };
    // one large parameter, and many small ones of as many numbers
    for (name, count) in [("", 1), (", 64 parameters", 64)] {
        let array = |seed| unary(&normal(&[MILLION / count], seed), Unary::Square).unwrap();
        let updates = |step: &dyn Fn() -> Step| -> Vec<Update> {
            (0..count)
                .map(|_| Update { weight: array(1), grad: array(2), factor: 0.5, step: step() })
                .collect()
        };
        let of_adam =
            |d| updates(&|| Step::Adam { settings: adam(d), mean: array(3), square: array(4) });
        let (plain, decoupled) = (of_adam(false), of_adam(true));
        let momentum = updates(&|| Step::Sgd { settings: sgd, buffer: Some(array(3)) });
        let without = updates(&|| Step::Sgd { settings: sgd, buffer: None });
        group.memory(&format!("adam{name}"), 7 * MILLION, || update_all(&plain));
        group.memory(&format!("adamw{name}"), 7 * MILLION, || update_all(&decoupled));
        group.memory(&format!("sgd with momentum{name}"), 5 * MILLION, || update_all(&momentum));
        group.memory(&format!("sgd{name}"), 3 * MILLION, || update_all(&without));
        let grads: Vec<_> = plain.into_iter().map(|of| of.grad).collect();
        group.memory(&format!("sum of squares{name}"), MILLION, || sum_of_squares(&grads));
    }
    group.finish();
}

/// Initial values and noise. Made in f64: eight bytes each.
pub fn random(c: &mut Criterion) {
    let mut group = Group::new(c, "random");
    group.memory("uniform", 2 * MILLION, || Ok(STREAM.uniform(MILLION)));
    group.memory("normal", 2 * MILLION, || Ok(STREAM.normal(MILLION)));
    group.finish();
}
