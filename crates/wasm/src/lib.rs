//! The WebAssembly module: the native methods of `xt-bindings` as functions on numeric handles,
//! which `ts/wasm/` wraps in objects.
//!
//! Handles are numbers, since a call consumes the elements of an array of wasm-bindgen objects.

#![cfg(target_arch = "wasm32")]

mod allocator;
mod errors;
mod handles;
mod memory;
mod methods;
#[cfg(feature = "threads")]
mod threads;

use wasm_bindgen::prelude::*;

/// Installs a panic hook. WebAssembly cannot catch a panic, which ends the module, so the message
/// is stored before.
#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|info| memory::note(info.to_string())));
}
