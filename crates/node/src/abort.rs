//! Calls that are told to end early.

use napi_derive::napi;
use xt_bindings::AbortFlag;

/// Set by an AbortSignal; heavy work polls it.
#[napi]
#[derive(Default)]
pub struct NativeAbortFlag(AbortFlag);

#[napi]
impl NativeAbortFlag {
    #[napi]
    pub fn set(&self) {
        self.0.set();
    }

    pub(crate) fn flag(&self) -> AbortFlag {
        self.0.clone()
    }
}
