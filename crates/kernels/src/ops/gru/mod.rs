//! The gates of a gated recurrent unit (GRU): `y = (1 - z) n + z state`, where `r = σ(i_r + s_r)`,
//! `z = σ(i_z + s_z)` and `n = tanh(i_n + r s_n)`.
//!
//! Shapes: `input` and `hidden`, the results of linear layers of the input and the state, are
//! (.., 3 dim) in the order of PyTorch: reset gate r, update gate z, new state n. `state` and `y`
//! are (.., dim).
//!
//! Source: <https://arxiv.org/abs/1406.1078>.

#[cfg(feature = "cuda")]
mod cuda;

use crate::array::HostArray;
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::host::parallel::{
    build_uninit_zip, build_zeroed, nth_chunk, rows_per_piece, zero_init, zeros,
};
use crate::host::simd::has_fma;
use crate::host::{self, Real};
use crate::kernel::{arrays, run, Kernel};
use crate::ops::activation::logistic;
use crate::ops::layout::{contiguous, narrow_on_host};
#[cfg(test)]
use crate::testing::normal64;
use crate::{Array, Result};
use candle_nn::ops::sigmoid;
use std::mem::MaybeUninit;
#[cfg(feature = "cuda")]
use std::sync::Arc;
use xt_macros::simd;

/// The inputs of the gates.
#[derive(Clone)]
pub struct GruArgs {
    /// Result of the linear layer of the input, (.., 3 dim): i_r, i_z, i_n.
    pub input: Array,
    /// Result of the linear layer of the state, (.., 3 dim): s_r, s_z, s_n.
    pub hidden: Array,
    /// The previous state, (.., dim).
    pub state: Array,
}

impl GruArgs {
    /// Checks the shapes.
    ///
    /// # Errors
    /// If they do not fit together.
    pub fn check(&self) -> Result<()> {
        let (dims, dim) = (self.state.dims(), self.state.dims().last().copied().unwrap_or(0));
        let fits = |gates: &Array| {
            gates
                .dims()
                .split_last()
                .is_some_and(|(last, rows)| *last == 3 * dim && rows == &dims[..dims.len() - 1])
        };
        if dims.is_empty() || !fits(&self.input) || !fits(&self.hidden) {
            let (input, hidden) = (self.input.dims(), self.hidden.dims());
            bail!("gates {input:?} and {hidden:?} do not fit a state {dims:?}");
        }
        Ok(())
    }

    /// The inputs, the hidden values and the state.
    #[cfg(feature = "cuda")]
    fn arrays(&self) -> [&Array; 3] {
        [&self.input, &self.hidden, &self.state]
    }

    /// The values of r, z and n, each (.., dim).
    fn gates(&self) -> Result<[HostArray; 3]> {
        let (input, hidden) = (self.input.host()?, self.hidden.host()?);
        let last = self.state.rank() - 1;
        let dim = self.state.dims()[last];
        let gate = |x: &HostArray, index: usize| narrow_on_host(x, last, index * dim, dim);
        let (reset, update) = (
            sigmoid(&(gate(input, 0)? + gate(hidden, 0)?)?)?,
            sigmoid(&(gate(input, 1)? + gate(hidden, 1)?)?)?,
        );
        let new = (gate(input, 2)? + (&reset * gate(hidden, 2)?)?)?.tanh()?;
        Ok([reset, update, new])
    }
}

/// Kernel of [`forward`].
#[derive(Clone)]
struct Forward {
    of: GruArgs,
}

/// Kernel of [`backward`].
#[derive(Clone)]
struct Backward {
    of: GruArgs,
    /// Gradient of the new state, (.., dim).
    grad: Array,
}

arrays! {
    GruArgs { state, input, hidden }
    Forward { of }
    Backward { of, grad }
}

#[cfg(test)]
fn inputs(rows: &[usize], dim: usize) -> (GruArgs, Array) {
    let of = |width: usize, seed| {
        crate::testing::map(&normal64(&[rows, &[width]].concat(), seed), |x| 2.0 * x)
    };
    (GruArgs { input: of(3 * dim, 1), hidden: of(3 * dim, 2), state: of(dim, 3) }, of(dim, 4))
}

#[cfg(test)]
const SIZES: [(&[usize], usize); 4] = [(&[2, 3], 5), (&[700], 33), (&[1], 1), (&[0], 4)];

impl Kernel for Forward {
    const NAME: &'static str = "gru";
    type Out = Array;

    fn check(&self) -> Result<()> {
        self.of.check()
    }

    fn reference(&self) -> Result<Array> {
        let [_, update, new] = self.of.gates()?;
        Ok((&new + (update * (self.of.state.host()? - &new)?)?)?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        forward_cpu::<T>(&self.of)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        cuda::forward(self.of.arrays(), gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        SIZES.map(|(rows, dim)| Self { of: inputs(rows, dim).0 }).into()
    }
}

impl Kernel for Backward {
    const NAME: &'static str = "gru backward";
    type Out = [Array; 3];

    fn check(&self) -> Result<()> {
        self.of.check()?;
        if self.grad.dims() != self.of.state.dims() {
            bail!("a gradient {:?} for a state {:?}", self.grad.dims(), self.of.state.dims());
        }
        Ok(())
    }

    fn reference(&self) -> Result<[Array; 3]> {
        let [reset, update, new] = self.of.gates()?;
        let (grad, state) = (self.grad.host()?, self.of.state.host()?);
        let last = state.rank() - 1;
        let dim = state.dims()[last];
        let slope = |gate: &HostArray| gate * (1.0 - gate)?;
        let dnew = ((grad * (1.0 - &update)?)? * (1.0 - new.sqr()?)?)?;
        let dupdate = ((grad * (state - &new)?)? * slope(&update)?)?;
        let dreset = ((&dnew * narrow_on_host(self.of.hidden.host()?, last, 2 * dim, dim)?)?
            * slope(&reset)?)?;
        let hidden = HostArray::cat(&[&dreset, &dupdate, &(&dnew * reset)?], last)?;
        let input = HostArray::cat(&[dreset, dupdate, dnew], last)?;
        Ok([input.into(), hidden.into(), (grad * update)?.into()])
    }

    fn cpu<T: Blas>(&self) -> Result<[Array; 3]> {
        backward_cpu::<T>(&self.of, &self.grad)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<[Array; 3]> {
        cuda::backward(self.of.arrays(), &self.grad, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |(rows, dim)| {
            let (of, grad) = inputs(rows, dim);
            Self { of, grad }
        };
        SIZES.map(of).into()
    }
}

/// Computes the new state, (.., dim).
///
/// # Errors
/// If the shapes do not fit together.
pub fn forward(of: &GruArgs) -> Result<Array> {
    run(&Forward { of: of.clone() })
}

/// Computes the gradients of input, (.., 3 dim), hidden, (.., 3 dim), and state, (.., dim), from
/// `grad`, the gradient of the new state, (.., dim).
///
/// # Errors
/// If the shapes do not fit together.
pub fn backward(of: &GruArgs, grad: &Array) -> Result<[Array; 3]> {
    run(&Backward { of: of.clone(), grad: grad.clone() })
}

/// CPU kernel of [`forward`].
fn forward_cpu<T: Real>(of: &GruArgs) -> Result<Array> {
    let (input, hidden, state) =
        (contiguous(&of.input)?, contiguous(&of.hidden)?, contiguous(&of.state)?);
    let (_, dim) = host::rows_and_width(&state);
    let (i, h, s) =
        (host::slice::<T>(&input)?, host::slice::<T>(&hidden)?, host::slice::<T>(&state)?);
    let (i, h, s): (&[T], &[T], &[T]) = (&i, &h, &s);
    let count = rows_per_piece(dim);
    let y = build_zeroed(s.len(), count * dim, |piece, y: &mut [T]| {
        for (r, y) in y.chunks_exact_mut(dim.max(1)).enumerate() {
            let row = piece * count + r;
            forward_row(
                nth_chunk(i, row, 3 * dim),
                nth_chunk(h, row, 3 * dim),
                nth_chunk(s, row, dim),
                y,
            );
        }
    })?;
    host::array(y, state.dims())
}

/// CPU kernel of [`backward`].
fn backward_cpu<T: Real>(of: &GruArgs, grad: &Array) -> Result<[Array; 3]> {
    let (input, hidden, state) =
        (contiguous(&of.input)?, contiguous(&of.hidden)?, contiguous(&of.state)?);
    let grad = contiguous(grad)?;
    let (_, dim) = host::rows_and_width(&state);
    let (i, h, s) =
        (host::slice::<T>(&input)?, host::slice::<T>(&hidden)?, host::slice::<T>(&state)?);
    let g = host::slice::<T>(&grad)?;
    let (i, h, s, g): (&[T], &[T], &[T], &[T]) = (&i, &h, &s, &g);
    let count = rows_per_piece(3 * dim);
    let (mut dhidden, mut dstate) = (zeros::<T>(h.len())?, zeros::<T>(s.len())?);
    let block = (count * dim).max(1);
    let others = dhidden.chunks_mut(3 * block).zip(dstate.chunks_mut(block)).collect();
    let write = |piece, di: &mut [MaybeUninit<T>], (dh, ds): (&mut [T], &mut [T])| {
        let rows = zero_init(di)
            .chunks_exact_mut(3 * dim)
            .zip(dh.chunks_exact_mut(3 * dim))
            .zip(ds.chunks_exact_mut(dim));
        for (r, ((di, dh), ds)) in rows.enumerate() {
            let row = piece * count + r;
            let inputs = [
                nth_chunk(i, row, 3 * dim),
                nth_chunk(h, row, 3 * dim),
                nth_chunk(s, row, dim),
                nth_chunk(g, row, dim),
            ];
            backward_row(inputs, di, dh, ds);
        }
    };
    // SAFETY: `write` initialises its whole piece of the gradient of the input by `zero_init`.
    let dinput = unsafe { build_uninit_zip(i.len(), 3 * block, others, write) }?;
    Ok([
        host::array(dinput, input.dims())?,
        host::array(dhidden, hidden.dims())?,
        host::array(dstate, state.dims())?,
    ])
}

#[inline(always)]
fn tanh<T: Real, const FMA: bool>(x: T) -> T {
    let two = T::of(2.0);
    two * logistic::<T, FMA>(two * x) - T::ONE
}

/// The three parts of `dim` numbers of a row of gates.
#[inline(always)]
fn thirds<T>(x: &[T], dim: usize) -> [&[T]; 3] {
    [&x[..dim], &x[dim..2 * dim], &x[2 * dim..3 * dim]]
}

#[simd]
fn forward_row<T: Real>(input: &[T], hidden: &[T], state: &[T], y: &mut [T]) {
    const FMA: bool = has_fma!();
    let dim = y.len();
    let ([ir, iz, i], [hr, hz, h], state) =
        (thirds(input, dim), thirds(hidden, dim), &state[..dim]);
    for k in 0..dim {
        let (r, z) = (logistic::<T, FMA>(ir[k] + hr[k]), logistic::<T, FMA>(iz[k] + hz[k]));
        let n = tanh::<T, FMA>(i[k] + r * h[k]);
        y[k] = n + z * (state[k] - n);
    }
}

#[simd]
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
    use crate::kernel::Arrays;
    use crate::testing::{assert_matches_reference, gradcheck, on_device};

    /// [`inputs`] on the device that `XT_DEVICE` names.
    fn inputs_on_device(rows: &[usize], dim: usize) -> (GruArgs, Array) {
        let mut all = inputs(rows, dim);
        all.each_mut(&mut |array| *array = on_device(array));
        all
    }

    #[test]
    fn equals_the_reference() {
        assert_matches_reference::<Forward>(4e-6);
        assert_matches_reference::<Backward>(1e-5);
    }

    #[test]
    fn gradients_agree_with_differences() {
        let (of, grad) = inputs_on_device(&[2, 2], 3);
        let [input, hidden, state] = backward(&of, &grad).unwrap();
        gradcheck(&of.input, &grad, &input, |x| {
            forward(&GruArgs { input: on_device(x), ..of.clone() }).unwrap()
        });
        gradcheck(&of.hidden, &grad, &hidden, |x| {
            forward(&GruArgs { hidden: on_device(x), ..of.clone() }).unwrap()
        });
        gradcheck(&of.state, &grad, &state, |x| {
            forward(&GruArgs { state: on_device(x), ..of.clone() }).unwrap()
        });
    }

    #[test]
    fn misfitting_shapes_are_errors() {
        let (of, _) = inputs_on_device(&[2], 3);
        let state = on_device(&normal64(&[2, 4], 1));
        let message = forward(&GruArgs { state, ..of }).unwrap_err().to_string();
        assert!(message.contains("[2, 9]") && message.contains("[2, 4]"), "{message}");
    }
}
