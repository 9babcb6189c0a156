//! How much memory is in use, and why a module has stopped.

use crate::allocator::Keeping;
use std::sync::{Mutex, PoisonError};
use wasm_bindgen::prelude::*;
use xt_bindings::memory::Counting;

#[global_allocator]
static ALLOCATOR: Counting<Keeping> = Counting(Keeping);

static LAST_WORDS: Mutex<Option<String>> = Mutex::new(None);

/// Keeps the message of a panic: what follows it is a trap, which has none.
pub fn note(message: String) {
    *LAST_WORDS.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
}

/// The message of the panic that has ended the module, if it was one.
#[wasm_bindgen]
pub fn last_words() -> Option<String> {
    LAST_WORDS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Bytes that the last allocation wanted which failed; 0 where none has.
#[wasm_bindgen]
pub fn failed_allocation() -> f64 {
    xt_bindings::memory::failed() as f64
}

/// Bytes in use, without those that threads keep to work with.
#[wasm_bindgen]
pub fn memory_held() -> f64 {
    xt_bindings::memory::held() as f64
}

/// Bytes that threads keep to work with.
#[wasm_bindgen]
pub fn memory_kept() -> f64 {
    xt_bindings::memory::kept() as f64
}

/// Bytes that can still be asked for.
#[wasm_bindgen]
pub fn memory_available() -> f64 {
    xt_bindings::memory::available() as f64
}
