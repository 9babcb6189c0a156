//! The backward pass of attention, tile by tile. The weights are recomputed.

use super::inputs::{AttentionArgs, Gradients};
use super::operands::{
    from_heads_last, multiply, rows_by_head, sum_heads, Attention, ByHead, Operand, Sizes,
    TilePosition,
};
use super::tiles::{
    block_size, check_memory, contiguous_rows, product_of_rows, recompute_weights, scores_gradient,
    skip_rows, stride, Row, Transposed, Workspace,
};
use crate::host;
use crate::host::gemm::blas::Blas;
use crate::host::gemm::view::{Init, View};
use crate::host::parallel::{for_each, zeros};
use crate::host::scratch::{padded_stride, Scratch};
use crate::memory::alloc;
use crate::ops::layout::contiguous;
use crate::ops::reduce;
use crate::ops::reduce::add_assign;
use crate::{Array, Result};
use std::mem::MaybeUninit;
use std::ops::Range;

/// Computes the gradients of the inputs from the output `y`, (batch, heads, i, dv), the softmax
/// statistics `states`, (batch · heads · i, 2), and `grad`, the gradient of the output.
pub(super) fn gradients<T: Blas>(
    of: &AttentionArgs,
    (y, states): (&Array, &Array),
    grad: &Array,
) -> Result<Gradients> {
    let by_head = ByHead::new(of)?;
    let (batch, attention) = Attention::<T>::new(of, &by_head)?;
    let Sizes { heads, i, j, d, dv } = attention.sizes;
    let states = contiguous(states)?;
    let states = host::slice::<T>(&states)?;
    let args = BackwardArgs {
        grad: Operand::new(grad, heads)?,
        y: Operand::new(y, heads)?,
        rows: &states,
    };
    check_memory::<T>(batch * heads, j, (d, dv))?;
    let dims = [[batch, heads, i, d], [batch, heads, j, d], [batch, heads, j, dv]];
    let counts = dims.map(|dims| dims.iter().product::<usize>());
    // Each size is tested on its own, since their product may overflow to 0 in 32 bits.
    let any = [i, j, d, dv].iter().all(|size| *size > 0);
    let empty = |count: usize| if any { alloc::with_capacity::<T>(count) } else { zeros(count) };
    let (mut all_q, mut all_k, mut all_v) =
        (empty(counts[0])?, empty(counts[1])?, empty(counts[2])?);
    // Numbers of each head; 0 if there are none. Each head of each batch element gets its own
    // gradient, which are summed at the end.
    let width = |of: &Option<Array>| of.as_ref().map_or(0, |array| array.elem_count() / heads);
    let (by_distance, by_sink) = (width(&by_head.bias), width(&by_head.sinks));
    let mut all_bias = zeros::<T>(batch * heads * by_distance)?;
    let mut all_sinks = zeros::<T>(batch * heads * by_sink)?;
    if any {
        let q = rows_by_head(&mut all_q.spare_capacity_mut()[..counts[0]], i, heads, d).into_iter();
        let k = rows_by_head(&mut all_k.spare_capacity_mut()[..counts[1]], j, heads, d).into_iter();
        let v =
            rows_by_head(&mut all_v.spare_capacity_mut()[..counts[2]], j, heads, dv).into_iter();
        let mut bias = all_bias.chunks_mut(by_distance.max(1));
        let mut sinks = all_sinks.chunks_mut(by_sink.max(1));
        let rows = q.zip(k.zip(v)).map(|(q, (k, v))| HeadRows {
            q,
            k,
            v,
            bias: bias.next().unwrap_or_default(),
            sinks: sinks.next().unwrap_or_default(),
        });
        for_each(rows.collect(), |unit, rows| {
            Workspace::with(|workspace| attention.head_gradients(workspace, unit, &args, rows));
        });
        // SAFETY: all numbers belong to the rows of some head, and `head_gradients` has written the
        // rows of every head.
        unsafe {
            all_q.set_len(counts[0]);
            all_k.set_len(counts[1]);
            all_v.set_len(counts[2]);
        }
    }
    let over_batch = |all: Vec<T>, width: usize, like: &Option<Array>| -> Result<_> {
        match like {
            Some(like) => {
                let all = host::array(all, (batch, heads, width))?;
                Ok(Some(reduce::sum(&all, &[0])?.reshape(like.shape())?))
            }
            None => Ok(None),
        }
    };
    Ok(Gradients {
        q: from_heads_last(all_q, dims[0])?,
        k: sum_heads(&from_heads_last(all_k, dims[1])?, &of.k)?,
        v: sum_heads(&from_heads_last(all_v, dims[2])?, &of.v)?,
        bias: over_batch(all_bias, by_distance, &by_head.bias)?,
        sinks: over_batch(all_sinks, by_sink, &by_head.sinks)?,
    })
}

/// What the gradients are computed from, in addition to the inputs.
struct BackwardArgs<'a, T> {
    /// Gradient of the output, (batch, heads, i, dv).
    grad: Operand<'a, T>,
    /// The output, (batch, heads, i, dv).
    y: Operand<'a, T>,
    /// The softmax statistics, (batch · heads · i, 2).
    rows: &'a [T],
}

/// The rows of the gradients of one head, in the arrays that are returned.
struct HeadRows<'a, T> {
    /// i rows of d numbers.
    q: Vec<&'a mut [MaybeUninit<T>]>,
    /// j rows of d numbers.
    k: Vec<&'a mut [MaybeUninit<T>]>,
    /// j rows of dv numbers.
    v: Vec<&'a mut [MaybeUninit<T>]>,
    /// Gradient of the bias by distance; empty if there is no bias.
    bias: &'a mut [T],
    /// Gradient of the sinks; empty if there are none.
    sinks: &'a mut [T],
}

impl<T: Blas> Attention<'_, T> {
    /// Writes the gradients of one head.
    ///
    /// The gradients of keys and values are accumulated as transposed matrices, (d, j) and (dv, j),
    /// so that the matrix products read their wide operand without packing.
    fn head_gradients(
        &self,
        workspace: &mut Workspace<T>,
        unit: usize,
        args: &BackwardArgs<T>,
        mut rows: HeadRows<T>,
    ) {
        let Sizes { heads, i, j, d, dv } = self.sizes;
        let (batch, head) = (unit / heads, unit % heads);
        let (block_size, stride, grad_stride) = (block_size(i), stride(j), padded_stride(j));
        let (most, blocks) = (block_size.min(i), i.div_ceil(block_size));
        let Workspace {
            keys,
            transposed_keys,
            values,
            weights,
            grad,
            dropped,
            accumulator,
            dk,
            dv: dvalues,
        } = workspace;
        // Transposed keys (d, j), keys (j, d), transposed values (dv, j).
        let transposed_keys =
            Transposed::new(self.k.head(batch, head, 0), (j, d), blocks, transposed_keys);
        let keys = contiguous_rows(self.k.head(batch, head, 0), (j, d), blocks, keys);
        let values = Transposed::new(self.v.head(batch, head, 0), (j, dv), blocks, values);
        // (d, j) and (dv, j)
        let (dk, dvalues) = (dk.zeroed(d * grad_stride), dvalues.zeroed(dv * grad_stride));
        let dropped = dropped.get(if self.dropout.is_some() { most * stride } else { 0 });
        let mut tile = GradientTile {
            weights: weights.get(most * stride),
            grad: grad.get(most * stride),
            dropped,
            stride,
        };
        for first in (0..i).step_by(block_size) {
            let count = (i - first).min(block_size);
            // (count, dv) and (count, d)
            let (dy, queries) =
                (args.grad.head(batch, head, first), self.q.head(batch, head, first));
            let states = self.states(unit, first, count, args, dvalues);
            self.add_sink_gradients(head, &states, rows.sinks);
            // (count, d)
            let dq = accumulator.zeroed(count * d);
            for Range { start: key, end } in self.tiles(unit, first, count) {
                let width = end - key;
                let scores = (&mut *tile.weights, stride);
                // Scores: (count, width) = (count, d) · (d, width)
                multiply(
                    scores,
                    (count, width, d),
                    queries,
                    transposed_keys.tile(key),
                    self.scale,
                    Init::Zero,
                );
                let grad = (&mut *tile.grad, stride);
                // Gradient of the weights: (count, width) = (count, dv) · (dv, width)
                multiply(grad, (count, width, dv), dy, values.tile(key), T::ONE, Init::Zero);
                let place = TilePosition { unit, query: first, key };
                self.tile_gradients(&mut tile, place, width, &states, rows.bias);
                let dropped_weights = View::row_major(
                    if self.dropout.is_some() { tile.dropped } else { tile.weights },
                    stride,
                );
                // (dv, width) += (dv, count) · (count, width)
                multiply(
                    (&mut dvalues[key..], grad_stride),
                    (dv, width, count),
                    dy.t(),
                    dropped_weights,
                    T::ONE,
                    Init::Output,
                );
                let ds = View::row_major(tile.grad, stride);
                // (d, width) += (d, count) · (count, width)
                multiply(
                    (&mut dk[key..], grad_stride),
                    (d, width, count),
                    queries.t(),
                    ds,
                    self.scale,
                    Init::Output,
                );
                // (count, d) += (count, width) · (width, d)
                multiply(
                    (&mut *dq, d),
                    (count, d, width),
                    ds,
                    skip_rows(keys, key),
                    self.scale,
                    Init::Output,
                );
            }
            place_rows(&mut rows.q[first..first + count], dq);
        }
        place_columns(&mut rows.k, dk, grad_stride, accumulator);
        place_columns(&mut rows.v, dvalues, grad_stride, accumulator);
    }

    /// The softmax statistics of each row of a block, and the sum over all keys of weight times
    /// gradient of the weight. That sum equals the dot product of the output row and its gradient.
    /// For rows without any allowed key, this also adds their contribution to the gradient of the
    /// values.
    fn states(
        &self,
        unit: usize,
        first: usize,
        count: usize,
        args: &BackwardArgs<T>,
        dvalues: &mut [T],
    ) -> Vec<(Row<T>, T)> {
        let Sizes { heads, i, j, dv, .. } = self.sizes;
        let (batch, head) = (unit / heads, unit % heads);
        let (y, dy) = (args.y.head(batch, head, first), args.grad.head(batch, head, first));
        let state = |r: usize| {
            let row = unit * i + first + r;
            let state = Row { top: args.rows[2 * row], sum: args.rows[2 * row + 1] };
            if state.is_uniform() {
                add_uniform_row(dvalues, padded_stride(j), dy, r, &self.uniform_weights(row));
            }
            (state, product_of_rows(skip_rows(y, r), skip_rows(dy, r), dv))
        };
        (0..count).map(state).collect()
    }

    /// Adds the gradients of the sinks of one head. Their values are 0, so that of the gradient of
    /// the softmax only the sum over all keys is left.
    fn add_sink_gradients(&self, head: usize, states: &[(Row<T>, T)], into: &mut [T]) {
        for (sink, grad) in self.sinks_of(head).iter().zip(into) {
            for (row, dot) in states {
                *grad -= (*sink - row.top).exp::<false>() / row.sum * *dot;
            }
        }
    }

    /// Replaces a tile of scores by the weights, and the gradients of the weights by the gradients
    /// of the scores. Adds the latter to the gradient of the bias.
    fn tile_gradients(
        &self,
        tile: &mut GradientTile<T>,
        place: TilePosition,
        width: usize,
        states: &[(Row<T>, T)],
        dbias: &mut [T],
    ) {
        let Sizes { i, .. } = self.sizes;
        let mut line = Vec::new();
        let mut slopes = vec![T::ZERO; if self.softcap.is_some() { width } else { 0 }];
        for (r, (row, dot)) in states.iter().enumerate() {
            let place = TilePosition { query: place.query + r, ..place };
            let part = r * tile.stride..r * tile.stride + width;
            let (weights, grad) = (&mut tile.weights[part.clone()], &mut tile.grad[part.clone()]);
            let limits = self.limits(place, width, &mut line);
            recompute_weights(weights, &mut slopes, &limits, *row);
            if let Some(dropout) = self.dropout {
                let factors = &mut tile.dropped[part];
                self.factors(dropout, place.unit * i + place.query, place.key, factors);
                grad.iter_mut().zip(&*factors).for_each(|(grad, factor)| *grad *= *factor);
                factors.iter_mut().zip(&*weights).for_each(|(factor, weight)| *factor *= *weight);
            }
            scores_gradient(weights, grad, limits.visible.clone(), *dot);
            let visible = limits.visible.clone();
            if !slopes.is_empty() {
                let slopes = &slopes[visible.clone()];
                grad[visible].iter_mut().zip(slopes).for_each(|(grad, slope)| *grad *= *slope);
            }
            if !dbias.is_empty() {
                add_assign(
                    &mut dbias[i - 1 - place.query + place.key..],
                    &grad[..limits.visible.end],
                );
            }
        }
    }
}

/// The weights and gradients of a block of queries, (queries, keys) with rows of `stride` numbers.
struct GradientTile<'a, T> {
    /// The scores, then the weights.
    weights: &'a mut [T],
    /// The gradients of the weights, then of the scores.
    grad: &'a mut [T],
    /// The weights after dropout; empty if there is no dropout.
    dropped: &'a mut [T],
    /// Leading dimension of the tiles.
    stride: usize,
}

/// Copies `values`, row-major, into `rows`.
fn place_rows<T: Copy>(rows: &mut [&mut [MaybeUninit<T>]], values: &[T]) {
    let width = rows.first().map_or(1, |row| row.len());
    for (row, values) in rows.iter_mut().zip(values.chunks_exact(width.max(1))) {
        row.iter_mut().zip(values).for_each(|(place, value)| *place = MaybeUninit::new(*value));
    }
}

/// Like [`place_rows`], for transposed values: `columns` contains one row per column of the result,
/// and has the leading dimension `stride`.
fn place_columns<T: Blas>(
    rows: &mut [&mut [MaybeUninit<T>]],
    columns: &[T],
    stride: usize,
    buffer: &mut Scratch<T>,
) {
    const TOGETHER: usize = 64;
    let width = rows.first().map_or(1, |row| row.len());
    for (piece, rows) in rows.chunks_mut(TOGETHER).enumerate() {
        let into = buffer.get(rows.len() * width);
        T::transpose(into, width, &columns[piece * TOGETHER..], stride, (width, rows.len()));
        place_rows(rows, into);
    }
}

/// Adds the contribution of query row `r`, for which no key is allowed, to the gradient of the
/// values. All keys have the same weight except for dropout: `uniform_weights`. `dvalues` is
/// transposed, (dv, j), with the leading dimension `stride`.
fn add_uniform_row<T: Blas>(
    dvalues: &mut [T],
    stride: usize,
    dy: View<T>,
    r: usize,
    uniform_weights: &[T],
) {
    for (c, values) in dvalues.chunks_exact_mut(stride).enumerate() {
        let grad = dy.data[r * dy.row as usize + c * dy.column as usize];
        values.iter_mut().zip(uniform_weights).for_each(|(value, share)| *value += *share * grad);
    }
}
