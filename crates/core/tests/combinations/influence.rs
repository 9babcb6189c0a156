//! What affects what, in f64: causal models do not see the future, masked keys have no effect.

use crate::case::Case;
use crate::common::{mask, values};
use crate::inputs::{is_hidden, Inputs, BATCH, N};
use crate::run::forward;
use xt_autograd::ops;
use xt_core::{DType, Tensor};

/// `x` with other values where `changed` is true; works for ids and vectors.
fn altered(x: &Tensor, changed: impl Fn(usize, usize) -> bool) -> Tensor {
    let bits: Vec<u8> = (0..BATCH)
        .flat_map(|row| (0..N).map(|i| u8::from(changed(row, i))).collect::<Vec<_>>())
        .collect();
    let dims = if x.rank() == 3 { vec![BATCH, N, 1] } else { vec![BATCH, N] };
    let other = match x.dtype() {
        // another one of the 17 tokens
        DType::I64 => {
            let ids: Vec<i64> = values(x).iter().map(|id| (*id as i64 + 5) % 17).collect();
            crate::common::ids(&ids, x.dims())
        }
        _ => ops::affine(x, -1.5, 0.7).unwrap(),
    };
    ops::where_cond(&mask(&bits, &dims), &other, x).unwrap()
}

/// The outputs at each position of the sequence, by row.
fn positions(case: &Case, inputs: &Inputs, x: Tensor) -> Vec<Vec<Vec<f64>>> {
    let mut inputs = inputs.clone();
    inputs.tensors[0] = x;
    let y = xt_core::no_grad(|| forward(case, &inputs, 1)).swap_remove(0);
    let (n, width) = (y.dim(1), y.dim(2));
    let rows = values(&y);
    let row = |row: &[f64]| row.chunks_exact(width).skip(n - N).map(<[f64]>::to_vec).collect();
    rows.chunks_exact(n * width).map(row).collect()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs() / (1.0 + b.abs())).fold(0.0, f64::max)
}

/// Fails if the output changes at a position for which `kept` is true.
fn unchanged(
    case: &Case,
    inputs: &Inputs,
    what: &str,
    changed: impl Fn(usize, usize) -> bool,
    kept: impl Fn(usize, usize) -> bool,
) {
    let x = inputs.tensors[0].clone();
    let before = positions(case, inputs, x.clone());
    let after = positions(case, inputs, altered(&x, changed));
    for row in 0..BATCH {
        for i in (0..N).filter(|i| kept(row, *i)) {
            let off = distance(&after[row][i], &before[row][i]);
            assert!(off < 1e-9, "{what}: output {i} of row {row} changes by {off}");
        }
    }
}

/// The model is in f64 and gives a vector for each position.
pub fn stays_in_bounds(case: &Case, make: &dyn Fn(&Case, DType) -> Inputs) {
    let inputs = make(case, DType::F64);
    if case.causal() && !case.crosses_to_itself() {
        for from in [1, N / 2, N - 1] {
            unchanged(case, &inputs, "the future", |_, i| i >= from, |_, i| i < from);
        }
    }
    unchanged(case, &inputs, "another row", |row, _| row == 1, |row, _| row == 0);
    // features of a masked position may be shifted to its neighbour
    let masked = case.has("mask") || case.has("self_attn_context_mask");
    if masked && !case.shifts() && !case.crosses_to_itself() {
        unchanged(
            case,
            &inputs,
            "a hidden key",
            |row, i| is_hidden(case, row, i),
            |row, i| !is_hidden(case, row, i),
        );
    }
}
