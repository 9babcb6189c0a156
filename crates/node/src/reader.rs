//! The handle of a file that is being read.

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

/// The handle of a file that is being read; empty once it is disposed.
#[napi]
pub struct NativeReader(Option<Arc<Reading>>);

impl NativeReader {
    /// A handle of `reading`.
    pub fn new(reading: Reading) -> Self {
        Self(Some(Arc::new(reading)))
    }

    /// The file; an error once it is disposed.
    fn get(&self) -> napi::Result<Arc<Reading>> {
        self.0.clone().ok_or_else(|| to_napi(Error::Disposed("this file")))
    }
}

#[napi]
impl NativeReader {
    /// Offset and length of the bytes to read next; null once all have been read.
    #[napi]
    pub fn next(&self) -> napi::Result<Option<Vec<f64>>> {
        let reading = self.get()?;
        now(|| reading.next())
    }

    /// Whether reading continues only after `set_size`.
    #[napi]
    pub fn needs_size(&self) -> napi::Result<bool> {
        let reading = self.get()?;
        now(|| reading.needs_size())
    }

    /// Sets the size of the file in bytes.
    #[napi]
    pub fn set_size(&self, size: f64) -> napi::Result<()> {
        let reading = self.get()?;
        now(|| reading.set_size(size))
    }

    /// Takes the requested bytes, in the background.
    #[napi(ts_return_type = "Promise<void>")]
    pub fn feed(&self, bytes: Uint8Array) -> napi::Result<Work<(), ()>> {
        let reading = self.get()?;
        Ok(in_background(AbortFlag::default(), move |_| reading.feed(&bytes), |()| ()))
    }

    /// Takes the requested bytes.
    #[napi]
    pub fn feed_sync(&self, env: Env, bytes: &[u8]) -> napi::Result<()> {
        let reading = self.get()?;
        report(env, now(|| reading.feed(bytes)))
    }

    /// The tensors, in the background, see [`Reading::tensors`].
    #[napi(ts_return_type = "Promise<NativeResult>")]
    pub fn tensors(&self) -> napi::Result<Work<Reply, NativeResult>> {
        let reading = self.get()?;
        Ok(in_background(AbortFlag::default(), move |_| reading.tensors(), NativeResult::from))
    }

    /// The tensors, see [`Reading::tensors`].
    #[napi]
    pub fn tensors_sync(&self, env: Env) -> napi::Result<NativeResult> {
        let reading = self.get()?;
        report(env, now(|| reading.tensors())).map(NativeResult::from)
    }

    /// The model that the file describes, in the background.
    #[napi(ts_return_type = "Promise<NativeModule>")]
    pub fn model(&self, device: String) -> napi::Result<Work<Arc<Model>, NativeModule>> {
        let reading = self.get()?;
        Ok(in_background(AbortFlag::default(), move |_| reading.model(&device), NativeModule::new))
    }

    /// The model that the file describes.
    #[napi]
    pub fn model_sync(&self, env: Env, device: String) -> napi::Result<NativeModule> {
        let reading = self.get()?;
        report(env, now(|| reading.model(&device))).map(NativeModule::new)
    }

    /// Releases the file.
    #[napi]
    pub fn dispose(&mut self, env: Env) -> napi::Result<()> {
        self.0 = None;
        report(env, Ok(()))
    }
}
