//! Promises that other threads settle. All promises of an environment share one threadsafe
//! function, which keeps the process alive while one of them is pending.
#![allow(unsafe_code)]

use crate::errors::to_napi;
use crate::threads;
use napi::bindgen_prelude::ToNapiValue;
use napi::{check_status, sys, Env};
use std::cell::RefCell;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};
use xt_bindings::guard;

/// Computes the JavaScript value, on the thread of the environment.
type Value = Box<dyn FnOnce(Env) -> napi::Result<sys::napi_value> + Send>;

/// A pending promise.
pub struct Promise {
    /// Resolves or rejects the promise.
    deferred: sys::napi_deferred,
    /// The threadsafe function of the environment.
    function: sys::napi_threadsafe_function,
    /// The number of the environment.
    owner: usize,
}

// SAFETY: the deferred is only passed on, never dereferenced. The function may be called from any
// thread, and is valid until all calls of its environment have ended (see `ends`).
unsafe impl Send for Promise {}

/// A result on its way to the thread of the environment.
struct Arrival {
    deferred: sys::napi_deferred,
    value: Value,
}

/// The state of an environment.
struct Port {
    env: sys::napi_env,
    function: sys::napi_threadsafe_function,
    /// The number of the environment.
    owner: usize,
    /// Number of pending promises.
    pending: usize,
}

thread_local! {
    /// The environments on this thread: one, unless the library was loaded again.
    static PORTS: RefCell<Vec<Port>> = const { RefCell::new(Vec::new()) };
}

impl Promise {
    /// Creates a promise, on the thread of its environment. Returns it with its JavaScript value.
    pub fn new(env: Env) -> napi::Result<(Self, sys::napi_value)> {
        let (mut deferred, mut value) = (null_mut(), null_mut());
        // SAFETY: `env` is the environment of the current call, on its own thread.
        check_status!(unsafe { sys::napi_create_promise(env.raw(), &mut deferred, &mut value) })?;
        PORTS.with_borrow_mut(|ports| {
            let place = match ports.iter().position(|port| port.env == env.raw()) {
                Some(place) => place,
                None => {
                    ports.push(Port::open(env)?);
                    ports.len() - 1
                }
            };
            let port = &mut ports[place];
            port.pending += 1;
            if port.pending == 1 {
                // SAFETY: as above; the function is valid as long as its port exists.
                check_status!(unsafe {
                    sys::napi_ref_threadsafe_function(port.env, port.function)
                })?;
            }
            Ok((Self { deferred, function: port.function, owner: port.owner }, value))
        })
    }

    /// The number of the environment to which the promise belongs.
    pub fn owner(&self) -> usize {
        self.owner
    }

    /// Settles the promise, from any thread, with the result of `value`, which runs on the thread
    /// of the environment. If the environment is ending, `value` is dropped without being called.
    pub fn settle<J: ToNapiValue>(
        self,
        value: impl FnOnce(Env) -> napi::Result<J> + Send + 'static,
    ) {
        // SAFETY: the closure runs on the thread of the environment, in a call from it.
        let value: Value = Box::new(move |env| unsafe { J::to_napi_value(env.raw(), value(env)?) });
        let arrival = Box::into_raw(Box::new(Arrival { deferred: self.deferred, value }));
        let mode = sys::ThreadsafeFunctionCallMode::nonblocking;
        // SAFETY: for `self.function` see `Send`. The function takes ownership of the arrival only
        // if it returns `napi_ok`; otherwise it is dropped.
        unsafe {
            if sys::napi_call_threadsafe_function(self.function, arrival.cast(), mode)
                != sys::Status::napi_ok
            {
                drop(Box::from_raw(arrival));
            }
        }
    }
}

impl Port {
    /// Creates the threadsafe function of an environment.
    fn open(env: Env) -> napi::Result<Self> {
        static OWNERS: AtomicUsize = AtomicUsize::new(1);
        let owner = OWNERS.fetch_add(1, Ordering::Relaxed);
        let (mut name, mut function) = (null_mut(), null_mut());
        let env = env.raw();
        // SAFETY: `env` is the environment of the current call, on its own thread. The cleanup hook
        // is added after the function, so that it runs before Node destroys the function.
        unsafe {
            check_status!(sys::napi_create_string_utf8(
                env,
                c"x-transformers".as_ptr(),
                -1,
                &mut name
            ))?;
            check_status!(sys::napi_create_threadsafe_function(
                env,
                null_mut(),
                null_mut(),
                name,
                0,
                1,
                null_mut(),
                None,
                null_mut(),
                Some(arrives),
                &mut function,
            ))?;
            check_status!(sys::napi_unref_threadsafe_function(env, function))?;
            check_status!(sys::napi_add_env_cleanup_hook(env, Some(ends), owner as *mut c_void))?;
        }
        Ok(Self { env, function, owner, pending: 0 })
    }
}

/// Called on the thread of the environment, with each arrival; `env` is null if the environment is
/// ending.
unsafe extern "C" fn arrives(
    env: sys::napi_env,
    _: sys::napi_value,
    _: *mut c_void,
    arrival: *mut c_void,
) {
    // SAFETY: `settle` passed this pointer, from `Box::into_raw`.
    let Arrival { deferred, value } = *unsafe { Box::from_raw(arrival.cast::<Arrival>()) };
    // SAFETY: called by the environment, on its own thread.
    if env.is_null() || !unsafe { runs(env) } {
        return;
    }
    PORTS.with_borrow_mut(|ports| {
        let Some(port) = ports.iter_mut().find(|port| port.env == env) else { return };
        port.pending -= 1;
        if port.pending == 0 {
            // SAFETY: the function is valid as long as its port exists.
            unsafe { sys::napi_unref_threadsafe_function(env, port.function) };
        }
    });
    let value = guard(|| Ok(value(Env::from_raw(env)))).map_err(to_napi).and_then(|value| value);
    // SAFETY: called by the environment, on its own thread. If the environment has begun to end
    // meanwhile, it refuses the call, and nothing waits for the promise.
    unsafe {
        match value {
            Ok(value) => sys::napi_resolve_deferred(env, deferred, value),
            Err(error) => sys::napi_reject_deferred(env, deferred, reason(env, error)),
        };
    }
}

/// Whether an environment can still run JavaScript. While it ends, it refuses calls that could run
/// some.
///
/// # Safety
/// Must be called on the thread of the environment, in a call from it.
unsafe fn runs(env: sys::napi_env) -> bool {
    let mut value = null_mut();
    // SAFETY: guaranteed by the caller.
    unsafe {
        sys::napi_get_undefined(env, &mut value);
        sys::napi_coerce_to_bool(env, value, &mut value) == sys::Status::napi_ok
    }
}

/// The rejection value. A JavaScript exception that is pending is taken instead of `error`, since
/// nothing can be settled while there is one.
///
/// # Safety
/// Must be called on the thread of the environment, in a call from it.
unsafe fn reason(env: sys::napi_env, error: napi::Error) -> sys::napi_value {
    let (mut thrown, mut reason) = (false, null_mut());
    // SAFETY: guaranteed by the caller.
    unsafe {
        sys::napi_is_exception_pending(env, &mut thrown);
        if thrown
            && sys::napi_get_and_clear_last_exception(env, &mut reason) == sys::Status::napi_ok
        {
            return reason;
        }
        ToNapiValue::to_napi_value(env, error).unwrap_or_else(|_| {
            sys::napi_get_undefined(env, &mut reason);
            reason
        })
    }
}

/// Cleanup hook of an environment: ends its calls, so that none arrives later.
unsafe extern "C" fn ends(owner: *mut c_void) {
    let owner = owner as usize;
    threads::end(owner);
    let port = PORTS.with_borrow_mut(|ports| {
        let place = ports.iter().position(|port| port.owner == owner)?;
        Some(ports.swap_remove(place))
    });
    if let Some(port) = port {
        // SAFETY: Node destroys the function only after this hook, and no other reference to it is
        // left.
        unsafe {
            sys::napi_release_threadsafe_function(
                port.function,
                sys::ThreadsafeFunctionReleaseMode::abort,
            )
        };
    }
}
