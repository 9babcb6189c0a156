//! The gradient of attention, tile by tile: the weights are made again.

use super::tiles::{block_size, scores_gradient, stride, weigh_again, Row, Turned};
use super::{
    heads_last, multiply, row_major, rows_by_head, sum_heads, turned, Attention, Gradients, Inputs, Operand, Place,
    Sizes,
};
use crate::cpu::{self, Real};
use crate::layout::contiguous;
use crate::linear::add_assign;
use crate::matmul::{Start, View};
use crate::parallel::{each, zeros};
use crate::{Array, Result};
use std::ops::Range;

/// The gradients of the inputs.
pub(super) fn gradients<T: Real>(of: &Inputs, (y, states): (&Array, &Array), grad: &Array) -> Result<Gradients> {
    let bias = of.bias.as_ref().map(contiguous).transpose()?;
    let (batch, attention) = Attention::<T>::new(of, bias.as_ref())?;
    let Sizes { heads, i, j, d, dv } = attention.sizes;
    let states = cpu::slice::<T>(states)?;
    let with = With { grad: Operand::new(grad, heads)?, y: Operand::new(y, heads)?, rows: &states };
    let dims = [[batch, heads, i, d], [batch, heads, j, d], [batch, heads, j, dv]];
    let empty = |dims: [usize; 4]| zeros::<T>(dims.iter().product());
    let (mut all_q, mut all_k, mut all_v) = (empty(dims[0])?, empty(dims[1])?, empty(dims[2])?);
    // of each head of each row of the batch; nothing where there is no bias
    let by_distance = bias.as_ref().map_or(0, |bias| bias.elem_count() / heads);
    let mut all_bias = zeros::<T>(batch * heads * by_distance)?;
    // not their product, which may be 0 in 32 bits
    if [i, j, d, dv].iter().all(|size| *size > 0) {
        let q = rows_by_head(&mut all_q, i, heads, d).into_iter();
        let k = rows_by_head(&mut all_k, j, heads, d).into_iter();
        let v = rows_by_head(&mut all_v, j, heads, dv).into_iter();
        let mut bias = all_bias.chunks_mut(by_distance.max(1));
        let rows = q.zip(k.zip(v)).map(|(q, (k, v))| HeadRows { q, k, v, bias: bias.next().unwrap_or_default() });
        each(rows.collect(), |unit, rows| attention.head_gradients(unit, &with, rows));
    }
    let bias = match &bias {
        Some(bias) => Some(cpu::array(all_bias, (batch, heads, by_distance))?.sum(0)?.reshape(bias.shape())?),
        None => None,
    };
    Ok(Gradients {
        q: heads_last(all_q, dims[0])?,
        k: sum_heads(&heads_last(all_k, dims[1])?, &of.k)?,
        v: sum_heads(&heads_last(all_v, dims[2])?, &of.v)?,
        bias,
    })
}

/// What the gradients are made of, beside the inputs.
struct With<'a, T> {
    /// Of the output.
    grad: Operand<'a, T>,
    y: Operand<'a, T>,
    /// What softmax found for each row.
    rows: &'a [T],
}

/// The rows of a head's gradients, in their places.
struct HeadRows<'a, T> {
    q: Vec<&'a mut [T]>,
    k: Vec<&'a mut [T]>,
    v: Vec<&'a mut [T]>,
    /// By distance; empty where there is no bias.
    bias: &'a mut [T],
}

impl<T: Real> Attention<'_, T> {
    fn head_gradients(&self, unit: usize, with: &With<T>, mut rows: HeadRows<T>) {
        let Sizes { heads, i, j, d, dv } = self.sizes;
        let (batch, head) = (unit / heads, unit % heads);
        let (block_size, stride) = (block_size(i), stride(j));
        let blocks = i.div_ceil(block_size);
        let keys = Turned::new(self.k.head(batch, head, 0), (j, d), blocks);
        let values = Turned::new(self.v.head(batch, head, 0), (j, dv), blocks);
        let (mut dk, mut dvalues) = (vec![T::ZERO; j * d], vec![T::ZERO; j * dv]);
        let mut dq = vec![T::ZERO; block_size.min(i) * d];
        let room = || vec![T::ZERO; block_size.min(i) * stride];
        let mut tile = Tile { weights: room(), grad: room(), dropped: Vec::new(), stride };
        for first in (0..i).step_by(block_size) {
            let count = (i - first).min(block_size);
            let (dy, queries) = (with.grad.head(batch, head, first), self.q.head(batch, head, first));
            let states = self.states(unit, first, count, with, &mut dvalues);
            dq.fill(T::ZERO);
            for Range { start: key, end } in self.tiles(unit, first, count) {
                let width = end - key;
                let scores = (&mut tile.weights[..], stride);
                multiply(scores, (count, width, d), queries, keys.tile(key, width), self.scale, Start::Nothing);
                let grad = (&mut tile.grad[..], stride);
                multiply(grad, (count, width, dv), dy, values.tile(key, width), T::ONE, Start::Nothing);
                let place = Place { unit, query: first, key };
                self.tile_gradients(&mut tile, place, width, &states, rows.bias);
                let given = if self.dropout.is_some() { &tile.dropped } else { &tile.weights };
                let of_values = (&mut dvalues[key * dv..], dv);
                multiply(of_values, (width, dv, count), turned(row_major(given, stride)), dy, T::ONE, Start::Own);
                let ds = row_major(&tile.grad, stride);
                multiply((&mut dq, d), (count, d, width), ds, keys.from(key), self.scale, Start::Own);
                multiply((&mut dk[key * d..], d), (width, d, count), turned(ds), queries, self.scale, Start::Own);
            }
            place_rows(&mut rows.q[first..first + count], &dq);
        }
        place_rows(&mut rows.k, &dk);
        place_rows(&mut rows.v, &dvalues);
    }

    /// What softmax found for each row of a block, and its sum of weights, each times its gradient: that is the row of `y` times its gradient. Rows that
    /// weigh all keys alike give the values their part.
    fn states(&self, unit: usize, first: usize, count: usize, with: &With<T>, dvalues: &mut [T]) -> Vec<(Row<T>, T)> {
        let Sizes { heads, i, dv, .. } = self.sizes;
        let (batch, head) = (unit / heads, unit % heads);
        let (y, dy) = (with.y.head(batch, head, first), with.grad.head(batch, head, first));
        let at = |view: &View<T>, r: usize, c: usize| view.data[r * view.row as usize + c * view.column as usize];
        let state = |r: usize| {
            let row = unit * i + first + r;
            let state = Row { top: with.rows[2 * row], sum: with.rows[2 * row + 1] };
            if state.is_uniform() {
                add_shares(dvalues, dy, r, &self.shares(row));
            }
            let mut along = T::ZERO;
            (0..dv).for_each(|c| along += at(&y, r, c) * at(&dy, r, c));
            (state, along)
        };
        (0..count).map(state).collect()
    }

    /// Makes weights of a tile of scores, and gradients of scores of those of the weights.
    fn tile_gradients(&self, tile: &mut Tile<T>, place: Place, width: usize, states: &[(Row<T>, T)], dbias: &mut [T]) {
        let Sizes { i, .. } = self.sizes;
        let mut line = Vec::new();
        if self.dropout.is_some() {
            tile.dropped.resize(tile.weights.len(), T::ZERO);
        }
        for (r, (row, along)) in states.iter().enumerate() {
            let place = Place { query: place.query + r, ..place };
            let part = r * tile.stride..r * tile.stride + width;
            let (weights, grad) = (&mut tile.weights[part.clone()], &mut tile.grad[part.clone()]);
            let limits = self.limits(place, width, &mut line);
            weigh_again(weights, &limits, *row);
            if let Some(dropout) = self.dropout {
                let factors = &mut tile.dropped[part];
                self.factors(dropout, place.unit * i + place.query, place.key, factors);
                grad.iter_mut().zip(&*factors).for_each(|(grad, factor)| *grad *= *factor);
                factors.iter_mut().zip(&*weights).for_each(|(factor, weight)| *factor *= *weight);
            }
            scores_gradient(weights, grad, limits.seen.clone(), *along);
            if !dbias.is_empty() {
                add_assign(&mut dbias[i - 1 - place.query + place.key..], &grad[..limits.seen.end]);
            }
        }
    }
}

/// Weights and gradients of a block of queries.
struct Tile<T> {
    /// Scores, then weights.
    weights: Vec<T>,
    /// Those of the weights, then those of the scores.
    grad: Vec<T>,
    /// The weights after dropout.
    dropped: Vec<T>,
    stride: usize,
}

/// Copies rows to where they belong.
fn place_rows<T: Copy>(rows: &mut [&mut [T]], values: &[T]) {
    let width = rows.first().map_or(1, |row| row.len());
    rows.iter_mut().zip(values.chunks_exact(width.max(1))).for_each(|(row, values)| row.copy_from_slice(values));
}

/// Row `r`, which weighs all keys alike but for dropout, gives each value its share of the row's gradient.
fn add_shares<T: Real>(dv: &mut [T], dy: View<T>, r: usize, shares: &[T]) {
    for (row, share) in dv.chunks_exact_mut((dv.len() / shares.len()).max(1)).zip(shares) {
        for (c, x) in row.iter_mut().enumerate() {
            *x += *share * dy.data[r * dy.row as usize + c * dy.column as usize];
        }
    }
}
