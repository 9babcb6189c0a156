//! The gates of a recurrent unit: `y = (1 - z) n + z state` with r = σ(i_r + s_r), z = σ(i_z + s_z), n = tanh(i_n + r s_n).
//!
//! Shapes: `input` and `hidden`, what linear layers make of input and state, are (.., 3 dim) in PyTorch's order (reset r, update z, new n);
//! `state` and `y` are (.., dim).
//! Source: <https://arxiv.org/abs/1406.1078>.

use crate::host::parallel::{cleared, computed, part, rows_per_piece, written_beside, zeros};
use crate::host::simd::has_fma;
use crate::host::{self, dispatch, Real};
use crate::ops::activation::logistic;
use crate::ops::layout::{contiguous, narrow};
use crate::{Array, Result};
use candle_nn::ops::sigmoid;
use multiversion::multiversion;
use std::mem::MaybeUninit;

/// What the gates are made of.
#[derive(Clone)]
pub struct Inputs {
    pub input: Array,
    pub hidden: Array,
    pub state: Array,
}

impl Inputs {
    /// An error where the shapes do not fit.
    pub fn check(&self) -> Result<()> {
        let (dims, dim) = (self.state.dims(), self.state.dims().last().copied().unwrap_or(0));
        let fits = |gates: &Array| {
            gates.dims().split_last().is_some_and(|(last, rows)| *last == 3 * dim && rows == &dims[..dims.len() - 1])
        };
        if dims.is_empty() || !fits(&self.input) || !fits(&self.hidden) {
            let (input, hidden) = (self.input.dims(), self.hidden.dims());
            candle_core::bail!("gates {input:?} and {hidden:?} do not fit a state {dims:?}");
        }
        Ok(())
    }

    /// Reset, update and new.
    fn gates(&self) -> Result<[Array; 3]> {
        let last = self.state.rank() - 1;
        let dim = self.state.dims()[last];
        let part = |x: &Array, gate: usize| narrow(x, last, gate * dim, dim);
        let (reset, update) = (
            sigmoid(&(part(&self.input, 0)? + part(&self.hidden, 0)?)?)?,
            sigmoid(&(part(&self.input, 1)? + part(&self.hidden, 1)?)?)?,
        );
        let new = (part(&self.input, 2)? + (&reset * part(&self.hidden, 2)?)?)?.tanh()?;
        Ok([reset, update, new])
    }
}

/// The gates on candle's own operations.
pub fn reference(of: &Inputs) -> Result<Array> {
    let [_, update, new] = of.gates()?;
    &new + (update * (&of.state - &new)?)?
}

/// The new state.
pub fn forward(of: &Inputs) -> Result<Array> {
    of.check()?;
    dispatch!(of.state, T => forward_cpu::<T>(of), else reference(of))
}

/// Gradients of input, hidden and state for `grad`, that of the new state.
pub fn backward(of: &Inputs, grad: &Array) -> Result<[Array; 3]> {
    of.check()?;
    dispatch!(of.state, T => backward_cpu::<T>(of, grad), else backward_reference(of, grad))
}

fn backward_reference(of: &Inputs, grad: &Array) -> Result<[Array; 3]> {
    let [reset, update, new] = of.gates()?;
    let last = of.state.rank() - 1;
    let dim = of.state.dims()[last];
    let slope = |gate: &Array| gate * (1.0 - gate)?;
    let dnew = ((grad * (1.0 - &update)?)? * (1.0 - new.sqr()?)?)?;
    let dupdate = ((grad * (&of.state - &new)?)? * slope(&update)?)?;
    let dreset = ((&dnew * narrow(&of.hidden, last, 2 * dim, dim)?)? * slope(&reset)?)?;
    let hidden = Array::cat(&[&dreset, &dupdate, &(&dnew * reset)?], last)?;
    Ok([Array::cat(&[dreset, dupdate, dnew], last)?, hidden, (grad * update)?])
}

fn forward_cpu<T: Real>(of: &Inputs) -> Result<Array> {
    let (input, hidden, state) = (contiguous(&of.input)?, contiguous(&of.hidden)?, contiguous(&of.state)?);
    let (_, dim) = host::rows_and_width(&state);
    let (i, h, s) = (host::slice::<T>(&input)?, host::slice::<T>(&hidden)?, host::slice::<T>(&state)?);
    let (i, h, s): (&[T], &[T], &[T]) = (&i, &h, &s);
    let count = rows_per_piece(dim);
    let y = computed(s.len(), count * dim, |piece, y: &mut [T]| {
        for (r, y) in y.chunks_exact_mut(dim.max(1)).enumerate() {
            let row = piece * count + r;
            forward_row(part(i, row, 3 * dim), part(h, row, 3 * dim), part(s, row, dim), y);
        }
    })?;
    host::array(y, state.dims())
}

fn backward_cpu<T: Real>(of: &Inputs, grad: &Array) -> Result<[Array; 3]> {
    let (input, hidden, state) = (contiguous(&of.input)?, contiguous(&of.hidden)?, contiguous(&of.state)?);
    let grad = contiguous(grad)?;
    if grad.dims() != state.dims() {
        candle_core::bail!("a gradient {:?} for a state {:?}", grad.dims(), state.dims());
    }
    let (_, dim) = host::rows_and_width(&state);
    let (i, h, s) = (host::slice::<T>(&input)?, host::slice::<T>(&hidden)?, host::slice::<T>(&state)?);
    let g = host::slice::<T>(&grad)?;
    let (i, h, s, g): (&[T], &[T], &[T], &[T]) = (&i, &h, &s, &g);
    let count = rows_per_piece(3 * dim);
    let (mut dhidden, mut dstate) = (zeros::<T>(h.len())?, zeros::<T>(s.len())?);
    let block = (count * dim).max(1);
    let others = dhidden.chunks_mut(3 * block).zip(dstate.chunks_mut(block)).collect();
    let write = |piece, di: &mut [MaybeUninit<T>], (dh, ds): (&mut [T], &mut [T])| {
        let rows =
            cleared(di).chunks_exact_mut(3 * dim).zip(dh.chunks_exact_mut(3 * dim)).zip(ds.chunks_exact_mut(dim));
        for (r, ((di, dh), ds)) in rows.enumerate() {
            let row = piece * count + r;
            let inputs = [part(i, row, 3 * dim), part(h, row, 3 * dim), part(s, row, dim), part(g, row, dim)];
            backward_row(inputs, di, dh, ds);
        }
    };
    // SAFETY: it clears all that it is given.
    let dinput = unsafe { written_beside(i.len(), 3 * block, others, write) }?;
    Ok([host::array(dinput, input.dims())?, host::array(dhidden, hidden.dims())?, host::array(dstate, state.dims())?])
}

#[inline(always)]
fn tanh<T: Real, const FMA: bool>(x: T) -> T {
    let two = T::of(2.0);
    two * logistic::<T, FMA>(two * x) - T::ONE
}

/// Three parts of `dim` numbers.
#[inline(always)]
fn thirds<T>(x: &[T], dim: usize) -> [&[T]; 3] {
    [&x[..dim], &x[dim..2 * dim], &x[2 * dim..3 * dim]]
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn forward_row<T: Real>(input: &[T], hidden: &[T], state: &[T], y: &mut [T]) {
    const FMA: bool = has_fma!();
    let dim = y.len();
    let ([ir, iz, i], [hr, hz, h], state) = (thirds(input, dim), thirds(hidden, dim), &state[..dim]);
    for k in 0..dim {
        let (r, z) = (logistic::<T, FMA>(ir[k] + hr[k]), logistic::<T, FMA>(iz[k] + hz[k]));
        let n = tanh::<T, FMA>(i[k] + r * h[k]);
        y[k] = n + z * (state[k] - n);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
fn backward_row<T: Real>(
    [input, hidden, state, grad]: [&[T]; 4],
    dinput: &mut [T],
    dhidden: &mut [T],
    dstate: &mut [T],
) {
    const FMA: bool = has_fma!();
    let dim = dstate.len();
    let ([ir, iz, i], [hr, hz, h]) = (thirds(input, dim), thirds(hidden, dim));
    let (state, grad) = (&state[..dim], &grad[..dim]);
    let (dr, rest) = dinput.split_at_mut(dim);
    let (dz, dn) = rest.split_at_mut(dim);
    let (dn, dhidden) = (&mut dn[..dim], &mut dhidden[..3 * dim]);
    for k in 0..dim {
        let (r, z) = (logistic::<T, FMA>(ir[k] + hr[k]), logistic::<T, FMA>(iz[k] + hz[k]));
        let n = tanh::<T, FMA>(i[k] + r * h[k]);
        let g = grad[k];
        dn[k] = g * (T::ONE - z) * (T::ONE - n * n);
        dz[k] = g * (state[k] - n) * z * (T::ONE - z);
        dr[k] = dn[k] * h[k] * r * (T::ONE - r);
        dhidden[2 * dim + k] = dn[k] * r;
        dstate[k] = g * z;
    }
    dhidden[..dim].copy_from_slice(dr);
    dhidden[dim..2 * dim].copy_from_slice(dz);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, differences, f64s, normal};

    fn inputs(rows: &[usize], dim: usize) -> (Inputs, Array) {
        let of = |width: usize, seed| (normal(&[rows, &[width]].concat(), seed) * 2.0).unwrap();
        (Inputs { input: of(3 * dim, 1), hidden: of(3 * dim, 2), state: of(dim, 3) }, of(dim, 4))
    }

    #[test]
    fn equals_the_reference() {
        for (rows, dim) in [(&[2, 3][..], 5), (&[700], 33), (&[1], 1), (&[0], 4)] {
            let (of, grad) = inputs(rows, dim);
            close(&forward(&of).unwrap(), &reference(&of).unwrap(), 1e-6);
            let (got, want) = (backward(&of, &grad).unwrap(), backward_reference(&of, &grad).unwrap());
            got.iter().zip(&want).for_each(|(got, want)| close(got, want, 1e-5));
        }
    }

    #[test]
    fn gradients_agree_with_differences() {
        let (of, grad) = inputs(&[2, 2], 3);
        let of = Inputs { input: f64s(&of.input), hidden: f64s(&of.hidden), state: f64s(&of.state) };
        let grad = f64s(&grad);
        let [input, hidden, state] = backward(&of, &grad).unwrap();
        differences(&of.input, &grad, &input, |x| forward(&Inputs { input: x.clone(), ..of.clone() }).unwrap());
        differences(&of.hidden, &grad, &hidden, |x| forward(&Inputs { hidden: x.clone(), ..of.clone() }).unwrap());
        differences(&of.state, &grad, &state, |x| forward(&Inputs { state: x.clone(), ..of.clone() }).unwrap());
    }

    #[test]
    fn misfitting_shapes_are_errors() {
        let (of, _) = inputs(&[2], 3);
        let message = forward(&Inputs { state: normal(&[2, 4], 1), ..of }).unwrap_err().to_string();
        assert!(message.contains("[2, 9]") && message.contains("[2, 4]"), "{message}");
    }
}
