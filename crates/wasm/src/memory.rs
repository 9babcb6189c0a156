//! Memory statistics, and the reason why a module has stopped.

use crate::allocator::Keeping;
use std::sync::{Mutex, PoisonError};
use wasm_bindgen::prelude::*;
use xt_bindings::memory::Counting;

#[global_allocator]
static ALLOCATOR: Counting<Keeping> = Counting(Keeping);

/// The message of the last panic.
static LAST_WORDS: Mutex<Option<String>> = Mutex::new(None);

/// Stores the message of a panic, since the trap that follows has none.
pub fn note(message: String) {
    *LAST_WORDS.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
}

/// The message of the panic that has ended the module, if any.
#[wasm_bindgen]
pub fn last_words() -> Option<String> {
    LAST_WORDS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Bytes requested by the last allocation that failed; 0 if none has failed.
#[wasm_bindgen]
pub fn failed_allocation() -> f64 {
    xt_bindings::memory::failed() as f64
}

/// Bytes that can still be allocated.
#[wasm_bindgen]
pub fn memory_available() -> f64 {
    xt_bindings::memory::available() as f64
}
