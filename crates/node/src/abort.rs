//! Abort of running calls.

use napi_derive::napi;
use xt_bindings::AbortFlag;

/// A flag that is set by an AbortSignal and polled by heavy computations.
#[napi]
#[derive(Default)]
pub struct NativeAbortFlag(AbortFlag);

#[napi]
impl NativeAbortFlag {
    /// Aborts the calls that were started with this flag.
    #[napi]
    pub fn set(&self) {
        self.0.set();
    }

    /// The flag itself, to share with a call.
    pub(crate) fn flag(&self) -> AbortFlag {
        self.0.clone()
    }
}

/// A new abort flag.
#[napi]
pub fn abort_flag() -> NativeAbortFlag {
    NativeAbortFlag::default()
}
