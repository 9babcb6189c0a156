//! The context of a call: random numbers, recording of gradients, and abort.

use crate::Result;
use serde::Deserialize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use xt_core::Rng;

/// The context of a call, as JSON `{ "seed", "call", "grad", "activations" }`; the last one may be
/// absent.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Context {
    /// Seed of the random numbers.
    seed: u64,
    /// Number of the call, which selects its random stream.
    call: u64,
    /// Whether an autograd graph is recorded.
    pub grad: bool,
    /// Whether a model records the sizes of the outputs of its layers.
    #[serde(default)]
    pub activations: bool,
}

impl Context {
    /// Parses the JSON of a context.
    pub fn parse(json: &str) -> Result<Self> {
        crate::parse(json)
    }

    /// The random numbers of the call.
    pub fn rng(&self) -> Rng {
        Rng::new(self.seed, self.call)
    }
}

/// A flag by which the caller aborts a running call. Clones share the flag.
#[derive(Clone, Default)]
pub struct AbortFlag(Arc<AtomicBool>);

impl AbortFlag {
    /// Aborts the call.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the call is aborted.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
