//! Errors on their way to JavaScript.

use napi::Status;
use xt_bindings::Error;

/// An error that carries its code and problems as JSON.
pub fn to_napi(error: Error) -> napi::Error {
    napi::Error::new(Status::GenericFailure, error.to_json().to_string())
}
