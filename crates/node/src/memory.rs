//! Tells V8 of the addon's native memory, so that the garbage collector knows what a small handle holds.

#[cfg(target_os = "linux")]
use crate::small::Small;
#[cfg(not(target_os = "linux"))]
use mimalloc::MiMalloc;
use napi::Env;
use std::cell::Cell;
#[cfg(target_os = "linux")]
use xt_bindings::blocks::Blocks;
use xt_bindings::memory::{in_use, Counting};

/// mimalloc keeps freed blocks for a while, where the system's allocator would return them and fault them in again; large ones are kept for
/// the next step, where the system can be told that they are not needed.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: Counting<Blocks<Small>> = Counting(Blocks::new(Small));
#[cfg(not(target_os = "linux"))]
#[global_allocator]
static ALLOCATOR: Counting<MiMalloc> = Counting(MiMalloc);

thread_local! {
    /// What this thread's isolate was told last.
    static TOLD: Cell<i64> = const { Cell::new(0) };
}

/// Tells V8 how much the addon's memory has changed since it was told last; small changes wait. Gives `result` on.
pub fn report<T>(env: Env, result: napi::Result<T>) -> napi::Result<T> {
    const STEP: i64 = 64 * 1024;
    #[cfg(target_os = "linux")]
    ALLOCATOR.0.settle();
    let change = in_use() - TOLD.get();
    if change.abs() >= STEP {
        TOLD.set(TOLD.get() + change);
        env.adjust_external_memory(change)?;
    }
    result
}
