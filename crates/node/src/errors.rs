//! Conversion of errors for JavaScript.

use napi::Status;
use xt_bindings::Error;

/// A JavaScript error whose message is JSON with the code and the problems.
pub fn to_napi(error: Error) -> napi::Error {
    napi::Error::new(Status::GenericFailure, error.to_json().to_string())
}
