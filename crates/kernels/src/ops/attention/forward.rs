//! What queries gather, tile by tile.

use super::inputs::AttentionArgs;
use super::operands::{heads_last, multiply, rows_by_head, Attention, Sizes, TilePosition};
use super::tiles::{block_size, check_room, from, stride, together, weigh, Row, Transposed, Workspace};
use crate::host;
use crate::host::gemm::blas::Blas;
use crate::host::gemm::view::{Init, View};
use crate::host::gemv::kernel::{prefetch, StridedRows};
use crate::host::parallel::multiplications;
use crate::host::parallel::{cleared, each, zeros};
use crate::memory::alloc;
use crate::ops::layout::contiguous;
use crate::{Array, Result};
use std::mem::MaybeUninit;
use std::ops::Range;

/// Multiplications that one thread does alone.
const SMALL: u64 = 1 << 16;

/// The output, and each row's part of `Saved`.
pub(super) fn forward<T: Blas>(of: &AttentionArgs) -> Result<(Array, Array)> {
    let bias = of.bias.as_ref().map(contiguous).transpose()?;
    let (batch, attention) = Attention::<T>::new(of, bias.as_ref())?;
    let Sizes { heads, i, j, d, dv } = attention.sizes;
    let dims = [batch, heads, i, dv];
    let count = dims.iter().product();
    let rows = batch * heads * i;
    // two numbers each here, and where they are saved
    alloc::check(&[rows, 4], T::DTYPE)?;
    check_room::<T>(batch * heads, j, (d, dv))?;
    let mut states = vec![Row::START; rows];
    let mut y = if j > 0 { alloc::with_capacity::<T>(count)? } else { zeros(count)? };
    if j > 0 {
        let rows = rows_by_head(&mut y.spare_capacity_mut()[..count], i, heads, dv);
        let units: Vec<_> = rows.into_iter().zip(states.chunks_mut(i.max(1))).collect();
        // a step of a generation over a short past: waking other threads costs more than it saves
        if multiplications(&[batch, heads, i, j, d + dv]) < SMALL {
            units.into_iter().enumerate().for_each(|(unit, (rows, states))| attention.gather(unit, rows, states));
        } else {
            each(units, |unit, (rows, states)| attention.gather(unit, rows, states));
        }
        // SAFETY: every head's rows were written: those are all.
        unsafe { y.set_len(count) };
    }
    let rows = states.len();
    let states = states.into_iter().flat_map(|row| [row.top, row.sum]).collect();
    Ok((heads_last(y, dims)?, host::array::<T>(states, (rows, 2))?))
}

/// The first `count` rows of a matrix, where each is one piece of memory.
fn rows_of<T>(view: View<'_, T>, count: usize, width: usize) -> Option<StridedRows<'_, T>> {
    let stride = view.row as usize;
    let there = view.column == 1 && width > 0 && count > 0;
    there.then(|| StridedRows { data: &view.data[..(count - 1) * stride + width], stride, width })
}

impl<T: Blas> Attention<'_, T> {
    /// Writes what the queries of a head gather, and what softmax found for each.
    fn gather(&self, unit: usize, mut rows: Vec<&mut [MaybeUninit<T>]>, states: &mut [Row<T>]) {
        if let ([row], [state]) = (&mut rows[..], &mut *states) {
            if self.gather_one(unit, row, state).is_some() {
                return;
            }
        }
        Workspace::with(|workspace| self.gather_in(workspace, unit, rows, states));
    }

    fn gather_in(
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
        let keys = Transposed::new(self.k.head(batch, head, 0), (j, d), blocks, &mut workspace.turned_keys);
        let values = together(self.v.head(batch, head, 0), (j, dv), blocks, &mut workspace.values);
        let scores = workspace.weights.of(block_size.min(i) * stride);
        let mut tile = Tile { scores, stride, factors: Vec::new() };
        let y = workspace.gathered.of(block_size.min(i) * dv);
        for (block, (rows, states)) in rows.chunks_mut(block_size).zip(states.chunks_mut(block_size)).enumerate() {
            let (first, count) = (block * block_size, rows.len());
            let queries = self.q.head(batch, head, first);
            let mut start = Init::Zero;
            for Range { start: key, end } in self.tiles(unit, first, count) {
                let (place, width) = (TilePosition { unit, query: first, key }, end - key);
                let scores = (&mut *tile.scores, stride);
                multiply(scores, (count, width, d), queries, keys.tile(key), self.scale, Init::Zero);
                self.weigh_tile(&mut tile, place, width, states, y);
                let weights = View::row_major(tile.scores, stride);
                multiply((&mut *y, dv), (count, dv, width), weights, from(values, key), T::ONE, start);
                start = Init::Output;
            }
            for (r, ((row, y), state)) in rows.iter_mut().zip(y.chunks_exact(dv)).zip(states).enumerate() {
                match state.is_uniform() {
                    true => weighted_sum(cleared(row), values, &self.shares(unit * i + first + r)),
                    false => scaled(row, y, T::ONE / state.sum),
                }
            }
        }
    }

    /// Makes weights of a tile of scores, and scales down what was gathered before.
    fn weigh_tile(&self, tile: &mut Tile<T>, place: TilePosition, width: usize, states: &mut [Row<T>], y: &mut [T]) {
        let Sizes { i, dv, .. } = self.sizes;
        let mut line = Vec::new();
        for (r, (scores, state)) in tile.scores.chunks_mut(tile.stride).zip(states).enumerate() {
            let place = TilePosition { query: place.query + r, ..place };
            let scores = &mut scores[..width];
            let (now, scale) = weigh(scores, &self.limits(place, width, &mut line), *state);
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

    /// The same for a single query, without packing; nothing where keys or values lie in pieces.
    fn gather_one(&self, unit: usize, y: &mut [MaybeUninit<T>], state: &mut Row<T>) -> Option<()> {
        let Sizes { heads, j, d, dv, .. } = self.sizes;
        let (batch, head) = (unit / heads, unit % heads);
        let Range { start: key, end } = self.rows.seen(unit);
        let (queries, values) = (self.q.head(batch, head, 0), self.v.head(batch, head, 0));
        let keys = rows_of(self.k.head(batch, head, key), end - key, d)?;
        let of_values = rows_of(self.v.head(batch, head, key), end - key, dv)?;
        if queries.column != 1 {
            return None;
        }
        let mut weights = vec![T::ZERO; end - key];
        T::gemv(&queries.data[..d], keys, &mut weights);
        // while the weights become probabilities
        prefetch(of_values.data);
        weights.iter_mut().for_each(|w| *w *= self.scale);
        let mut line = Vec::new();
        let place = TilePosition { unit, query: 0, key };
        (*state, _) = weigh(&mut weights, &self.limits(place, end - key, &mut line), Row::START);
        if let Some(dropout) = self.dropout {
            let mut factors = vec![T::ZERO; end - key];
            self.factors(dropout, unit, key, &mut factors);
            weights.iter_mut().zip(factors).for_each(|(weight, factor)| *weight *= factor);
        }
        // this thread's next head
        prefetch(self.k.head((unit + 1) / heads, (unit + 1) % heads, 0).data);
        let y = cleared(y);
        if state.is_uniform() {
            debug_assert!(j > 0);
            weighted_sum(y, values, &self.shares(unit));
        } else {
            T::weighted_sum(&weights, of_values, y);
            let scale = T::ONE / state.sum;
            y.iter_mut().for_each(|y| *y *= scale);
        }
        Some(())
    }
}

/// Scores of a block of queries, then their weights.
struct Tile<'a, T> {
    scores: &'a mut [T],
    stride: usize,
    /// Of dropout, for one row.
    factors: Vec<T>,
}

fn scaled<T: Blas>(into: &mut [MaybeUninit<T>], from: &[T], scale: T) {
    into.iter_mut().zip(from).for_each(|(y, x)| *y = MaybeUninit::new(*x * scale));
}

/// The sum of rows, each with its weight.
fn weighted_sum<T: Blas>(y: &mut [T], values: View<T>, weights: &[T]) {
    for (c, y) in y.iter_mut().enumerate() {
        let at = |r: usize| values.data[r * values.row as usize + c * values.column as usize];
        let mut sum = T::ZERO;
        weights.iter().enumerate().for_each(|(r, weight)| sum += *weight * at(r));
        *y = sum;
    }
}
