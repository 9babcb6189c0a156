//! Errors on their way to JavaScript.

use wasm_bindgen::prelude::*;
use xt_bindings::{Error, Result};

/// What JavaScript catches: our error as JSON, in a string. wasm-bindgen would make an `Error` by a call without
/// `new`, which a page that has put a class of its own in the place of `Error` refuses.
pub type Thrown<T> = std::result::Result<T, JsValue>;

pub fn to_js(error: Error) -> JsValue {
    error.to_json().to_string().into()
}

/// Runs `f` now.
pub fn now<T>(f: impl FnOnce() -> Result<T>) -> Thrown<T> {
    f().map_err(to_js)
}
