//! Attention in one: `y = dropout(softmax(scale · q kᵀ + bias, masked)) v`, without the scores in memory.
//!
//! Shapes: `q` is (batch, heads, i, d), `k` (batch, heads or 1, j, d), `v` (batch, heads or 1, j, dv), `y` (batch, heads, i, dv). The bias is one by
//! distance, (heads, i + j - 1): see `distances.rs`. Weights are dropped as those of an array (batch, heads, i, j).
//! A block of queries meets a tile of keys after the other: their scores stay in the cache, and the keys that causality hides from the whole
//! block cost nothing. Softmax knows the keys so far, and what was gathered is scaled down when a larger score comes.
//! The gradient makes the weights again, tile by tile, from the scores and what softmax found in the end.
//! Source: FlashAttention-2, <https://arxiv.org/abs/2307.08691>.

mod backward;
pub mod distances;
mod forward;
#[cfg(test)]
mod tests;
mod tiles;

use crate::cpu::{self, dispatch, Real, Slice};
use crate::dropout::{dropout, Dropout};
use crate::jobs::{Start, View};
use crate::matmul::product;
use crate::softmax::{self, Mask, Rows};
use crate::{reduce, Array, Result};
use gemm::Parallelism;
use std::ops::Range;
use tiles::{Limits, WIDTH};

/// What attention is made of.
#[derive(Clone)]
pub struct Inputs {
    pub q: Array,
    pub k: Array,
    pub v: Array,
    pub bias: Option<Array>,
    pub scale: f64,
    pub mask: Mask,
    /// Of the weights.
    pub dropout: Option<Dropout>,
}

/// Gradients of the inputs, in their shapes.
pub struct Gradients {
    pub q: Array,
    pub k: Array,
    pub v: Array,
    pub bias: Option<Array>,
}

/// Attention by its steps.
pub fn reference(of: &Inputs) -> Result<Array> {
    crate::matmul::reference(&dropped_reference(of, weights_reference(of)?)?, &of.v, 1.0)
}

fn dropped_reference(of: &Inputs, weights: Array) -> Result<Array> {
    of.dropout.map_or(Ok(weights.clone()), |Dropout { p, stream }| dropout(&weights, p, stream))
}

fn weights_reference(of: &Inputs) -> Result<Array> {
    let scores = crate::matmul::reference(&of.q, &of.k.transpose(2, 3)?, of.scale)?;
    let scores = match &of.bias {
        Some(bias) => scores.broadcast_add(&distances::spread_reference(bias, scores.dim(2)?, scores.dim(3)?)?)?,
        None => scores,
    };
    softmax::reference(&scores, &of.mask)
}

/// What the gradient needs of an attention.
pub struct Saved {
    /// The output, (batch, heads, i, dv).
    y: Array,
    /// The largest score of each query and the sum of its exponentials, (batch · heads · i, 2); nothing where the reference computed it.
    rows: Option<Array>,
}

/// (batch, heads, i, dv).
pub fn forward(of: &Inputs) -> Result<(Array, Saved)> {
    let (y, rows) = dispatch!(of.q, T => forward::forward::<T>(of).map(|(y, rows)| (y, Some(rows))), else Ok((reference(of)?, None)))?;
    Ok((y.clone(), Saved { y, rows }))
}

/// The gradients for `grad`, that of the output.
pub fn backward(of: &Inputs, saved: &Saved, grad: &Array) -> Result<Gradients> {
    match &saved.rows {
        Some(rows) => {
            dispatch!(of.q, T => backward::gradients::<T>(of, (&saved.y, rows), grad), else backward_reference(of, grad))
        }
        None => backward_reference(of, grad),
    }
}

fn backward_reference(of: &Inputs, grad: &Array) -> Result<Gradients> {
    let product = |a: &Array, b: &Array, alpha| crate::matmul::reference(a, b, alpha);
    let Inputs { q, k, v, bias, scale, mask, .. } = of;
    let weights = weights_reference(of)?;
    let dweights = dropped_reference(of, product(grad, &v.transpose(2, 3)?, 1.0)?)?;
    let dscores = softmax::backward(&weights, &dweights, mask)?;
    Ok(Gradients {
        q: product(&dscores, k, *scale)?,
        k: sum_heads(&product(&dscores.transpose(2, 3)?, q, *scale)?, k)?,
        v: sum_heads(&product(&dropped_reference(of, weights)?.transpose(2, 3)?, grad, 1.0)?, v)?,
        bias: bias.as_ref().map(|_| distances::gather_reference(&dscores.sum(0)?)).transpose()?,
    })
}

/// One head for all gets the sum of what each would get.
fn sum_heads(grad: &Array, like: &Array) -> Result<Array> {
    if grad.dim(1)? == like.dim(1)? {
        return Ok(grad.clone());
    }
    reduce::sum(grad, &[1])
}

/// An operand, of which each head's part is a matrix at some place of its storage.
struct Operand<'a, T> {
    values: Slice<'a, T>,
    start: usize,
    strides: [usize; 4],
}

impl<'a, T: Real> Operand<'a, T> {
    fn new(array: &'a Array, heads: usize) -> Result<Self> {
        let (values, start) = cpu::strided::<T>(array)?;
        let s = array.stride();
        let by_head = if array.dim(1)? == heads { s[1] } else { 0 };
        Ok(Self { values, start, strides: [s[0], by_head, s[2], s[3]] })
    }

    /// The matrix (length, width) of a head, from row `row` on.
    fn head(&self, batch: usize, head: usize, row: usize) -> View<'_, T> {
        let [b, h, n, d] = self.strides;
        let data = self.values.get(self.start + batch * b + head * h + row * n..).unwrap_or_default();
        View { data, row: n as isize, column: d as isize }
    }
}

/// A product on this thread: heads are what is shared over threads. Rows of `y` begin `stride` numbers after each other.
fn multiply<T: Real>(
    (y, stride): (&mut [T], usize),
    size: (usize, usize, usize),
    a: View<T>,
    b: View<T>,
    alpha: T,
    start: Start<T>,
) {
    product(y, stride, size, a, b, alpha, start, Parallelism::None);
}

fn turned<T>(view: View<'_, T>) -> View<'_, T> {
    View { row: view.column, column: view.row, ..view }
}

fn row_major<T>(data: &[T], width: usize) -> View<'_, T> {
    View { data, row: width as isize, column: 1 }
}

/// Sizes of one attention.
#[derive(Clone, Copy)]
struct Sizes {
    heads: usize,
    i: usize,
    j: usize,
    d: usize,
    dv: usize,
}

fn sizes(q: &Array, k: &Array, v: &Array) -> Result<(usize, Sizes)> {
    let (batch, heads, i, d) = q.dims4()?;
    let ((kb, kh, j, kd), (vb, vh, vj, dv)) = (k.dims4()?, v.dims4()?);
    let fits = |b: usize, h: usize| b == batch && (h == heads || h == 1);
    if !fits(kb, kh) || !fits(vb, vh) || kd != d || vj != j {
        candle_core::bail!("attention: shapes {:?}, {:?} and {:?} do not fit", q.dims(), k.dims(), v.dims());
    }
    Ok((batch, Sizes { heads, i, j, d, dv }))
}

/// What is the same for all blocks of an attention.
struct Attention<'a, T> {
    q: Operand<'a, T>,
    k: Operand<'a, T>,
    v: Operand<'a, T>,
    /// (heads, i + j - 1)
    bias: Option<Slice<'a, T>>,
    rows: Rows<'a>,
    sizes: Sizes,
    scale: T,
    dropout: Option<Dropout>,
}

impl<'a, T: Real> Attention<'a, T> {
    /// `bias` is that of `of`, row by row.
    fn new(of: &'a Inputs, bias: Option<&'a Array>) -> Result<(usize, Self)> {
        let (batch, sizes) = sizes(&of.q, &of.k, &of.v)?;
        let Sizes { heads, i, j, .. } = sizes;
        if let Some(bias) = bias {
            distances::check(bias, heads, i, j)?;
        }
        let rows = Rows::with_dims([batch, heads, i, j], &of.mask)?;
        let bias = bias.map(cpu::slice::<T>).transpose()?;
        let (q, k, v) = (Operand::new(&of.q, heads)?, Operand::new(&of.k, heads)?, Operand::new(&of.v, heads)?);
        Ok((batch, Self { q, k, v, bias, rows, sizes, scale: T::of(of.scale), dropout: of.dropout }))
    }

    /// What is added to the scores of query `row` of a head, for each key.
    fn bias_of(&self, head: usize, row: usize) -> Option<&[T]> {
        let Sizes { i, j, .. } = self.sizes;
        let bias: &[T] = self.bias.as_ref()?;
        bias.get(head * (i + j - 1) + i - 1 - row..)
    }

    /// What dropout multiplies the weights with that query number `row` of all gives to the keys from number `first` on.
    fn factors(&self, dropout: Dropout, row: usize, first: usize, factors: &mut [T]) {
        // more than 32 bits have, where nothing holds all weights
        dropout.factors(row as u64 * self.sizes.j as u64 + first as u64, factors);
    }

    /// What query number `row` of all gives to each key, where it weighs all alike.
    fn shares(&self, row: usize) -> Vec<T> {
        let mut shares = vec![T::ONE; self.sizes.j];
        if let Some(dropout) = self.dropout {
            self.factors(dropout, row, 0, &mut shares);
        }
        let count = T::of(shares.len() as f64);
        shares.iter_mut().for_each(|share| *share /= count);
        shares
    }

    /// What is added to the scores of a tile that begins at key `first`, and what it leaves of them: bias, mask, and number of keys.
    fn limits<'b>(&'b self, place: Place, width: usize, line: &'b mut Vec<u8>) -> Limits<'b, T> {
        let Place { unit, query, key } = place;
        let Sizes { heads, i, .. } = self.sizes;
        let row = unit * i + query;
        let bias = self.bias_of(unit % heads, query).and_then(|bias| bias.get(key..));
        let allowed = self.rows.allowed(row, line).and_then(|allowed| allowed.get(key..));
        let seen = self.rows.seen(row);
        let within = |at: usize| at.saturating_sub(key).min(width);
        Limits { bias, allowed, seen: within(seen.start)..within(seen.end) }
    }

    /// The keys of the tiles that `count` queries of a head see any of, from query `first` on.
    fn tiles(&self, unit: usize, first: usize, count: usize) -> impl Iterator<Item = Range<usize>> {
        let row = unit * self.sizes.i + first;
        let (start, end) = (self.rows.seen(row).start / WIDTH * WIDTH, self.rows.seen(row + count - 1).end);
        (start..end).step_by(WIDTH).map(move |key| key..end.min(key + WIDTH))
    }
}

/// Where a row of a tile is: head (of all of the batch), query, and first key.
#[derive(Clone, Copy)]
struct Place {
    unit: usize,
    query: usize,
    key: usize,
}

/// The rows of an array in the order (batch, n, heads, width), for each batch and head: what threads can write at the same time.
fn rows_by_head<T>(y: &mut [T], n: usize, heads: usize, width: usize) -> Vec<Vec<&mut [T]>> {
    let batch = y.len().checked_div(n * heads * width).unwrap_or(0);
    let mut rows: Vec<Vec<&mut [T]>> = (0..batch * heads).map(|_| Vec::with_capacity(n)).collect();
    for (at, row) in y.chunks_exact_mut(width.max(1)).enumerate() {
        rows[at / (n * heads) * heads + at % heads].push(row);
    }
    rows
}

/// An array (batch, heads, n, width) from values in the order (batch, n, heads, width): layers merge the heads again, which then is
/// no copy.
fn heads_last<T: Real>(values: Vec<T>, [batch, heads, n, width]: [usize; 4]) -> Result<Array> {
    cpu::array(values, (batch, n, heads, width))?.transpose(1, 2)
}
