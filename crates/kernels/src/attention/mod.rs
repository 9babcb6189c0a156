//! Attention in one: `y = softmax(scale · q kᵀ + bias, masked) v`, without the scores in memory.
//!
//! Shapes: `q` is (batch, heads, i, d), `k` (batch, heads or 1, j, d), `v` (batch, heads or 1, j, dv), `y` (batch, heads, i, dv). The bias is one by
//! distance, (heads, i + j - 1): see `distances.rs`.
//! Queries are taken in blocks: a block's scores stay in the cache, and the keys that causality hides from all of it cost nothing.
//! The gradient makes the weights again, block by block.
//! Source: FlashAttention, <https://arxiv.org/abs/2205.14135>; here whole rows of scores fit, so that the softmax needs no rescaling.

mod backward;
pub mod distances;
#[cfg(test)]
mod tests;

use crate::cpu::{self, dispatch, Real, Slice};
use crate::layout::contiguous;
use crate::matmul::{multiplications, product, Start, View};
use crate::parallel::{each, zeros};
use crate::skinny::{soon, Many};
use crate::softmax::{self, weights_in_place, Mask, Rows};
use crate::{Array, Result};
use gemm::Parallelism;

/// How many of `i` queries make a block. Under causality a block computes scores that all but its last query hide: few, where blocks are
/// small beside the sequence. But for each block, the keys and values are packed anew, which costs less in WebAssembly, where the
/// product takes three rows at a time.
fn block_size(i: usize) -> usize {
    match i {
        0..=64 if cfg!(target_family = "wasm") => 24,
        _ if cfg!(target_family = "wasm") => 36,
        0..=64 => 16,
        65..=512 => 96,
        _ => 192,
    }
}

/// Multiplications that one thread does alone.
const SMALL: u64 = 1 << 16;

/// What attention is made of.
#[derive(Clone)]
pub struct Inputs {
    pub q: Array,
    pub k: Array,
    pub v: Array,
    pub bias: Option<Array>,
    pub scale: f64,
    pub mask: Mask,
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
    crate::matmul::reference(&weights_reference(of)?, &of.v, 1.0)
}

fn weights_reference(of: &Inputs) -> Result<Array> {
    let scores = crate::matmul::reference(&of.q, &of.k.transpose(2, 3)?, of.scale)?;
    let scores = match &of.bias {
        Some(bias) => scores.broadcast_add(&distances::spread_reference(bias, scores.dim(2)?, scores.dim(3)?)?)?,
        None => scores,
    };
    softmax::reference(&scores, &of.mask)
}

/// (batch, heads, i, dv).
pub fn forward(of: &Inputs) -> Result<Array> {
    dispatch!(of.q, T => forward_cpu::<T>(of), else reference(of))
}

/// The gradients for `grad`, that of the output.
pub fn backward(of: &Inputs, grad: &Array) -> Result<Gradients> {
    dispatch!(of.q, T => backward::gradients::<T>(of, grad), else backward_reference(of, grad))
}

fn backward_reference(of: &Inputs, grad: &Array) -> Result<Gradients> {
    let product = |a: &Array, b: &Array, alpha| crate::matmul::reference(a, b, alpha);
    let Inputs { q, k, v, bias, scale, mask } = of;
    let weights = weights_reference(of)?;
    let dscores = softmax::backward(&weights, &product(grad, &v.transpose(2, 3)?, 1.0)?, mask)?;
    Ok(Gradients {
        q: product(&dscores, k, *scale)?,
        k: sum_heads(&product(&dscores.transpose(2, 3)?, q, *scale)?, k)?,
        v: sum_heads(&product(&weights.transpose(2, 3)?, grad, 1.0)?, v)?,
        bias: bias.as_ref().map(|_| distances::gather_reference(&dscores.sum(0)?)).transpose()?,
    })
}

/// One head for all gets the sum of what each would get.
fn sum_heads(grad: &Array, like: &Array) -> Result<Array> {
    if grad.dim(1)? == like.dim(1)? {
        return Ok(grad.clone());
    }
    grad.sum_keepdim(1)
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

/// A product on this thread: heads are what is shared over threads.
fn multiply<T: Real>(y: &mut [T], size: (usize, usize, usize), a: View<T>, b: View<T>, alpha: T, start: Start<T>) {
    product(y, size, a, b, alpha, start, Parallelism::None);
}

fn turned<T>(view: View<'_, T>) -> View<'_, T> {
    View { row: view.column, column: view.row, ..view }
}

fn row_major<T>(data: &[T], width: usize) -> View<'_, T> {
    View { data, row: width as isize, column: 1 }
}

/// The first `count` rows of a matrix, where each is one piece of memory.
fn rows_of<T>(view: View<'_, T>, count: usize, width: usize) -> Option<Many<'_, T>> {
    let stride = view.row as usize;
    let there = view.column == 1 && width > 0 && count > 0;
    there.then(|| Many { data: &view.data[..(count - 1) * stride + width], stride, width })
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

/// The weights of a block of queries, (rows, seen): `seen` keys, the first ones, are those that any of its rows sees.
struct Block<T> {
    weights: Vec<T>,
    seen: usize,
    /// Rows without an allowed key: they weigh all keys alike.
    uniform: Vec<bool>,
}

/// Makes `values` hold `count` numbers, whatever they are: they will be written.
fn resize<T: Real>(values: &mut Vec<T>, count: usize) {
    values.truncate(count);
    values.resize(count, T::ZERO);
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
        Ok((batch, Self { q, k, v, bias, rows, sizes, scale: T::of(of.scale) }))
    }

    /// What is added to the scores of query `row` of a head, for each key.
    fn bias_of(&self, head: usize, row: usize) -> Option<&[T]> {
        let Sizes { i, j, .. } = self.sizes;
        let bias: &[T] = self.bias.as_ref()?;
        bias.get(head * (i + j - 1) + i - 1 - row..)
    }

    /// Queries `first` to `first + count` of the head that is number `unit` of all; the weights stand in `buffer`.
    fn block(&self, unit: usize, first: usize, count: usize, buffer: Vec<T>) -> Block<T> {
        let Sizes { heads, i, j, d, .. } = self.sizes;
        let (batch, head) = (unit / heads, unit % heads);
        let row = unit * i + first;
        let seen = self.rows.limit(row + count - 1);
        let mut weights = buffer;
        resize(&mut weights, count * seen);
        let (queries, keys) = (self.q.head(batch, head, first), self.k.head(batch, head, 0));
        match rows_of(keys, seen, d) {
            Some(keys) if count == 1 && queries.column == 1 => {
                T::products(&queries.data[..d], keys, &mut weights);
                // while the weights become probabilities
                soon(self.v.head(batch, head, 0).data);
                weights.iter_mut().for_each(|w| *w *= self.scale);
            }
            _ => multiply(&mut weights, (count, seen, d), queries, turned(keys), self.scale, Start::Nothing),
        }
        let mut line = Vec::new();
        let weigh = |(r, weights): (usize, &mut [T])| {
            let allowed = self.rows.allowed(row + r, &mut line);
            let bias = self.bias_of(head, first + r);
            let uniform = weights_in_place(weights, bias, allowed, self.rows.limit(row + r));
            if uniform {
                weights.fill(T::ZERO);
            }
            uniform
        };
        // a row that sees nothing at all has no place in `weights`
        let uniform = match seen {
            0 => vec![j > 0; count],
            _ => weights.chunks_exact_mut(seen).enumerate().map(weigh).collect(),
        };
        Block { weights, seen, uniform }
    }
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

fn forward_cpu<T: Real>(of: &Inputs) -> Result<Array> {
    let bias = of.bias.as_ref().map(contiguous).transpose()?;
    let (batch, attention) = Attention::<T>::new(of, bias.as_ref())?;
    let Sizes { heads, i, j, d, dv } = attention.sizes;
    let dims = [batch, heads, i, dv];
    let mut y = zeros::<T>(dims.iter().product())?;
    if j > 0 {
        let rows = rows_by_head(&mut y, i, heads, dv);
        // a step of a generation over a short past: waking other threads costs more than it saves
        if multiplications(&[batch, heads, i, j, d + dv]) < SMALL {
            rows.into_iter().enumerate().for_each(|(unit, rows)| attention.gather(unit, rows));
        } else {
            each(rows, |unit, rows| attention.gather(unit, rows));
        }
    }
    heads_last(y, dims)
}

impl<T: Real> Attention<'_, T> {
    /// Writes what the queries of a head gather.
    fn gather(&self, unit: usize, mut rows: Vec<&mut [T]>) {
        let Sizes { heads, i, j, dv, .. } = self.sizes;
        let block_size = block_size(i);
        let values = self.v.head(unit / heads, unit % heads, 0);
        let mut y = vec![T::ZERO; block_size * dv];
        let mut buffer = Vec::with_capacity(block_size.min(i) * j);
        for (block, rows) in rows.chunks_mut(block_size).enumerate() {
            let count = rows.len();
            let Block { weights, seen, uniform } = self.block(unit, block * block_size, count, buffer);
            match rows_of(values, seen, dv) {
                Some(values) if count == 1 => {
                    // this thread's next head
                    soon(self.k.head((unit + 1) / heads, (unit + 1) % heads, 0).data);
                    T::weighted_sum(&weights, values, &mut y[..dv]);
                }
                _ => {
                    let w = row_major(&weights, seen);
                    multiply(&mut y, (count, dv, seen), w, values, T::ONE, Start::Nothing);
                }
            }
            for ((row, y), uniform) in rows.iter_mut().zip(y.chunks_exact(dv)).zip(uniform) {
                match uniform {
                    true => mean(row, values, j),
                    false => row.copy_from_slice(y),
                }
            }
            buffer = weights;
        }
    }
}

/// The mean of `count` rows.
fn mean<T: Real>(y: &mut [T], values: View<T>, count: usize) {
    for (c, y) in y.iter_mut().enumerate() {
        let at = |r: usize| values.data[r * values.row as usize + c * values.column as usize];
        let mut sum = T::ZERO;
        (0..count).for_each(|r| sum += at(r));
        *y = sum / T::of(count as f64);
    }
}
