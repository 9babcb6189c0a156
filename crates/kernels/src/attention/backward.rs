//! The gradient of attention, block by block: the weights are made again.

use super::{
    block_size, heads_last, multiply, resize, row_major, rows_by_head, sum_heads, turned, Attention, Block, Gradients,
    Inputs, Operand, Sizes,
};
use crate::cpu::{self, Real};
use crate::layout::contiguous;
use crate::linear::add_assign;
use crate::matmul::{Start, View};
use crate::parallel::{each, zeros};
use crate::softmax::backward_row;
use crate::{Array, Result};

/// The gradients of the inputs.
pub(super) fn gradients<T: Real>(of: &Inputs, grad: &Array) -> Result<Gradients> {
    let bias = of.bias.as_ref().map(contiguous).transpose()?;
    let (batch, attention) = Attention::<T>::new(of, bias.as_ref())?;
    let Sizes { heads, i, j, d, dv } = attention.sizes;
    let grad = Operand::<T>::new(grad, heads)?;
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
        each(rows.collect(), |unit, rows| attention.head_gradients(unit, &grad, rows));
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

/// The rows of a head's gradients, in their places.
struct HeadRows<'a, T> {
    q: Vec<&'a mut [T]>,
    k: Vec<&'a mut [T]>,
    v: Vec<&'a mut [T]>,
    /// By distance; empty where there is no bias.
    bias: &'a mut [T],
}

impl<T: Real> Attention<'_, T> {
    fn head_gradients(&self, unit: usize, grad: &Operand<T>, mut rows: HeadRows<T>) {
        let Sizes { heads, i, j, d, dv } = self.sizes;
        let (batch, head) = (unit / heads, unit % heads);
        let (mut dk, mut dvalues) = (vec![T::ZERO; j * d], vec![T::ZERO; j * dv]);
        let (keys, values) = (self.k.head(batch, head, 0), self.v.head(batch, head, 0));
        let block_size = block_size(i);
        let mut dq = vec![T::ZERO; block_size * d];
        let room = || Vec::with_capacity(block_size.min(i) * j);
        let (mut buffer, mut dweights, mut dscores) = (room(), room(), room());
        for first in (0..i).step_by(block_size) {
            let count = (i - first).min(block_size);
            let Block { weights, seen, uniform } = self.block(unit, first, count, buffer);
            let (dy, queries) = (grad.head(batch, head, first), self.q.head(batch, head, first));
            uniform_gradient(&mut dvalues, dy, &uniform, (j, dv));
            if seen == 0 {
                buffer = weights;
                continue;
            }
            resize(&mut dweights, count * seen);
            multiply(&mut dweights, (count, seen, dv), dy, turned(values), T::ONE, Start::Nothing);
            let w = turned(row_major(&weights, seen));
            multiply(&mut dvalues, (seen, dv, count), w, dy, T::ONE, Start::Own);
            // keys that a row does not see get nothing
            dscores.clear();
            dscores.resize(count * seen, T::ZERO);
            for (r, dx) in dscores.chunks_exact_mut(seen).enumerate().filter(|(r, _)| !uniform[*r]) {
                let limit = self.rows.limit(unit * i + first + r);
                let row = r * seen..r * seen + limit;
                backward_row(&weights[row.clone()], &dweights[row], &mut dx[..limit]);
                if !rows.bias.is_empty() {
                    add_assign(&mut rows.bias[i - 1 - first - r..], &dx[..limit]);
                }
            }
            let ds = row_major(&dscores, seen);
            multiply(&mut dq, (count, d, seen), ds, keys, self.scale, Start::Nothing);
            place(&mut rows.q[first..first + count], &dq);
            multiply(&mut dk, (seen, d, count), turned(ds), queries, self.scale, Start::Own);
            buffer = weights;
        }
        place(&mut rows.k, &dk);
        place(&mut rows.v, &dvalues);
    }
}

/// Copies rows to where they belong.
fn place<T: Copy>(rows: &mut [&mut [T]], values: &[T]) {
    let width = rows.first().map_or(1, |row| row.len());
    rows.iter_mut().zip(values.chunks_exact(width.max(1))).for_each(|(row, values)| row.copy_from_slice(values));
}

/// Rows that weigh all keys alike give each value the same share of their gradient.
fn uniform_gradient<T: Real>(dv: &mut [T], dy: View<T>, uniform: &[bool], (j, width): (usize, usize)) {
    let share = T::ONE / T::of(j as f64);
    for r in uniform.iter().enumerate().filter(|(_, uniform)| **uniform).map(|(r, _)| r) {
        for row in dv.chunks_exact_mut(width.max(1)) {
            for (c, x) in row.iter_mut().enumerate() {
                *x += share * dy.data[r * dy.row as usize + c * dy.column as usize];
            }
        }
    }
}
