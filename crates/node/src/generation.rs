//! The handle of a generation.

use crate::abort::NativeAbortFlag;
use crate::errors::to_napi;
use crate::tensor::NativeTensor;
use crate::work::{in_background, now, now_shared, Work};
use napi_derive::napi;
use std::sync::Arc;
use std::time::{Duration, Instant};
use xt_bindings::{AbortFlag, Error, Generating, Tensor};

/// How long a generation keeps a thread: there are few.
const TURN: Duration = Duration::from_millis(100);

/// A generation, until it is disposed.
#[napi]
pub struct NativeGeneration(Option<Arc<Generating>>);

impl NativeGeneration {
    pub fn new(generation: Generating) -> Self {
        Self(Some(Arc::new(generation)))
    }

    fn get(&self) -> napi::Result<Arc<Generating>> {
        self.0.clone().ok_or_else(|| to_napi(Error::Disposed("this generation")))
    }
}

#[napi]
impl NativeGeneration {
    #[napi(ts_return_type = "Promise<NativeTensor>")]
    pub fn logits(&self, abort: &NativeAbortFlag) -> napi::Result<Work<Tensor, NativeTensor>> {
        let (generation, abort) = (self.get()?, abort.flag());
        Ok(in_background(abort, move |abort| generation.logits(abort), NativeTensor::new))
    }

    #[napi]
    pub fn logits_sync(&self) -> napi::Result<NativeTensor> {
        let generation = self.get()?;
        now_shared(|| generation.logits(&AbortFlag::default())).map(NativeTensor::new)
    }

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

    #[napi]
    pub fn accept(&self, logits: &NativeTensor, filtered: bool) -> napi::Result<Option<Vec<i64>>> {
        let (generation, logits) = (self.get()?, logits.get()?);
        now(|| generation.accept(&logits, filtered))
    }

    #[napi]
    pub fn done(&self) -> napi::Result<bool> {
        let generation = self.get()?;
        now(|| generation.done())
    }

    #[napi]
    pub fn tokens(&self) -> napi::Result<NativeTensor> {
        let generation = self.get()?;
        now(|| generation.tokens()).map(NativeTensor::new)
    }

    #[napi]
    pub fn dispose(&mut self) {
        self.0 = None;
    }
}
