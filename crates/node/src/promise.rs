//! Promises that other threads settle. All of an environment share one threadsafe function, which
//! keeps the process alive while one of them is pending.
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

type Value = Box<dyn FnOnce(Env) -> napi::Result<sys::napi_value> + Send>;

/// A promise that waits for its value.
pub struct Promise {
    deferred: sys::napi_deferred,
    function: sys::napi_threadsafe_function,
    owner: usize,
}

// SAFETY: the deferred is passed on and not looked at; the function is for any thread, and there
// until the calls of its environment have ended (see `ends`).
unsafe impl Send for Promise {}

/// What comes back to the thread of the environment.
struct Arrival {
    deferred: sys::napi_deferred,
    value: Value,
}

/// Where the calls of an environment arrive.
struct Port {
    env: sys::napi_env,
    function: sys::napi_threadsafe_function,
    owner: usize,
    pending: usize,
}

thread_local! {
    /// Of the environments on this thread: one, unless the library was loaded again.
    static PORTS: RefCell<Vec<Port>> = const { RefCell::new(Vec::new()) };
}

impl Promise {
    /// On the thread of its environment; with the promise as JavaScript sees it.
    pub fn new(env: Env) -> napi::Result<(Self, sys::napi_value)> {
        let (mut deferred, mut value) = (null_mut(), null_mut());
        // SAFETY: the environment is that of the call that runs on this thread.
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
                // SAFETY: as above; the function is there as long as its port.
                check_status!(unsafe { sys::napi_ref_threadsafe_function(port.env, port.function) })?;
            }
            Ok((Self { deferred, function: port.function, owner: port.owner }, value))
        })
    }

    /// Whose it is: a number for each environment.
    pub fn owner(&self) -> usize {
        self.owner
    }

    /// Settles it, from any thread, with what `value` gives on the thread of the environment. Where
    /// that is ending, `value` is dropped there.
    pub fn settle<J: ToNapiValue>(self, value: impl FnOnce(Env) -> napi::Result<J> + Send + 'static) {
        // SAFETY: on the thread of the environment, in a call by it.
        let value: Value = Box::new(move |env| unsafe { J::to_napi_value(env.raw(), value(env)?) });
        let arrival = Box::into_raw(Box::new(Arrival { deferred: self.deferred, value }));
        let mode = sys::ThreadsafeFunctionCallMode::nonblocking;
        // SAFETY: see `Send`. The function takes the arrival over where it says so.
        unsafe {
            if sys::napi_call_threadsafe_function(self.function, arrival.cast(), mode) != sys::Status::napi_ok {
                drop(Box::from_raw(arrival));
            }
        }
    }
}

impl Port {
    fn open(env: Env) -> napi::Result<Self> {
        static OWNERS: AtomicUsize = AtomicUsize::new(1);
        let owner = OWNERS.fetch_add(1, Ordering::Relaxed);
        let (mut name, mut function) = (null_mut(), null_mut());
        let env = env.raw();
        // SAFETY: the environment is that of the call that runs on this thread. The hook is added
        // after the function, so that it runs before Node takes the function down.
        unsafe {
            check_status!(sys::napi_create_string_utf8(env, c"x-transformers".as_ptr(), -1, &mut name))?;
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

/// On the thread of the environment; `env` is null where that is ending.
unsafe extern "C" fn arrives(env: sys::napi_env, _: sys::napi_value, _: *mut c_void, arrival: *mut c_void) {
    // SAFETY: `settle` has given it.
    let Arrival { deferred, value } = *unsafe { Box::from_raw(arrival.cast::<Arrival>()) };
    // SAFETY: the environment calls.
    if env.is_null() || !unsafe { runs(env) } {
        return;
    }
    PORTS.with_borrow_mut(|ports| {
        let Some(port) = ports.iter_mut().find(|port| port.env == env) else { return };
        port.pending -= 1;
        if port.pending == 0 {
            // SAFETY: the function is there as long as its port.
            unsafe { sys::napi_unref_threadsafe_function(env, port.function) };
        }
    });
    let value = guard(|| Ok(value(Env::from_raw(env)))).map_err(to_napi).and_then(|value| value);
    // SAFETY: the environment calls. Where it has come to its end meanwhile it refuses, and nobody
    // waits for the promise.
    unsafe {
        match value {
            Ok(value) => sys::napi_resolve_deferred(env, deferred, value),
            Err(error) => sys::napi_reject_deferred(env, deferred, reason(env, error)),
        };
    }
}

/// Whether an environment still runs JavaScript: while it ends, it refuses to make what could call
/// some.
///
/// # Safety
/// On the thread of the environment, in a call by it.
unsafe fn runs(env: sys::napi_env) -> bool {
    let mut value = null_mut();
    // SAFETY: the caller's promise.
    unsafe {
        sys::napi_get_undefined(env, &mut value);
        sys::napi_coerce_to_bool(env, value, &mut value) == sys::Status::napi_ok
    }
}

/// What to reject with. An exception that JavaScript has thrown meanwhile is taken: while there is
/// one, nothing can be settled.
///
/// # Safety
/// On the thread of the environment, in a call by it.
unsafe fn reason(env: sys::napi_env, error: napi::Error) -> sys::napi_value {
    let (mut thrown, mut reason) = (false, null_mut());
    // SAFETY: the caller's promise.
    unsafe {
        sys::napi_is_exception_pending(env, &mut thrown);
        if thrown && sys::napi_get_and_clear_last_exception(env, &mut reason) == sys::Status::napi_ok {
            return reason;
        }
        ToNapiValue::to_napi_value(env, error).unwrap_or_else(|_| {
            sys::napi_get_undefined(env, &mut reason);
            reason
        })
    }
}

/// Before an environment ends: none of its calls must come back later.
unsafe extern "C" fn ends(owner: *mut c_void) {
    let owner = owner as usize;
    threads::end(owner);
    let port = PORTS.with_borrow_mut(|ports| {
        let place = ports.iter().position(|port| port.owner == owner)?;
        Some(ports.swap_remove(place))
    });
    if let Some(port) = port {
        // SAFETY: the function is there, as Node takes it down after this; nobody else knows it any
        // more.
        unsafe { sys::napi_release_threadsafe_function(port.function, sys::ThreadsafeFunctionReleaseMode::abort) };
    }
}
