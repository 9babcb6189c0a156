//! Generations of which the caller takes the steps: `logits` and `accept` until `done`.

use super::Heavy;
use crate::{AbortFlag, Error, Result};
use std::sync::{Arc, Mutex, TryLockError};
use xt_core::{Activations, Ctx, Rng, Tensor};

/// A generation, with its random numbers.
pub struct Generation {
    generation: Mutex<xt_core::generation::Generation>,
    rng: Rng,
    /// Where the sizes of the outputs of layers are recorded, if the caller wants them.
    activations: Option<Arc<Activations>>,
}

impl Generation {
    /// A generation that draws from `rng`.
    pub(super) fn new(
        generation: xt_core::generation::Generation,
        rng: Rng,
        activations: Option<Arc<Activations>>,
    ) -> Self {
        Self { generation: Mutex::new(generation), rng, activations }
    }

    /// Runs `f` on the generation.
    ///
    /// # Errors
    /// Another call is using the generation.
    fn with<T>(
        &self,
        f: impl FnOnce(&mut xt_core::generation::Generation) -> Result<T>,
    ) -> Result<T> {
        match self.generation.try_lock() {
            Ok(mut generation) => f(&mut generation),
            Err(TryLockError::Poisoned(p)) => f(&mut p.into_inner()),
            Err(TryLockError::WouldBlock) => {
                Err(Error::State("this generation is computing a token: await it first".into()))
            }
        }
    }

    /// Computes logits and draws the next token of every row. Returns whether the generation is
    /// over.
    fn step(&self, abort: &AbortFlag) -> Result<bool> {
        accept(self, &logits(self, abort)?, false)?;
        done(self)
    }
}

/// Takes steps without a function of the user between `logits` and `accept`, until `done`: as many
/// as let other calls have their turn. Where an abort is not seen meanwhile (WebAssembly), one.
pub fn advance(generation: &Generation, abort: &AbortFlag) -> Heavy<()> {
    #[cfg(target_family = "wasm")]
    return generation.step(abort).map(|_| ());
    #[cfg(not(target_family = "wasm"))]
    {
        use std::time::{Duration, Instant};
        // there are few threads, and a call keeps one
        const SLICE: Duration = Duration::from_millis(100);
        let start = Instant::now();
        while !generation.step(abort)? && start.elapsed() < SLICE {}
        Ok(())
    }
}

/// The logits of the next token, (rows, num_tokens), after the penalty, before filter and
/// temperature.
pub fn logits(generation: &Generation, abort: &AbortFlag) -> Heavy<Tensor> {
    let aborted = || abort.is_set();
    let ctx = Ctx::new(&generation.rng, &aborted);
    let Some(all) = &generation.activations else {
        return generation.with(|g| g.logits(&ctx));
    };
    // nothing is recorded of a step that fails
    let activations = Activations::default();
    let logits = generation.with(|g| g.logits(&ctx.recording(&activations)))?;
    all.push(activations.take());
    Ok(logits)
}

/// Draws the next token of every row from `logits`, (rows, num_tokens). `filtered`: a function of
/// the user has changed them, in place of `top_k`, `top_p` or `top_a`. Null if the generation is
/// over.
pub fn accept(
    generation: &Generation,
    logits: &Tensor,
    filtered: bool,
) -> Result<Option<Vec<i64>>> {
    generation.with(|g| g.accept(logits, filtered, &generation.rng))
}

/// Whether the generation is over.
pub fn done(generation: &Generation) -> Result<bool> {
    generation.with(|g| Ok(g.done()))
}

/// All new tokens so far, i64, in the shape that `generate` returns.
pub fn tokens(generation: &Generation) -> Result<Tensor> {
    generation.with(|g| g.tokens())
}
