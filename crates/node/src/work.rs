//! Computations on the library's own threads.

use crate::errors::to_napi;
use crate::memory::report;
use crate::promise::Promise;
use crate::threads::{ready, submit, Call};
use napi::bindgen_prelude::ToNapiValue;
use napi::{sys, Env};
use xt_bindings::{guard, AbortFlag, Error, Result};

/// Runs `f` on the calling thread; errors and panics become JavaScript errors.
pub fn now<T>(f: impl FnOnce() -> Result<T>) -> napi::Result<T> {
    guard(f).map_err(to_napi)
}

/// Runs `f`, which calls many kernels, in the thread pool of the kernels while the calling thread
/// waits; on the calling thread if the pool is busy.
pub fn now_shared<T: Send>(f: impl FnOnce() -> Result<T> + Send) -> napi::Result<T> {
    now(|| xt_bindings::in_pool(f))
}

/// A computation in the background, with the flag by which it is aborted.
type Run<T> = Box<dyn FnOnce(&AbortFlag) -> Result<T> + Send>;

/// A computation that returns a `T`, converted to a `J` for JavaScript. It begins when it is passed
/// to JavaScript, as a promise.
pub struct Work<T, J> {
    run: Run<T>,
    abort: AbortFlag,
    finish: fn(T) -> J,
}

/// A promise of the result of `run`, which runs on another thread. It is aborted by the caller's
/// flag, or when the caller's environment ends.
pub fn in_background<T, J>(
    abort: AbortFlag,
    run: impl FnOnce(&AbortFlag) -> Result<T> + Send + 'static,
    finish: fn(T) -> J,
) -> Work<T, J> {
    Work { run: Box::new(run), abort, finish }
}

impl<T: Send + 'static, J: ToNapiValue + 'static> Work<T, J> {
    /// Creates the promise and submits the computation.
    fn begin(self, env: Env) -> napi::Result<sys::napi_value> {
        ready().map_err(|error| {
            to_napi(Error::Internal(format!("no thread can be started: {error}")))
        })?;
        let Self { run, abort, finish } = self;
        let (promise, value) = Promise::new(env)?;
        let (owner, flag) = (promise.owner(), abort.clone());
        let run = move || {
            let output = now_shared(|| run(&flag));
            promise.settle(move |env| report(env, output.map(finish)));
        };
        submit(Call { owner, abort, run: Box::new(run) });
        Ok(value)
    }
}

impl<T: Send + 'static, J: ToNapiValue + 'static> ToNapiValue for Work<T, J> {
    #[allow(unsafe_code)]
    unsafe fn to_napi_value(env: sys::napi_env, work: Self) -> napi::Result<sys::napi_value> {
        work.begin(Env::from_raw(env))
    }
}
