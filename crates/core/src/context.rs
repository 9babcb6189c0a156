//! What a call carries through the layers besides tensors.

use crate::Result;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use xt_kernels::philox::Stream;

/// The random numbers of one call: each draw gets a stream of its own.
pub struct Rng {
    seed: u64,
    call: u64,
    draws: AtomicU32,
}

impl Rng {
    /// `call` numbers the calls under one seed.
    pub fn new(seed: u64, call: u64) -> Self {
        Self { seed, call, draws: AtomicU32::new(0) }
    }

    /// The next draw's stream.
    pub fn stream(&self) -> Stream {
        Stream { seed: self.seed, call: self.call, draw: self.draws.fetch_add(1, Ordering::Relaxed) }
    }

    /// True with probability `p`.
    pub fn chance(&self, p: f64) -> bool {
        f64::from(self.stream().word(0)) < p * 4_294_967_296.0
    }
}

/// What a call carries through the layers besides tensors.
pub struct Ctx<'a> {
    pub rng: &'a Rng,
    /// Whether dropout is on, in the model that is running.
    pub training: bool,
    /// Whether the caller wants evaluation, whatever mode the models are in.
    evaluation: bool,
    aborted: &'a (dyn Fn() -> bool + Sync),
}

impl<'a> Ctx<'a> {
    /// `aborted` tells whether the caller has given up.
    pub fn new(rng: &'a Rng, aborted: &'a (dyn Fn() -> bool + Sync)) -> Self {
        Self { rng, training: false, evaluation: false, aborted }
    }

    /// The same call inside a model that is in `mode`.
    pub fn inside(&self, mode: &Mode) -> Ctx<'a> {
        Ctx { training: mode.is_training() && !self.evaluation, ..*self }
    }

    /// The same call with dropout off, as generation needs it.
    pub fn evaluating(&self) -> Ctx<'a> {
        Ctx { training: false, evaluation: true, ..*self }
    }

    /// An error once the caller has given up. Layers ask between their steps.
    pub fn check(&self) -> Result<()> {
        if (self.aborted)() {
            return Err(xt_autograd::Error::Aborted.into());
        }
        Ok(())
    }
}

/// Whether a model is being trained. New ones are.
pub struct Mode(AtomicBool);

impl Default for Mode {
    fn default() -> Self {
        Self(AtomicBool::new(true))
    }
}

impl Mode {
    pub fn is_training(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub fn set(&self, training: bool) {
        self.0.store(training, Ordering::Relaxed);
    }
}
