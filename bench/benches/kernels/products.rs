//! Matrix products: elem/s are FLOP/s.

use crate::setup::{indices, normal, Group, BATCH, DIM, DIM_HEAD, HEADS, LENGTH, ROWS, TOKENS};
use criterion::Criterion;
use xt_kernels::ops::activation::{self, Activation};
use xt_kernels::ops::cross_entropy::CrossEntropy;
use xt_kernels::ops::dropout::Dropout;
use xt_kernels::ops::feedforward::{self as network, Inner};
use xt_kernels::ops::quantized::{self, Format, Packed};
use xt_kernels::ops::softmax::Mask;
use xt_kernels::ops::{
    attention as fused, glu, linear as kernel, linear_cross_entropy as loss, matmul as batched,
};
use xt_kernels::philox::Stream;
use xt_kernels::{Array, Result};

pub fn matmul(c: &mut Criterion) {
    let mut group = Group::new(c, "matmul");
    for n in [64, 128, 256, 512, 1024] {
        let (a, b) = (normal(&[n, n], 1), normal(&[n, n], 2));
        group.product(&format!("{n}x{n}"), 2 * n * n * n, || batched::matmul(&a, &b, 1.0));
    }
    // the gradients of a product read one of its factors turned
    let (a, b) = (normal(&[512, 512], 1), normal(&[512, 512], 2));
    let (at, bt) = (a.t().unwrap(), b.t().unwrap());
    group.product("512x512, left turned", 2 * 512 * 512 * 512, || batched::matmul(&at, &b, 1.0));
    group.product("512x512, right turned", 2 * 512 * 512 * 512, || batched::matmul(&a, &bt, 1.0));
    group.finish();
}

/// Scores and values of attention, over heads that are views, as in the models; and their
/// gradients.
pub fn attention(c: &mut Criterion) {
    let mut group = Group::new(c, "attention");
    for (batch, length, heads, dim) in [(BATCH, LENGTH, HEADS, DIM_HEAD), (4, 1024, 8, 64)] {
        let head = |seed| normal(&[batch, length, heads, dim], seed).transpose(1, 2).unwrap();
        let (q, k, v, g) = (head(1), head(2), head(3), head(4));
        let kt = k.transpose(2, 3).unwrap();
        let weights = normal(&[batch, heads, length, length], 5);
        let (wt, vt) = (weights.transpose(2, 3).unwrap(), v.transpose(2, 3).unwrap());
        let flops = 2 * batch * heads * length * length * dim;
        let name = |what: &str| format!("{what}, {batch}x{heads}x{length}x{dim}");
        group.product(&name("q kT"), flops, || batched::matmul(&q, &kt, 0.1));
        group.product(&name("weights v"), flops, || batched::matmul(&weights, &v, 1.0));
        group.product(&name("gradient of weights"), flops, || batched::matmul(&g, &vt, 1.0));
        group.product(&name("gradient of v"), flops, || batched::matmul(&wt, &g, 1.0));
        let bias = normal(&[heads, 2 * length - 1], 6);
        let dropout = Dropout { p: 0.1, stream: Stream { seed: 1, call: 0, draw: 0 } };
        let variants = [
            ("in one", None, None, None),
            ("in one with a bias", Some(bias), None, None),
            ("in one with dropout", None, Some(dropout), None),
            ("in one with a softcap", None, None, Some(30.0)),
        ];
        for (what, bias, dropout, softcap) in variants {
            let mask = Mask { causal: true, ..Mask::default() };
            let plain = fused::AttentionArgs::new(q.clone(), k.clone(), v.clone());
            let of = fused::AttentionArgs { bias, scale: 0.1, softcap, mask, dropout, ..plain };
            let (_, saved) = fused::forward(&of).unwrap();
            // causality hides half of the pairs
            group.product(&name(what), flops, || fused::forward(&of));
            group.product(&name(&format!("{what}, gradients")), 5 * flops / 2, || {
                fused::backward(&of, &saved, &g)
            });
        }
    }
    group.finish();
}

pub fn linear(c: &mut Criterion) {
    let mut group = Group::new(c, "linear");
    for (rows, inputs, outputs) in
        [(ROWS, DIM, 4 * DIM), (ROWS, 4 * DIM, DIM), (1024, 512, 2048), (1, 512, 512)]
    {
        let (x, w, b) =
            (normal(&[rows, inputs], 1), normal(&[outputs, inputs], 2), normal(&[outputs], 3));
        let g = normal(&[rows, outputs], 4);
        let flops = 2 * rows * inputs * outputs;
        let name = |what: &str| format!("{what}, {rows}x{inputs} to {outputs}");
        group.product(&name("forward"), flops, || kernel::forward(&x, &w, Some(&b)));
        group.product(&name("gradient of the input"), flops, || kernel::grad_input(&g, &w));
        group.product(&name("gradient of the weight"), flops, || kernel::grad_weight(&g, &x));
    }
    // queries, keys and values
    let x = normal(&[1024, 512], 1);
    let pairs = [1, 2, 3].map(|seed| (normal(&[1024, 512], seed), normal(&[512, 512], seed + 3)));
    let (grads, weights) = (pairs.clone().map(|(g, _)| g), pairs.clone().map(|(_, w)| w));
    let flops = 3 * 2 * 1024 * 512 * 512;
    group.product("three at once, forward, 1024x512 to 512", flops, || {
        kernel::forward_all(&x, &weights)
    });
    group.product("three at once, gradient of the input", flops, || kernel::grad_input_all(&pairs));
    group.product("three at once, gradients of the weights", flops, || {
        kernel::grad_weight_all(&grads, &x)
    });
    let g = normal(&[ROWS, 4 * DIM], 4);
    group.memory("gradient of the bias", ROWS * 4 * DIM, || kernel::grad_bias(&g));
    group.finish();
}

/// A feed-forward network's products with what is done to their rows, beside the same one after the
/// other.
pub fn feedforward(c: &mut Criterion) {
    let mut group = Group::new(c, "feedforward");
    for (rows, dim) in [(ROWS, DIM), (1024, 512)] {
        for (kind, inner) in [
            ("gelu", Inner::Activation(Activation::Gelu)),
            ("gated by silu", Inner::Glu(Activation::Silu)),
        ] {
            let width = 4 * dim;
            let wide = if let Inner::Glu(_) = inner { 2 * width } else { width };
            let (x, w, b) = (normal(&[rows, dim], 1), normal(&[wide, dim], 2), normal(&[wide], 3));
            let (g, down, up) =
                (normal(&[rows, dim], 4), normal(&[dim, width], 5), normal(&[rows, wide], 6));
            let name = |what: &str| format!("{what}, {kind}, {rows}x{dim} to {width}");
            let (forward, backward) = (2 * rows * dim * wide, 2 * rows * dim * width);
            let bias = Some(&b);
            group
                .product(&name("forward"), forward, || network::up_and_hidden(&x, &w, bias, inner));
            group.product(&name("forward, no graph"), forward, || {
                network::hidden(&x, &w, bias, inner)
            });
            group.product(&name("forward, one by one"), forward, || {
                one_by_one(inner, &kernel::forward(&x, &w, bias)?)
            });
            group.product(&name("backward"), backward, || network::backward(&g, &down, &up, inner));
            group.product(&name("backward, one by one"), backward, || {
                backward_one_by_one(inner, &g, &down, &up)
            });
        }
    }
    group.finish();
}

/// What stands between both layers, as a pass of its own.
fn one_by_one(inner: Inner, up: &Array) -> Result<Array> {
    match inner {
        Inner::Activation(kind) => activation::forward(up, kind),
        Inner::Glu(kind) => glu::forward(up, kind),
    }
}

/// Its gradient, and the hidden values again.
fn backward_one_by_one(
    inner: Inner,
    grad: &Array,
    down: &Array,
    up: &Array,
) -> Result<(Array, Array)> {
    let through = kernel::grad_input(grad, down)?;
    let dup = match inner {
        Inner::Activation(kind) => activation::backward(up, &through, kind)?,
        Inner::Glu(kind) => glu::backward(up, &through, kind)?,
    };
    Ok((dup, one_by_one(inner, up)?))
}

/// Loss and gradients of a layer that gives logits.
pub fn linear_cross_entropy(c: &mut Criterion) {
    let mut group = Group::new(c, "linear_cross_entropy");
    for (rows, classes, dim) in [(ROWS, TOKENS, DIM), (1024, 20_000, 512)] {
        let (x, weight, targets) =
            (normal(&[rows, dim], 1), normal(&[classes, dim], 2), indices(rows, classes));
        let of = loss::LossArgs {
            x: &x,
            weight: &weight,
            bias: None,
            targets: &targets,
            of: CrossEntropy::ignoring(-100),
            softclamp: None,
        };
        let name = |what: &str| format!("{what}, {rows}x{dim} to {classes}");
        let flops = 2 * rows * classes * dim;
        group.product(&name("forward"), flops, || loss::forward(&of, loss::NeedsGrad::default()));
        let both = loss::NeedsGrad { x: true, weight: true, bias: false };
        group.product(&name("forward and backward"), 3 * flops, || loss::forward(&of, both));
    }
    group.finish();
}

/// Weights in fewer bytes, for one row and for many, beside f32.
pub fn quantized(c: &mut Criterion) {
    let mut group = Group::new(c, "quantized");
    for (rows, inputs, outputs) in [(1, 512, 20_000), (16, 512, 2048), (1024, 512, 2048)] {
        let (x, w) = (normal(&[rows, inputs], 1), normal(&[outputs, inputs], 2));
        let flops = 2 * rows * inputs * outputs;
        let name = |what: &str| format!("{what}, {rows}x{inputs} to {outputs}");
        group.product(&name("f32"), flops, || kernel::forward(&x, &w, None));
        for format in Format::ALL {
            let packed = Packed::new(&w, format).unwrap();
            group.product(&name(format.name()), flops, || quantized::forward(&x, &packed, None));
        }
    }
    group.finish();
}
