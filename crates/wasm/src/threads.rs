//! Threads: each is a Worker of JavaScript that has instantiated this module on the same memory and then runs one of rayon's threads.

use crate::errors::{to_js, Thrown};
use rayon::{ThreadBuilder, ThreadPoolBuilder};
use std::sync::{Condvar, Mutex, PoisonError};
use wasm_bindgen::prelude::*;
use xt_bindings::Error;

/// Threads that rayon wants and that no Worker runs yet.
static WAITING: Mutex<Vec<ThreadBuilder>> = Mutex::new(Vec::new());
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

/// Makes the pool of `count` threads. So many Workers must be in `run_thread`, or on their way to it without needing the calling thread.
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
