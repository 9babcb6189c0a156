//! Updates of many parameters in one pass, which change the optimizer states in place.

#[cfg(feature = "cuda")]
use super::cuda;
use super::out_of_place::OutOfPlace;
use super::step::{Adam, Lion, Sgd, Step, Update};
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::host::parallel::{for_each, nth_chunk, PIECE};
use crate::host::{self, Real, Slice};
#[cfg(test)]
use crate::kernel::Arrays;
use crate::kernel::{arrays, run, Kernel};
use crate::memory::alloc;
use crate::ops::in_place;
use crate::ops::layout::contiguous;
#[cfg(test)]
use crate::testing::normal64;
use crate::{Array, DType, Result};
use std::mem::MaybeUninit;
#[cfg(feature = "cuda")]
use std::sync::Arc;
use xt_macros::simd;

/// Kernel of [`update_all`].
#[derive(Clone)]
pub(super) struct InPlace {
    updates: Vec<Update>,
}

arrays!(InPlace { updates });

impl Kernel for InPlace {
    const NAME: &'static str = "optimizer";
    type Out = Vec<Array>;

    fn check(&self) -> Result<()> {
        self.updates.iter().try_for_each(Update::check)?;
        let known = |of: &Update| matches!(of.weight.dtype(), DType::F32 | DType::F64);
        if !self.updates.iter().all(known) {
            bail!("a step in place needs f32 or f64");
        }
        Ok(())
    }

    fn reference(&self) -> Result<Vec<Array>> {
        let each = self.updates.iter().map(|update| {
            let (weight, step) = OutOfPlace { update: update.clone() }.reference()?;
            let states = update.step.state().into_iter().zip(step.state());
            states.into_iter().try_for_each(|(old, new)| in_place::write(old, new))?;
            Ok(weight)
        });
        each.collect()
    }

    fn cpu<T: Blas>(&self) -> Result<Vec<Array>> {
        update_cpu::<T>(&self.updates)
    }

    #[cfg(test)]
    fn changed(&self) -> Vec<&Array> {
        self.updates.iter().flat_map(|update| update.step.state()).collect()
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Vec<Array>> {
        cuda::in_place(&self.updates, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let all = |dims: [usize; 2], seed| {
            let of = move |step| {
                let (weight, grad) = (normal64(&dims, seed), normal64(&dims, seed + 1));
                Update { weight, grad, factor: 0.3, step }
            };
            super::tests::steps(&dims).into_iter().map(of)
        };
        let updates = all([3, 7], 1).chain(all([1, 1], 3)).chain(all([5, PIECE], 5));
        vec![Self { updates: updates.chain(all([0, 4], 7)).collect() }]
    }

    #[cfg(test)]
    const HALF: bool = false;

    #[cfg(test)]
    fn prepare(&mut self) {
        for update in &mut self.updates {
            update.step.each_mut(&mut |array| *array = array.copy().unwrap());
        }
    }
}

/// Computes the new weight of each parameter, and updates the states of the optimizer in place.
///
/// All arrays must be of one type, f32 or f64, and on one device. The state arrays must be whole
/// storages that nothing else refers to.
///
/// # Errors
/// If an array has the wrong type, device, shape or storage size; nothing has changed then.
pub fn update_all(updates: &[Update]) -> Result<Vec<Array>> {
    match updates {
        [] => Ok(Vec::new()),
        _ => run(&InPlace { updates: updates.into() }),
    }
}

/// CPU kernel of [`update_all`].
fn update_cpu<T: Real>(updates: &[Update]) -> Result<Vec<Array>> {
    let operands = updates.iter().map(|of| Ok([contiguous(&of.weight)?, contiguous(&of.grad)?]));
    let operands = operands.collect::<Result<Vec<_>>>()?;
    let slices = operands.iter().map(|[w, g]| Ok([host::slice::<T>(w)?, host::slice::<T>(g)?]));
    let slices = slices.collect::<Result<Vec<[Slice<T>; 2]>>>()?;
    let mut outputs = Vec::with_capacity(updates.len());
    let mut states = Vec::with_capacity(updates.len());
    for (of, [w, _]) in updates.iter().zip(&slices) {
        outputs.push(alloc::with_capacity::<T>(w.len())?);
        // SAFETY: `updates` keeps the arrays alive until the end of this function, and the caller
        // of `update_all` guarantees that nothing else uses their storages.
        let arrays = of
            .step
            .state()
            .into_iter()
            .map(|array| unsafe { in_place::values::<T>(array, w.len()) });
        states.push(arrays.collect::<Result<Vec<_>>>()?);
    }
    let mut pieces = Vec::new();
    for (((of, [w, g]), output), state) in updates.iter().zip(&slices).zip(&mut outputs).zip(states)
    {
        let new_chunks = output.spare_capacity_mut()[..w.len()].chunks_mut(PIECE);
        let mut state: Vec<_> = state.into_iter().map(|values| values.chunks_mut(PIECE)).collect();
        for (i, new) in new_chunks.enumerate() {
            let state = state.iter_mut().filter_map(Iterator::next).collect();
            pieces.push(Piece {
                new,
                state,
                w: nth_chunk(w, i, PIECE),
                g: nth_chunk(g, i, PIECE),
                of,
            });
        }
    }
    for_each(pieces, |_, piece| piece.write());
    let weights = outputs.into_iter().zip(updates).map(|(mut new, of)| {
        // SAFETY: the pieces cover the whole capacity in use, and each piece has written all of its
        // numbers.
        unsafe { new.set_len(of.weight.elem_count()) };
        host::array(new, of.weight.dims())
    });
    weights.collect()
}

/// A part of a parameter, which one task updates.
struct Piece<'a, T> {
    /// The new weights.
    new: &'a mut [MaybeUninit<T>],
    /// The state arrays.
    state: Vec<&'a mut [T]>,
    /// The weights.
    w: &'a [T],
    /// The gradients.
    g: &'a [T],
    /// The update that this is a part of.
    of: &'a Update,
}

impl<T: Real> Piece<'_, T> {
    fn write(mut self) {
        if cfg!(test) {
            self.new.fill(MaybeUninit::new(T::of(f64::NAN)));
        }
        let factor = self.of.factor;
        match (&self.of.step, &mut self.state[..]) {
            (Step::Adam { settings, .. }, [m, v]) => {
                adam_slice(self.new, [m, v], [self.w, self.g], factor, *settings)
            }
            (Step::Sgd { settings, .. }, [b]) => {
                momentum_slice(self.new, b, [self.w, self.g], factor, *settings)
            }
            (Step::Sgd { settings, .. }, _) => {
                sgd_slice(self.new, [self.w, self.g], factor, *settings)
            }
            (Step::Lion { settings, .. }, [m]) => {
                lion_slice(self.new, m, [self.w, self.g], factor, *settings)
            }
            (Step::Adam { .. } | Step::Lion { .. }, _) => {}
        }
    }
}

#[simd]
fn adam_slice<T: Real>(
    new: &mut [MaybeUninit<T>],
    [m, v]: [&mut [T]; 2],
    [w, g]: [&[T]; 2],
    factor: f64,
    s: Adam,
) {
    let (rate, root) = s.corrections();
    let (rate, inverse_root, eps, factor) =
        (T::of(rate), T::of(1.0 / root), T::of(s.eps), T::of(factor));
    let (b1, c1, b2, c2) =
        (T::of(s.beta1), T::of(1.0 - s.beta1), T::of(s.beta2), T::of(1.0 - s.beta2));
    let shrink = T::of(if s.decoupled { 1.0 - s.lr * s.weight_decay } else { 1.0 });
    let decay = T::of(if s.decoupled { 0.0 } else { s.weight_decay });
    let n = w.len();
    let (g, new, m, v) = (&g[..n], &mut new[..n], &mut m[..n], &mut v[..n]);
    for i in 0..n {
        let g = g[i] * factor + decay * w[i];
        m[i] = b1 * m[i] + c1 * g;
        v[i] = b2 * v[i] + c2 * g * g;
        new[i] = MaybeUninit::new(w[i] * shrink - rate * m[i] / (v[i].sqrt() * inverse_root + eps));
    }
}

#[simd]
fn lion_slice<T: Real>(
    new: &mut [MaybeUninit<T>],
    m: &mut [T],
    [w, g]: [&[T]; 2],
    factor: f64,
    s: Lion,
) {
    let [lr, shrink, factor] = [s.lr, 1.0 - s.lr * s.weight_decay, factor].map(T::of);
    let [b1, c1, b2, c2] = [s.beta1, 1.0 - s.beta1, s.beta2, 1.0 - s.beta2].map(T::of);
    let n = w.len();
    let (g, new, m) = (&g[..n], &mut new[..n], &mut m[..n]);
    for i in 0..n {
        let g = g[i] * factor;
        let direction = b1 * m[i] + c1 * g;
        let up = if direction > T::ZERO { lr } else { T::ZERO };
        let down = if direction < T::ZERO { lr } else { T::ZERO };
        m[i] = b2 * m[i] + c2 * g;
        new[i] = MaybeUninit::new(w[i] * shrink - (up - down));
    }
}

#[simd]
fn momentum_slice<T: Real>(
    new: &mut [MaybeUninit<T>],
    b: &mut [T],
    [w, g]: [&[T]; 2],
    factor: f64,
    s: Sgd,
) {
    // Coefficients: `old` and `more` of the old buffer and the gradient in the new buffer; `own`
    // and `sum` of the gradient and the new buffer in the direction.
    let (old, more) = if s.first { (0.0, 1.0) } else { (s.momentum, 1.0 - s.dampening) };
    let (own, sum) = if s.nesterov { (1.0, s.momentum) } else { (0.0, 1.0) };
    let [old, more, own, sum] = [old, more, own, sum].map(T::of);
    let [lr, decay, factor] = [s.lr, s.weight_decay, factor].map(T::of);
    let n = w.len();
    let (g, new, b) = (&g[..n], &mut new[..n], &mut b[..n]);
    for i in 0..n {
        let g = g[i] * factor + decay * w[i];
        b[i] = old * b[i] + more * g;
        new[i] = MaybeUninit::new(w[i] - lr * (own * g + sum * b[i]));
    }
}

#[simd]
fn sgd_slice<T: Real>(new: &mut [MaybeUninit<T>], [w, g]: [&[T]; 2], factor: f64, s: Sgd) {
    let [lr, decay, factor] = [s.lr, s.weight_decay, factor].map(T::of);
    for (new, (w, g)) in new.iter_mut().zip(w.iter().zip(g)) {
        *new = MaybeUninit::new(*w - lr * (*g * factor + decay * *w));
    }
}
