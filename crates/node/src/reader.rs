//! The handle of a file that is read.

use crate::errors::to_napi;
use crate::memory::report;
use crate::module::NativeModule;
use crate::tensor::NativeResult;
use crate::work::{in_background, now, Work};
use napi::bindgen_prelude::Uint8Array;
use napi::Env;
use napi_derive::napi;
use std::sync::Arc;
use xt_bindings::{AbortFlag, Error, Model, Reading, Reply};

/// A file on its way into memory, until it is disposed.
#[napi]
pub struct NativeReader(Option<Arc<Reading>>);

impl NativeReader {
    pub fn new(reading: Reading) -> Self {
        Self(Some(Arc::new(reading)))
    }

    fn get(&self) -> napi::Result<Arc<Reading>> {
        self.0.clone().ok_or_else(|| to_napi(Error::Disposed("this file")))
    }
}

#[napi]
impl NativeReader {
    #[napi]
    pub fn next(&self) -> napi::Result<Option<Vec<f64>>> {
        let reading = self.get()?;
        now(|| reading.next())
    }

    #[napi]
    pub fn needs_size(&self) -> napi::Result<bool> {
        let reading = self.get()?;
        now(|| reading.needs_size())
    }

    #[napi]
    pub fn set_size(&self, size: f64) -> napi::Result<()> {
        let reading = self.get()?;
        now(|| reading.set_size(size))
    }

    #[napi(ts_return_type = "Promise<void>")]
    pub fn feed(&self, bytes: Uint8Array) -> napi::Result<Work<(), ()>> {
        let reading = self.get()?;
        Ok(in_background(AbortFlag::default(), move |_| reading.feed(&bytes), |()| ()))
    }

    #[napi]
    pub fn feed_sync(&self, env: Env, bytes: &[u8]) -> napi::Result<()> {
        let reading = self.get()?;
        report(env, now(|| reading.feed(bytes)))
    }

    #[napi(ts_return_type = "Promise<NativeResult>")]
    pub fn tensors(&self) -> napi::Result<Work<Reply, NativeResult>> {
        let reading = self.get()?;
        Ok(in_background(AbortFlag::default(), move |_| reading.tensors(), NativeResult::from))
    }

    #[napi]
    pub fn tensors_sync(&self, env: Env) -> napi::Result<NativeResult> {
        let reading = self.get()?;
        report(env, now(|| reading.tensors())).map(NativeResult::from)
    }

    #[napi(ts_return_type = "Promise<NativeModule>")]
    pub fn model(&self, device: String) -> napi::Result<Work<Arc<Model>, NativeModule>> {
        let reading = self.get()?;
        Ok(in_background(AbortFlag::default(), move |_| reading.model(&device), NativeModule::new))
    }

    #[napi]
    pub fn model_sync(&self, env: Env, device: String) -> napi::Result<NativeModule> {
        let reading = self.get()?;
        report(env, now(|| reading.model(&device))).map(NativeModule::new)
    }

    #[napi]
    pub fn dispose(&mut self, env: Env) -> napi::Result<()> {
        self.0 = None;
        report(env, Ok(()))
    }
}
