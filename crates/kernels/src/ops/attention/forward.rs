//! The forward pass of attention, tile by tile.

use super::inputs::AttentionArgs;
use super::operands::{
    from_heads_last, multiply, rows_by_head, Attention, ByHead, Sizes, TilePosition,
};
use super::tiles::{
    block_size, check_memory, contiguous_rows, online_softmax, skip_rows, stride, Row, Transposed,
    Workspace,
};
use crate::host;
use crate::host::gemm::blas::Blas;
use crate::host::gemm::view::{Init, View};
use crate::host::gemv::kernel::{prefetch, StridedRows};
use crate::host::parallel::multiplications;
use crate::host::parallel::{for_each, zero_init, zeros};
use crate::memory::alloc;
use crate::{Array, Result};
use std::mem::MaybeUninit;
use std::ops::Range;

/// Below this number of multiplications, all heads are computed on the current thread.
const SMALL: u64 = 1 << 16;

/// Computes the output, (batch, heads, i, dv), and the softmax statistics, (batch · heads · i, 2),
/// of [`Saved`](super::Saved).
pub(super) fn forward<T: Blas>(of: &AttentionArgs) -> Result<(Array, Array)> {
    let by_head = ByHead::new(of)?;
    let (batch, attention) = Attention::<T>::new(of, &by_head)?;
    let Sizes { heads, i, j, d, dv } = attention.sizes;
    let dims = [batch, heads, i, dv];
    let count = dims.iter().product();
    let rows = batch * heads * i;
    // Two numbers per row in `states`, and two in the copy that is returned.
    alloc::check(&[rows, 4], T::DTYPE)?;
    check_memory::<T>(batch * heads, j, (d, dv))?;
    let mut states = vec![Row::START; rows];
    for (unit, states) in states.chunks_mut(i.max(1)).enumerate() {
        states.fill(attention.start(unit % heads));
    }
    let mut y = if j > 0 { alloc::with_capacity::<T>(count)? } else { zeros(count)? };
    if j > 0 {
        let rows = rows_by_head(&mut y.spare_capacity_mut()[..count], i, heads, dv);
        let units: Vec<_> = rows.into_iter().zip(states.chunks_mut(i.max(1))).collect();
        // A decoding step over a short past: waking other threads costs more than it saves.
        if multiplications(&[batch, heads, i, j, d + dv]) < SMALL {
            units
                .into_iter()
                .enumerate()
                .for_each(|(unit, (rows, states))| attention.head_output(unit, rows, states));
        } else {
            for_each(units, |unit, (rows, states)| attention.head_output(unit, rows, states));
        }
        // SAFETY: all `count` numbers belong to the rows of some head, and `head_output` has
        // written the rows of every head.
        unsafe { y.set_len(count) };
    }
    let rows = states.len();
    let states = states.into_iter().flat_map(|row| [row.top, row.sum]).collect();
    Ok((from_heads_last(y, dims)?, host::array::<T>(states, (rows, 2))?))
}

/// The first `count` rows of a matrix, or `None` if a row is not contiguous in memory.
fn rows_of<T>(view: View<'_, T>, count: usize, width: usize) -> Option<StridedRows<'_, T>> {
    let stride = view.row as usize;
    let there = view.column == 1 && width > 0 && count > 0;
    there.then(|| StridedRows { data: &view.data[..(count - 1) * stride + width], stride, width })
}

impl<T: Blas> Attention<'_, T> {
    /// Writes the output rows of the queries of one head, and the softmax statistics of each.
    /// `unit` is the index of the head among all heads of the batch.
    fn head_output(
        &self,
        unit: usize,
        mut rows: Vec<&mut [MaybeUninit<T>]>,
        states: &mut [Row<T>],
    ) {
        if let ([row], [state]) = (&mut rows[..], &mut *states) {
            if self.single_query_output(unit, row, state).is_some() {
                return;
            }
        }
        Workspace::with(|workspace| self.tiled_output(workspace, unit, rows, states));
    }

    /// Like [`head_output`](Self::head_output), for any number of queries, with the buffers of
    /// `workspace`.
    fn tiled_output(
        &self,
        workspace: &mut Workspace<T>,
        unit: usize,
        mut rows: Vec<&mut [MaybeUninit<T>]>,
        states: &mut [Row<T>],
    ) {
        let Sizes { heads, i, j, d, dv, .. } = self.sizes;
        let (batch, head) = (unit / heads, unit % heads);
        let (block_size, stride) = (block_size(i), stride(j));
        let blocks = i.div_ceil(block_size);
        // Keys as (d, j), values as (j, dv).
        let keys = Transposed::new(
            self.k.head(batch, head, 0),
            (j, d),
            blocks,
            &mut workspace.transposed_keys,
        );
        let values =
            contiguous_rows(self.v.head(batch, head, 0), (j, dv), blocks, &mut workspace.values);
        let scores = workspace.weights.get(block_size.min(i) * stride);
        let mut tile = ScoreTile { scores, stride, factors: Vec::new() };
        let y = workspace.accumulator.get(block_size.min(i) * dv);
        for (block, (rows, states)) in
            rows.chunks_mut(block_size).zip(states.chunks_mut(block_size)).enumerate()
        {
            let (first, count) = (block * block_size, rows.len());
            // (count, d)
            let queries = self.q.head(batch, head, first);
            let mut init = Init::Zero;
            for Range { start: key, end } in self.tiles(unit, first, count) {
                let (place, width) = (TilePosition { unit, query: first, key }, end - key);
                let scores = (&mut *tile.scores, stride);
                // (count, width) = (count, d) · (d, width)
                multiply(
                    scores,
                    (count, width, d),
                    queries,
                    keys.tile(key),
                    self.scale,
                    Init::Zero,
                );
                self.softmax_tile(&mut tile, place, width, states, y);
                let weights = View::row_major(tile.scores, stride);
                // (count, dv) += (count, width) · (width, dv)
                multiply(
                    (&mut *y, dv),
                    (count, dv, width),
                    weights,
                    skip_rows(values, key),
                    T::ONE,
                    init,
                );
                init = Init::Output;
            }
            if matches!(init, Init::Zero) {
                // no query of the block sees a key
                y[..count * dv].fill(T::ZERO);
            }
            for (r, ((row, y), state)) in
                rows.iter_mut().zip(y.chunks_exact(dv)).zip(states).enumerate()
            {
                match state.is_uniform() {
                    true => weighted_sum(
                        zero_init(row),
                        values,
                        &self.uniform_weights(unit * i + first + r),
                    ),
                    false => scaled(row, y, T::ONE / state.sum),
                }
            }
        }
    }

    /// Turns a tile of scores into unnormalised weights in place, and rescales the output
    /// accumulated in `y` if the maximum of a row changes.
    fn softmax_tile(
        &self,
        tile: &mut ScoreTile<T>,
        place: TilePosition,
        width: usize,
        states: &mut [Row<T>],
        y: &mut [T],
    ) {
        let Sizes { i, dv, .. } = self.sizes;
        let mut line = Vec::new();
        for (r, (scores, state)) in tile.scores.chunks_mut(tile.stride).zip(states).enumerate() {
            let place = TilePosition { query: place.query + r, ..place };
            let scores = &mut scores[..width];
            let (now, scale) =
                online_softmax(scores, &self.limits(place, width, &mut line), *state);
            *state = now;
            if scale != T::ONE {
                y[r * dv..(r + 1) * dv].iter_mut().for_each(|y| *y *= scale);
            }
            if let Some(dropout) = self.dropout {
                tile.factors.resize(width, T::ZERO);
                self.factors(dropout, place.unit * i + place.query, place.key, &mut tile.factors);
                scores.iter_mut().zip(&tile.factors).for_each(|(score, factor)| *score *= *factor);
            }
        }
    }

    /// Computes the output of a head with a single query without packing. Returns `None`, and
    /// writes nothing, if the rows of queries, keys or values are not contiguous, or no key is
    /// visible.
    fn single_query_output(
        &self,
        unit: usize,
        y: &mut [MaybeUninit<T>],
        state: &mut Row<T>,
    ) -> Option<()> {
        let Sizes { heads, j, d, dv, .. } = self.sizes;
        let (batch, head) = (unit / heads, unit % heads);
        let Range { start: key, end } = self.rows.visible(unit);
        let (queries, values) = (self.q.head(batch, head, 0), self.v.head(batch, head, 0));
        let keys = rows_of(self.k.head(batch, head, key), end - key, d)?;
        let of_values = rows_of(self.v.head(batch, head, key), end - key, dv)?;
        if queries.column != 1 {
            return None;
        }
        let mut weights = vec![T::ZERO; end - key];
        T::gemv(&queries.data[..d], keys, &mut weights);
        // Loads the values while the softmax is computed.
        prefetch(of_values.data);
        weights.iter_mut().for_each(|w| *w *= self.scale);
        let mut line = Vec::new();
        let place = TilePosition { unit, query: 0, key };
        (*state, _) =
            online_softmax(&mut weights, &self.limits(place, end - key, &mut line), *state);
        if let Some(dropout) = self.dropout {
            let mut factors = vec![T::ZERO; end - key];
            self.factors(dropout, unit, key, &mut factors);
            weights.iter_mut().zip(factors).for_each(|(weight, factor)| *weight *= factor);
        }
        // Loads the keys of the next head, which this thread is likely to process next.
        prefetch(self.k.head((unit + 1) / heads, (unit + 1) % heads, 0).data);
        let y = zero_init(y);
        if state.is_uniform() {
            debug_assert!(j > 0);
            weighted_sum(y, values, &self.uniform_weights(unit));
        } else {
            T::weighted_sum(&weights, of_values, y);
            let scale = T::ONE / state.sum;
            y.iter_mut().for_each(|y| *y *= scale);
        }
        Some(())
    }
}

/// The scores of a block of queries, which are then replaced by the weights.
struct ScoreTile<'a, T> {
    /// (queries, keys), with rows of `stride` numbers.
    scores: &'a mut [T],
    /// Leading dimension of `scores`.
    stride: usize,
    /// Dropout factors of one row.
    factors: Vec<T>,
}

/// Writes `from · scale` into `into`.
fn scaled<T: Blas>(into: &mut [MaybeUninit<T>], from: &[T], scale: T) {
    into.iter_mut().zip(from).for_each(|(y, x)| *y = MaybeUninit::new(*x * scale));
}

/// Computes the weighted sum of the rows of `values`.
fn weighted_sum<T: Blas>(y: &mut [T], values: View<T>, weights: &[T]) {
    for (c, y) in y.iter_mut().enumerate() {
        let at = |r: usize| values.data[r * values.row as usize + c * values.column as usize];
        let mut sum = T::ZERO;
        weights.iter().enumerate().for_each(|(r, weight)| sum += *weight * at(r));
        *y = sum;
    }
}
