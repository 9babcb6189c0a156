//! The thread pool. Each thread is a JavaScript Worker that has instantiated this module on the
//! same memory and then runs one of rayon's threads.

use crate::errors::{to_js, Thrown};
use rayon::{ThreadBuilder, ThreadPoolBuilder};
use std::sync::{Condvar, Mutex, PoisonError};
use wasm_bindgen::prelude::*;
use xt_bindings::Error;

/// Threads that rayon has requested and no Worker runs yet.
static WAITING: Mutex<Vec<ThreadBuilder>> = Mutex::new(Vec::new());
/// Signalled when a thread is requested.
static ARRIVED: Condvar = Condvar::new();

/// Runs one of the pool's threads on the calling Worker; does not return.
#[wasm_bindgen]
pub fn run_thread() {
    let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
    let thread = loop {
        match waiting.pop() {
            Some(thread) => break thread,
            None => waiting = ARRIVED.wait(waiting).unwrap_or_else(PoisonError::into_inner),
        }
    };
    drop(waiting);
    thread.run();
}

/// Creates the pool of `count` threads. As many Workers must be in `run_thread`, or about to call
/// it without needing the calling thread.
#[wasm_bindgen]
pub fn start_threads(count: usize) -> Thrown<()> {
    let spawn = |thread| {
        WAITING.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        ARRIVED.notify_one();
        Ok(())
    };
    let pool = ThreadPoolBuilder::new().num_threads(count).spawn_handler(spawn).build_global();
    pool.map_err(|e| to_js(Error::State(format!("the threads cannot start: {e}"))))
}
