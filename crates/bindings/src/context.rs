//! What a call needs to know besides its arguments.

use crate::Result;
use serde::Deserialize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use xt_core::Rng;

/// `{ "seed", "call", "grad" }`: which random numbers, and whether a graph is kept.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Context {
    seed: u64,
    call: u64,
    pub grad: bool,
}

impl Context {
    pub fn parse(json: &str) -> Result<Self> {
        crate::parse(json)
    }

    pub fn rng(&self) -> Rng {
        Rng::new(self.seed, self.call)
    }
}

/// Set once the caller has given up.
#[derive(Clone, Default)]
pub struct AbortFlag(Arc<AtomicBool>);

impl AbortFlag {
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
