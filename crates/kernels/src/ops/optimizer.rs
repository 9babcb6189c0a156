//! Optimizer steps and the norm of gradients, for many parameters in one pass.

use crate::array::{HostArray, HostResult};
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::host::parallel::{for_each, map, nth_chunk, PIECE};
use crate::host::{self, Real, Slice};
use crate::kernel::{arrays, no_cuda, run, Arrays, Kernel};
use crate::memory::alloc;
use crate::ops::in_place;
use crate::ops::layout::contiguous;
#[cfg(test)]
use crate::testing::normal64;
use crate::{Array, DType, Result};
use std::mem::MaybeUninit;
use xt_macros::simd;

/// Settings of one step of Adam or AdamW.
#[derive(Clone, Copy, Debug)]
pub struct Adam {
    /// Learning rate.
    pub lr: f64,
    /// Decay rate of the running mean of the gradient.
    pub beta1: f64,
    /// Decay rate of the running mean of the squared gradient.
    pub beta2: f64,
    /// Number added to the denominator for numerical stability.
    pub eps: f64,
    /// Weight decay coefficient.
    pub weight_decay: f64,
    /// If true, weight decay shrinks the weights directly (AdamW). If false, it is added to the
    /// gradient (Adam).
    pub decoupled: bool,
    /// Number of this step, starting at 1.
    pub step: u64,
}

impl Adam {
    /// Bias correction: returns the corrected learning rate, and the divisor of the root of the
    /// mean square.
    fn corrections(self) -> (f64, f64) {
        let power = |beta: f64| 1.0 - beta.powf(self.step as f64);
        (self.lr / power(self.beta1), power(self.beta2).sqrt())
    }
}

/// Settings of one step of stochastic gradient descent (SGD).
#[derive(Clone, Copy, Debug)]
pub struct Sgd {
    /// Learning rate.
    pub lr: f64,
    /// Momentum factor.
    pub momentum: f64,
    /// Dampening of the momentum: the gradient is multiplied by 1 - `dampening` before it is added
    /// to the buffer.
    pub dampening: f64,
    /// Weight decay coefficient, added to the gradient.
    pub weight_decay: f64,
    /// Whether to use Nesterov momentum.
    pub nesterov: bool,
    /// Whether this is the first step. It initialises the momentum buffer with the gradient itself,
    /// as PyTorch does.
    pub first: bool,
}

/// An optimizer step with its state. The arrays of the state have the shape of the weight.
#[derive(Clone, Debug)]
pub enum Step {
    /// Adam, <https://arxiv.org/abs/1412.6980>, or AdamW, <https://arxiv.org/abs/1711.05101>.
    /// `mean` and `square` are the running means of the gradient and of its square.
    Adam {
        /// Settings of this step.
        settings: Adam,
        /// Running average of the gradient.
        mean: Array,
        /// Running average of the squared gradient.
        square: Array,
    },
    /// Stochastic gradient descent. `buffer` is the momentum buffer, the running sum of the
    /// gradients; `None` without momentum.
    Sgd {
        /// Settings of this step.
        settings: Sgd,
        /// Momentum buffer; `None` without momentum.
        buffer: Option<Array>,
    },
}

impl Step {
    /// The arrays of the state.
    fn state(&self) -> Vec<&Array> {
        match self {
            Self::Adam { mean, square, .. } => vec![mean, square],
            Self::Sgd { buffer, .. } => buffer.iter().collect(),
        }
    }
}

/// The update of one parameter.
#[derive(Clone, Debug)]
pub struct Update {
    /// The weight, of any shape.
    pub weight: Array,
    /// The gradient, of the shape of the weight.
    pub grad: Array,
    /// Factor by which the gradient is multiplied first, for example to clip its norm.
    pub factor: f64,
    /// The optimizer step and its state.
    pub step: Step,
}

impl Update {
    /// Whether [`update_all`] accepts this update: the arrays must be f32 or f64 on the CPU, of one
    /// type and shape.
    pub fn is_in_place(&self) -> bool {
        in_place::is_possible(&[&[&self.weight, &self.grad], &self.step.state()[..]].concat())
    }
}

impl Arrays for Step {
    fn each<'a>(&'a self, f: &mut dyn FnMut(&'a Array)) {
        self.state().into_iter().for_each(f);
    }

    fn each_mut(&mut self, f: &mut dyn FnMut(&mut Array)) {
        match self {
            Self::Adam { mean, square, .. } => [mean, square].into_iter().for_each(f),
            Self::Sgd { buffer, .. } => buffer.iter_mut().for_each(f),
        }
    }
}

/// Kernel of [`update_all`].
#[derive(Clone)]
struct InPlace {
    updates: Vec<Update>,
}

/// Kernel of [`update_out_of_place`].
#[derive(Clone)]
struct OutOfPlace {
    update: Update,
}

/// Kernel of [`sum_of_squares`].
#[derive(Clone)]
struct SumOfSquares {
    all: Vec<Array>,
}

arrays! {
    Update { weight, grad, step }
    InPlace { updates }
    OutOfPlace { update }
    SumOfSquares { all }
}

impl Kernel for InPlace {
    const NAME: &'static str = "optimizer";
    type Out = Vec<Array>;

    fn check(&self) -> Result<()> {
        for Update { weight, grad, step, .. } in &self.updates {
            let misfit =
                [grad].into_iter().chain(step.state()).find(|array| array.dims() != weight.dims());
            if let Some(array) = misfit {
                bail!("an array {:?} for a parameter {:?}", array.dims(), weight.dims());
            }
        }
        Ok(())
    }

    fn reference(&self) -> Result<Vec<Array>> {
        bail!("a step in place needs f32 or f64 on the CPU")
    }

    fn cpu<T: Blas>(&self) -> Result<Vec<Array>> {
        update_cpu::<T>(&self.updates)
    }

    no_cuda!();

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        // The state changes in place; the tests below compare it.
        Vec::new()
    }
}

impl Kernel for OutOfPlace {
    const NAME: &'static str = "optimizer, apart";
    type Out = (Array, Step);

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn reference(&self) -> Result<(Array, Step)> {
        let Update { weight, grad, factor, step } = &self.update;
        let (weight, grad) = (weight.host()?, grad.host()?);
        let grad = if *factor == 1.0 { grad.clone() } else { grad.affine(*factor, 0.0)? };
        match step {
            Step::Adam { settings, mean, square } => {
                adam_on_host(weight, grad, (mean.host()?, square.host()?), *settings)
            }
            Step::Sgd { settings, buffer } => {
                sgd_on_host(weight, grad, buffer.as_ref().map(Array::host).transpose()?, *settings)
            }
        }
        .map_err(Into::into)
    }

    fn cpu<T: Blas>(&self) -> Result<(Array, Step)> {
        self.reference()
    }

    no_cuda!();

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |step| {
            [1.0, 0.3].map(|factor| {
                let (weight, grad) = (normal64(&[3, 7], 1), normal64(&[3, 7], 2));
                Self { update: Update { weight, grad, factor, step: Step::clone(&step) } }
            })
        };
        tests::steps(&[3, 7]).into_iter().flat_map(of).collect()
    }
}

impl Kernel for SumOfSquares {
    const NAME: &'static str = "sum of squares";
    type Out = f64;

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn reference(&self) -> Result<f64> {
        let squares = |x: &Array| -> Result<f64> {
            let x = x.host()?.to_dtype(DType::F32)?;
            Ok(x.sqr()?.sum_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?)
        };
        self.all.iter().map(squares).sum()
    }

    fn cpu<T: Blas>(&self) -> Result<f64> {
        squares_cpu::<T>(&self.all)
    }

    no_cuda!();

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        // The result is a number; a test below compares it.
        Vec::new()
    }
}

/// Computes the new weight of each parameter, and updates the states of the optimizer in place.
///
/// All arrays must be of one type, f32 or f64, on the CPU. The state arrays must be whole storages
/// that nothing else refers to.
///
/// # Errors
/// If an array has the wrong type, device, shape or storage size; nothing has changed then.
pub fn update_all(updates: &[Update]) -> Result<Vec<Array>> {
    match updates {
        [] => Ok(Vec::new()),
        _ => run(&InPlace { updates: updates.into() }),
    }
}

/// Computes the new weight and the new state of one parameter without changing the old ones, for
/// updates that [`update_all`] does not accept.
pub fn update_out_of_place(update: &Update) -> Result<(Array, Step)> {
    run(&OutOfPlace { update: update.clone() })
}

fn adam_on_host(
    weight: &HostArray,
    mut grad: HostArray,
    (mean, square): (&HostArray, &HostArray),
    s: Adam,
) -> HostResult<(Array, Step)> {
    let mut weight = weight.clone();
    if s.decoupled {
        weight = (weight * (1.0 - s.lr * s.weight_decay))?;
    } else if s.weight_decay != 0.0 {
        grad = (grad + (&weight * s.weight_decay)?)?;
    }
    let mean = ((mean * s.beta1)? + (&grad * (1.0 - s.beta1))?)?;
    let square = ((square * s.beta2)? + (grad.sqr()? * (1.0 - s.beta2))?)?;
    let (rate, root) = s.corrections();
    let weight = (weight - ((&mean * rate)? / ((square.sqrt()? / root)? + s.eps)?)?)?;
    Ok((weight.into(), Step::Adam { settings: s, mean: mean.into(), square: square.into() }))
}

fn sgd_on_host(
    weight: &HostArray,
    mut grad: HostArray,
    buffer: Option<&HostArray>,
    s: Sgd,
) -> HostResult<(Array, Step)> {
    if s.weight_decay != 0.0 {
        grad = (grad + (weight * s.weight_decay)?)?;
    }
    let Some(buffer) = buffer else {
        return Ok(((weight - (grad * s.lr)?)?.into(), Step::Sgd { settings: s, buffer: None }));
    };
    let buffer = match s.first {
        true => grad.clone(),
        false => ((buffer * s.momentum)? + (&grad * (1.0 - s.dampening))?)?,
    };
    let direction = if s.nesterov { (grad + (&buffer * s.momentum)?)? } else { buffer.clone() };
    Ok((
        (weight - (direction * s.lr)?)?.into(),
        Step::Sgd { settings: s, buffer: Some(buffer.into()) },
    ))
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
            (Step::Adam { .. }, _) => {}
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

/// Computes the sum of the squares of all elements of all arrays, accumulated in f64. The arrays
/// may differ in type and device.
pub fn sum_of_squares(all: &[Array]) -> Result<f64> {
    let (mut sum, mut rest) = (0.0, all);
    while let Some(first) = rest.first() {
        let alike = |array: &&Array| {
            array.dtype() == first.dtype() && array.device().same_device(&first.device())
        };
        let (some, others) = rest.split_at(rest.iter().take_while(alike).count().max(1));
        sum += run(&SumOfSquares { all: some.into() })?;
        rest = others;
    }
    Ok(sum)
}

fn squares_cpu<T: Real>(all: &[Array]) -> Result<f64> {
    let all = all.iter().map(contiguous).collect::<Result<Vec<_>>>()?;
    let slices = all.iter().map(host::slice::<T>).collect::<Result<Vec<_>>>()?;
    let pieces: Vec<&[T]> = slices.iter().flat_map(|slice| slice.chunks(PIECE)).collect();
    // Rows of 1024 elements are summed in the type of the array, their sums in f64: the norm of
    // many small numbers stays accurate.
    let squares = |piece: &[T]| {
        piece
            .chunks(1024)
            .map(|row| crate::host::simd::sum_by(row, |v| v * v).as_f64())
            .sum::<f64>()
    };
    Ok(map(pieces.len(), 1, |i| squares(pieces[i])).iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, assert_matches_reference, f64s, normal, values};

    fn adam(decoupled: bool) -> Adam {
        Adam { lr: 0.1, beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.1, decoupled, step: 3 }
    }

    fn sgd() -> Sgd {
        Sgd {
            lr: 0.5,
            momentum: 0.9,
            dampening: 0.0,
            weight_decay: 0.0,
            nesterov: false,
            first: false,
        }
    }

    /// A step of each kind, each with its own arrays.
    pub(super) fn steps(dims: &[usize]) -> Vec<Step> {
        let array = |seed| crate::testing::map(&normal64(dims, seed), |x| x * x);
        let of_sgd = [
            sgd(),
            Sgd { first: true, nesterov: true, ..sgd() },
            Sgd { nesterov: true, dampening: 0.4, weight_decay: 0.1, ..sgd() },
            Sgd { dampening: 0.4, weight_decay: 0.1, first: true, ..sgd() },
        ];
        let with = of_sgd.map(|settings| Step::Sgd { settings, buffer: Some(array(5)) });
        let without = of_sgd.map(|settings| Step::Sgd { settings, buffer: None });
        let adams = [true, false].map(|d| Step::Adam {
            settings: adam(d),
            mean: array(6),
            square: array(7),
        });
        with.into_iter().chain(without).chain(adams).collect()
    }

    #[test]
    fn equals_the_reference() {
        assert_matches_reference::<OutOfPlace>(1e-5);
    }

    #[test]
    fn all_in_one_pass_equal_the_reference_of_each() {
        let mut updates = Vec::new();
        for (seed, dims) in [[3, 7], [1, 1], [5, PIECE], [0, 4]].into_iter().enumerate() {
            let single = |mut step: Step| {
                step.each_mut(&mut |array| *array = array.to_dtype(DType::F32).unwrap());
                step
            };
            for (step, factor) in
                steps(&dims).into_iter().map(single).zip([1.0, 0.3].into_iter().cycle())
            {
                let grad = normal(&[dims[1], dims[0]], 20 + seed as u64).t().unwrap();
                updates.push(Update { weight: normal(&dims, seed as u64), grad, factor, step });
            }
        }
        let double = |array: &Array| f64s(array).copy().unwrap();
        let doubles = updates.iter().cloned().map(|of| Update {
            weight: double(&of.weight),
            grad: double(&of.grad),
            step: match of.step {
                Step::Adam { settings, mean, square } => {
                    Step::Adam { settings, mean: double(&mean), square: double(&square) }
                }
                Step::Sgd { settings, buffer } => {
                    Step::Sgd { settings, buffer: buffer.as_ref().map(double) }
                }
            },
            ..of
        });
        for updates in [doubles.collect(), updates] {
            assert!(updates.iter().all(Update::is_in_place));
            let want: Vec<_> = updates.iter().map(|of| update_out_of_place(of).unwrap()).collect();
            for ((got, of), (weight, step)) in
                update_all(&updates).unwrap().iter().zip(&updates).zip(&want)
            {
                assert_close(got, weight, 1e-5);
                let state = of.step.state().into_iter().zip(step.state());
                state.for_each(|(got, want)| assert_close(got, want, 1e-6));
            }
        }
        assert!(update_all(&[]).unwrap().is_empty());
    }

    #[test]
    fn what_does_not_fit_is_an_error_and_changes_nothing() {
        let array = |seed| normal(&[4], seed).copy().unwrap();
        let of = |grad, buffer| {
            let step = Step::Sgd { settings: sgd(), buffer: Some(buffer) };
            Update { weight: array(1), grad, factor: 1.0, step }
        };
        let state = array(3);
        for wrong in [of(array(2), normal(&[2], 4)), of(normal(&[2], 4), array(2))] {
            assert!(!wrong.is_in_place());
            let message =
                update_all(&[of(array(2), state.clone()), wrong]).unwrap_err().to_string();
            assert!(message.contains("[2]"), "{message}");
        }
        assert_close(&state, &normal(&[4], 3), 0.0);
        let half = normal(&[2], 1).to_dtype(DType::F16).unwrap();
        let step = Step::Sgd { settings: sgd(), buffer: None };
        let of = Update { weight: half.clone(), grad: half, factor: 1.0, step };
        assert!(
            !of.is_in_place()
                && update_all(std::slice::from_ref(&of)).is_err()
                && update_out_of_place(&of).is_ok()
        );
    }

    #[test]
    fn sgd_with_momentum_by_hand() {
        let (mut weight, grad, buffer) =
            (normal(&[4], 1), normal(&[4], 2), normal(&[4], 3).copy().unwrap());
        let before = weight.clone();
        for settings in [Sgd { first: true, ..sgd() }, sgd()] {
            let step = Step::Sgd { settings, buffer: Some(buffer.clone()) };
            let of = Update { weight: weight.clone(), grad: grad.clone(), factor: 1.0, step };
            weight = update_all(&[of]).unwrap().swap_remove(0);
        }
        for (i, x) in values(&weight).iter().enumerate() {
            let want = values(&before)[i] - 0.5 * values(&grad)[i] * (1.0 + 1.9);
            assert!((x - want).abs() < 1e-5);
        }
    }

    #[test]
    fn norm() {
        let x = [
            normal(&[5000], 1),
            f64s(&normal(&[3, 5], 2)),
            normal(&[7, PIECE], 3),
            normal(&[0], 4),
        ];
        let half = normal(&[30], 5).to_dtype(DType::BF16).unwrap();
        let all: Vec<_> = x.into_iter().chain([half.clone(), half]).collect();
        let want: f64 = all.iter().flat_map(|x| values(&f64s(x))).map(|v| v * v).sum();
        assert!((sum_of_squares(&all).unwrap() / want - 1.0).abs() < 1e-5);
        assert_eq!(sum_of_squares(&[]).unwrap(), 0.0);
    }
}
