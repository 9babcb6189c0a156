//! The context of a call: random numbers, training mode and cancellation.

use crate::{Activations, Result};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use xt_kernels::philox::Stream;

/// The random number generator of one call. Each draw uses its own Philox stream, so its numbers do
/// not depend on how threads divide the work.
pub struct Rng {
    seed: u64,
    call: u64,
    draws: AtomicU32,
}

impl Rng {
    /// Creates a generator. `call` is the number of the call under this `seed`.
    pub fn new(seed: u64, call: u64) -> Self {
        Self { seed, call, draws: AtomicU32::new(0) }
    }

    /// The stream of the next draw. Each call of this method returns a different stream.
    pub fn stream(&self) -> Stream {
        Stream {
            seed: self.seed,
            call: self.call,
            draw: self.draws.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// The number of draws so far.
    pub fn draws(&self) -> u32 {
        self.draws.load(Ordering::Relaxed)
    }

    /// Goes on after this number of draws.
    pub fn skip_to(&self, draws: u32) {
        self.draws.store(draws, Ordering::Relaxed);
    }

    /// Returns true with probability `p`.
    pub fn bernoulli(&self, p: f64) -> bool {
        f64::from(self.stream().word(0)) < p * 4_294_967_296.0
    }
}

impl Clone for Rng {
    /// A generator that draws what this one would draw next.
    fn clone(&self) -> Self {
        Self { seed: self.seed, call: self.call, draws: AtomicU32::new(self.draws()) }
    }
}

/// The context that a call passes through the layers besides tensors.
pub struct Ctx<'a> {
    /// The source of random numbers, for example for dropout.
    pub rng: &'a Rng,
    /// Whether the model that is running is in training mode, that is, whether dropout is on.
    pub training: bool,
    /// Whether the caller forces evaluation mode, regardless of the modes of the models.
    evaluation: bool,
    /// Returns true once the caller has cancelled the call.
    aborted: &'a (dyn Fn() -> bool + Sync),
    /// Where the sizes of the outputs of layers are recorded.
    activations: Option<&'a Activations>,
}

impl<'a> Ctx<'a> {
    /// Creates a context outside of training mode. `aborted` returns true once the caller has
    /// cancelled the call.
    pub fn new(rng: &'a Rng, aborted: &'a (dyn Fn() -> bool + Sync)) -> Self {
        Self { rng, training: false, evaluation: false, aborted, activations: None }
    }

    /// The context for a model in `mode`: training mode applies unless evaluation is forced.
    pub fn for_model(&self, mode: &Mode) -> Ctx<'a> {
        Ctx { training: mode.is_training() && !self.evaluation, ..*self }
    }

    /// The context with a place where the sizes of the outputs of layers are recorded.
    pub fn recording(&self, activations: &'a Activations) -> Ctx<'a> {
        Ctx { activations: Some(activations), ..*self }
    }

    /// Where the sizes of the outputs of layers are recorded, if the caller wants them.
    pub fn activations(&self) -> Option<&'a Activations> {
        self.activations
    }

    /// The context with training mode on or off.
    pub fn with_training(&self, training: bool) -> Ctx<'a> {
        Ctx { training, ..*self }
    }

    /// The context with dropout forced off, as generation needs it.
    pub fn evaluating(&self) -> Ctx<'a> {
        Ctx { training: false, evaluation: true, ..*self }
    }

    /// Checks whether the call was cancelled. Layers call this between their steps.
    ///
    /// # Errors
    ///
    /// `Aborted` once the caller has cancelled the call.
    pub fn check(&self) -> Result<()> {
        if (self.aborted)() {
            return Err(xt_autograd::Error::Aborted.into());
        }
        Ok(())
    }
}

/// The mode of a model: training or evaluation. New models are in training mode.
pub struct Mode(AtomicBool);

impl Default for Mode {
    fn default() -> Self {
        Self(AtomicBool::new(true))
    }
}

impl Mode {
    /// Whether the model is in training mode.
    pub fn is_training(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets training mode (`true`) or evaluation mode (`false`).
    pub fn set(&self, training: bool) {
        self.0.store(training, Ordering::Relaxed);
    }
}
