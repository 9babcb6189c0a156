//! The handle of a generation.

use crate::abort::NativeAbortFlag;
use crate::errors::to_napi;
use crate::tensor::NativeTensor;
use crate::work::{in_background, now, now_shared, Work};
use napi_derive::napi;
use std::sync::Arc;
use std::time::{Duration, Instant};
use xt_bindings::{AbortFlag, Error, Generating, Tensor};

/// How long one call may occupy a thread, since there are few.
const TURN: Duration = Duration::from_millis(100);

/// The handle of a generation; empty once it is disposed.
#[napi]
pub struct NativeGeneration(Option<Arc<Generating>>);

impl NativeGeneration {
    /// A handle of `generation`.
    pub fn new(generation: Generating) -> Self {
        Self(Some(Arc::new(generation)))
    }

    /// The generation; an error once it is disposed.
    fn get(&self) -> napi::Result<Arc<Generating>> {
        self.0.clone().ok_or_else(|| to_napi(Error::Disposed("this generation")))
    }
}

#[napi]
impl NativeGeneration {
    /// Computes the logits of the next token, (rows, num_tokens), in the background.
    #[napi(ts_return_type = "Promise<NativeTensor>")]
    pub fn logits(&self, abort: &NativeAbortFlag) -> napi::Result<Work<Tensor, NativeTensor>> {
        let (generation, abort) = (self.get()?, abort.flag());
        Ok(in_background(abort, move |abort| generation.logits(abort), NativeTensor::new))
    }

    /// Computes the logits of the next token, (rows, num_tokens).
    #[napi]
    pub fn logits_sync(&self) -> napi::Result<NativeTensor> {
        let generation = self.get()?;
        now_shared(|| generation.logits(&AbortFlag::default())).map(NativeTensor::new)
    }

    /// Performs steps in the background, until the generation is over or its time slice is used up.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn advance(&self, abort: &NativeAbortFlag) -> napi::Result<Work<(), ()>> {
        let (generation, abort) = (self.get()?, abort.flag());
        let steps = move |abort: &AbortFlag| {
            let start = Instant::now();
            while !generation.step(abort)? && start.elapsed() < TURN {}
            Ok(())
        };
        Ok(in_background(abort, steps, |()| ()))
    }

    /// Draws the next token of every row; null if the generation is over.
    #[napi]
    pub fn accept(&self, logits: &NativeTensor, filtered: bool) -> napi::Result<Option<Vec<i64>>> {
        let (generation, logits) = (self.get()?, logits.get()?);
        now(|| generation.accept(&logits, filtered))
    }

    /// Whether the generation is over.
    #[napi]
    pub fn done(&self) -> napi::Result<bool> {
        let generation = self.get()?;
        now(|| generation.done())
    }

    /// All new tokens so far.
    #[napi]
    pub fn tokens(&self) -> napi::Result<NativeTensor> {
        let generation = self.get()?;
        now(|| generation.tokens()).map(NativeTensor::new)
    }

    /// Releases the generation.
    #[napi]
    pub fn dispose(&mut self) {
        self.0 = None;
    }
}
