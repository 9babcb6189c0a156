//! Work on the thread pool, and errors on their way to JavaScript.

use crate::memory::report;
use napi::bindgen_prelude::{AsyncTask, ToNapiValue, TypeName};
use napi::{Env, Status, Task};
use xt_bindings::{guard, Error, Result};

/// Runs `f` now, on the calling thread.
pub fn now<T>(f: impl FnOnce() -> Result<T>) -> napi::Result<T> {
    guard(f).map_err(to_napi)
}

/// Runs `f`, of many kernels, now and among the threads that share their work, while the calling thread waits.
pub fn now_shared<T: Send>(f: impl FnOnce() -> Result<T> + Send) -> napi::Result<T> {
    now(|| xt_bindings::together(f))
}

/// An error that carries its code and problems as JSON.
pub fn to_napi(error: Error) -> napi::Error {
    napi::Error::new(Status::GenericFailure, error.to_json().to_string())
}

/// A computation that gives a `T`, which becomes a `J` for JavaScript.
pub struct Work<T, J> {
    run: Option<Box<dyn FnOnce() -> Result<T> + Send>>,
    finish: fn(T) -> J,
}

/// A promise of what `run` gives on another thread.
pub fn in_background<T, J>(
    run: impl FnOnce() -> Result<T> + Send + 'static,
    finish: fn(T) -> J,
) -> AsyncTask<Work<T, J>>
where
    T: Send + 'static,
    J: ToNapiValue + TypeName,
{
    AsyncTask::new(Work { run: Some(Box::new(run)), finish })
}

impl<T: Send + 'static, J: ToNapiValue + TypeName> Task for Work<T, J> {
    type Output = T;
    type JsValue = J;

    fn compute(&mut self) -> napi::Result<T> {
        let run = self.run.take();
        now_shared(move || run.ok_or_else(|| Error::Internal("work ran twice".into()))?())
    }

    fn resolve(&mut self, env: Env, output: T) -> napi::Result<J> {
        report(env, Ok((self.finish)(output)))
    }

    fn reject(&mut self, env: Env, error: napi::Error) -> napi::Result<J> {
        report(env, Err(error))
    }
}
