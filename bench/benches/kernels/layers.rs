//! Norms, softmax, activations, rotary positions and the loss: B/s over inputs and outputs.

use crate::setup::{indices, normal, Group, BATCH, DIM, DIM_HEAD, HEADS, LENGTH, ROWS, TOKENS};
use criterion::Criterion;
use xt_kernels::ops::activation::{self as act, Activation};
use xt_kernels::ops::cumsum::cumsum;
use xt_kernels::ops::extremes::{self, Extreme};
use xt_kernels::ops::rotary::{rotate, Direction, Pairs};
use xt_kernels::ops::scale_norm::{self as scaled, Scale};
use xt_kernels::ops::softmax::{self as soft, Mask};
use xt_kernels::ops::sort::argsort;
use xt_kernels::ops::token_shift::{self as shift, Shifts};
use xt_kernels::ops::{
    cross_entropy as loss, glu as gated, gru as gates, layer_norm as norm, sparse_topk as topk,
};
use xt_kernels::{Array, DType, Device};

pub fn layer_norm(c: &mut Criterion) {
    let mut group = Group::new(c, "layer_norm");
    for (rows, width) in [(ROWS, DIM), (4096, 512)] {
        let (x, w, b) = (normal(&[rows, width], 1), normal(&[width], 2), normal(&[width], 3));
        let (g, size) = (normal(&[rows, width], 4), rows * width);
        group.memory(&format!("forward, {rows}x{width}"), 2 * size, || {
            norm::forward(&x, &w, &b, 1e-5)
        });
        group.memory(&format!("backward with what goes past, {rows}x{width}"), 4 * size, || {
            norm::backward(&x, &w, &g, Some(&g), 1e-5)
        });
        group.memory(&format!("backward, {rows}x{width}"), 3 * size, || {
            norm::backward(&x, &w, &g, None, 1e-5)
        });
    }
    group.finish();
}

pub fn scale_norm(c: &mut Criterion) {
    let mut group = Group::new(c, "scale_norm");
    let (x, gain, g) = (normal(&[4096, 512], 1), normal(&[512], 2), normal(&[4096, 512], 3));
    let (scale, size) =
        (Scale { scale: 512f64.powf(-0.5), eps: 1e-5, added: false }, x.elem_count());
    group.memory("forward", 2 * size, || scaled::forward(&x, Some(&gain), scale));
    group.memory("backward", 3 * size, || scaled::backward(&x, Some(&gain), &g, None, scale));
    group.finish();
}

pub fn glu(c: &mut Criterion) {
    let mut group = Group::new(c, "glu");
    let (x, g) = (normal(&[ROWS, 8 * DIM], 1), normal(&[ROWS, 4 * DIM], 2));
    let half = g.elem_count();
    group.memory("forward", 3 * half, || gated::forward(&x, Activation::Gelu));
    group.memory("backward", 5 * half, || gated::backward(&x, &g, Activation::Gelu));
    group.finish();
}

/// Its gradient is the same kernel, the other way round.
pub fn token_shift(c: &mut Criterion) {
    let mut group = Group::new(c, "token_shift");
    let x = normal(&[BATCH, LENGTH, DIM], 1);
    let shifts = Shifts { by: &[0, 1], ..Shifts::default() };
    group.memory("forward", 2 * x.elem_count(), || shift::forward(&x, shifts));
    group.finish();
}

/// Has no gradient.
pub fn sparse_topk(c: &mut Criterion) {
    let mut group = Group::new(c, "sparse_topk");
    let x = normal(&[BATCH, HEADS, LENGTH, LENGTH], 1);
    let mask = Mask { causal: true, ..Mask::default() };
    group.memory("8 of 128", 5 * x.elem_count() / 4, || topk::largest(&x, &mask, 8));
    group.finish();
}

pub fn softmax(c: &mut Criterion) {
    let mut group = Group::new(c, "softmax");
    for (batch, heads, length) in [(BATCH, HEADS, LENGTH), (1, 8, 1024)] {
        let dims = [batch, heads, length, length];
        let (x, g, size) = (normal(&dims, 1), normal(&dims, 2), dims.iter().product::<usize>());
        let keys = Array::ones((batch, 1, 1, length), DType::U8, &Device::Cpu).unwrap();
        let masks = [
            ("plain", Mask::default()),
            ("causal", Mask { causal: true, ..Mask::default() }),
            ("causal, keys", Mask { allowed: Some(keys), causal: true, ..Mask::default() }),
        ];
        for (name, mask) in masks {
            let y = soft::forward(&x, &mask).unwrap();
            let name = |what: &str| format!("{what}, {name}, {batch}x{heads}x{length}x{length}");
            group.memory(&name("forward"), 2 * size, || soft::forward(&x, &mask));
            group.memory(&name("backward"), 3 * size, || soft::backward(&y, &g, &mask));
        }
    }
    group.finish();
}

pub fn activation(c: &mut Criterion) {
    let mut group = Group::new(c, "activation");
    let dims = [ROWS, 4 * DIM];
    let (x, g, size) = (normal(&dims, 1), normal(&dims, 2), ROWS * 4 * DIM);
    for kind in [Activation::Gelu, Activation::Silu, Activation::Relu, Activation::Sigmoid] {
        let name = |what: &str| format!("{what}, {kind:?}, {}x{}", dims[0], dims[1]).to_lowercase();
        group.memory(&name("forward"), 2 * size, || act::forward(&x, kind));
        group.memory(&name("backward"), 3 * size, || act::backward(&x, &g, kind));
    }
    group.finish();
}

/// Has no gradient of its own.
pub fn extremes(c: &mut Criterion) {
    let mut group = Group::new(c, "extremes");
    let x = normal(&[ROWS, 4 * DIM], 1);
    for axis in [0, 1] {
        let name = |what: &str| format!("{what}, axis {axis} of {ROWS}x{}", 4 * DIM);
        group.memory(&name("max"), x.elem_count(), || extremes::extreme(&x, &[axis], Extreme::Max));
        group
            .memory(&name("argmax"), x.elem_count(), || extremes::position(&x, axis, Extreme::Max));
    }
    group.finish();
}

/// The order of rows, all of it and its beginning; and running sums.
pub fn order(c: &mut Criterion) {
    let mut group = Group::new(c, "order");
    let x = normal(&[ROWS, DIM], 1);
    let size = x.elem_count();
    group.memory("argsort", 3 * size, || argsort(&x, DIM, false));
    group.memory("the first 8", size, || argsort(&x, 8, true));
    for axis in [0, 1] {
        group.memory(&format!("cumsum, axis {axis}"), 2 * size, || cumsum(&x, axis, false));
    }
    group.finish();
}

pub fn cross_entropy(c: &mut Criterion) {
    let (mut group, how) = (Group::new(c, "cross_entropy"), loss::CrossEntropy::ignoring(-100));
    for (rows, classes) in [(ROWS, TOKENS), (512, 32_000)] {
        let (x, targets) = (normal(&[rows, classes], 1), indices(rows, classes));
        let name = |what: &str| format!("{what}, {rows}x{classes}");
        group.memory(&name("forward"), rows * classes, || loss::forward(&x, &targets, how));
        let one = Array::ones((), DType::F32, &Device::Cpu).unwrap();
        group.memory(&name("backward"), 2 * rows * classes, || {
            loss::backward(&x, &targets, how, &one)
        });
    }
    group.finish();
}

/// The gates of a recurrent unit.
pub fn gru(c: &mut Criterion) {
    let mut group = Group::new(c, "gru");
    let gates = |seed| normal(&[ROWS, 3 * DIM], seed);
    let of = gates::GruArgs { input: gates(1), hidden: gates(2), state: normal(&[ROWS, DIM], 3) };
    let g = normal(&[ROWS, DIM], 4);
    group.memory("forward", 8 * ROWS * DIM, || gates::forward(&of));
    group.memory("backward", 15 * ROWS * DIM, || gates::backward(&of, &g));
    group.finish();
}

pub fn rotary(c: &mut Criterion) {
    let mut group = Group::new(c, "rotary");
    let half = DIM_HEAD / 2;
    let x = normal(&[BATCH, LENGTH, HEADS, DIM_HEAD], 1);
    let (cos, sin) = (normal(&[LENGTH, half], 2), normal(&[LENGTH, half], 3));
    for (name, direction) in [("forward", Direction::Forward), ("backward", Direction::Transposed)]
    {
        group.memory(name, 2 * x.elem_count(), || {
            rotate(&x, (&cos, &sin), Pairs::Halves, direction)
        });
    }
    group.finish();
}
