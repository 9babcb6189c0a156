//! Reports the addon's native memory to V8, so that the garbage collector knows how much memory a
//! small handle keeps alive.

#[cfg(target_os = "linux")]
use crate::small::Small;
#[cfg(not(target_os = "linux"))]
use mimalloc::MiMalloc;
use napi::Env;
use std::cell::Cell;
#[cfg(target_os = "linux")]
use xt_bindings::blocks::Blocks;
use xt_bindings::memory::{gpu_pressure, in_use, Counting};

/// The allocator. mimalloc retains freed blocks for a while, where the system's allocator would
/// return them and page-fault on the next allocation. On Linux, large blocks are kept for the next
/// step, and the system is told that it may reclaim their pages.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: Counting<Blocks<Small>> = Counting(Blocks::new(Small));
#[cfg(not(target_os = "linux"))]
#[global_allocator]
static ALLOCATOR: Counting<MiMalloc> = Counting(MiMalloc);

thread_local! {
    /// The bytes last reported to this thread's isolate, with a share of those on GPUs.
    static TOLD: Cell<i64> = const { Cell::new(0) };
}

/// Reports the change of the addon's memory since the last report to V8, if it is large enough.
/// Returns `result`.
pub fn report<T>(env: Env, result: napi::Result<T>) -> napi::Result<T> {
    const STEP: i64 = 64 * 1024;
    #[cfg(target_os = "linux")]
    ALLOCATOR.0.trim();
    let change = in_use() + gpu_pressure() - TOLD.get();
    if change.abs() >= STEP {
        TOLD.set(TOLD.get() + change);
        env.adjust_external_memory(change)?;
    }
    result
}
