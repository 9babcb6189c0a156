//! Conversion of errors for JavaScript.

use wasm_bindgen::prelude::*;
use xt_bindings::{Error, Result};

/// A result for JavaScript, which throws the error as JSON in a string. wasm-bindgen would create
/// an `Error` by a call without `new`, which fails on pages that replace `Error` by a class of
/// their own.
pub type Thrown<T> = std::result::Result<T, JsValue>;

/// The error as JSON in a string.
pub fn to_js(error: Error) -> JsValue {
    error.to_json().to_string().into()
}

/// Runs `f`; errors become JavaScript values.
pub fn now<T>(f: impl FnOnce() -> Result<T>) -> Thrown<T> {
    f().map_err(to_js)
}
