//! Counts the addon's native memory and tells V8 of it, so that the garbage collector knows what a small handle holds.

use mimalloc::MiMalloc;
use napi::Env;
use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, Ordering};

/// mimalloc keeps freed blocks for the next step, where the system's allocator would return them and fault them in again.
#[global_allocator]
static ALLOCATOR: Counting = Counting(MiMalloc);

static IN_USE: AtomicI64 = AtomicI64::new(0);

struct Counting(MiMalloc);

// SAFETY: every call goes to mimalloc with the same arguments; counting touches no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's promises are those that mimalloc needs.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: as above.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: as above.
        unsafe { self.0.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as i64 - layout.size() as i64);
        // SAFETY: as above.
        unsafe { self.0.realloc(pointer, layout, size) }
    }
}

fn count(bytes: i64) {
    IN_USE.fetch_add(bytes, Ordering::Relaxed);
}

/// Bytes in use.
pub fn in_use() -> i64 {
    IN_USE.load(Ordering::Relaxed)
}

thread_local! {
    /// What this thread's isolate was told last.
    static TOLD: Cell<i64> = const { Cell::new(0) };
}

/// Tells V8 how much the addon's memory has changed since it was told last; small changes wait. Gives `result` on.
pub fn report<T>(env: Env, result: napi::Result<T>) -> napi::Result<T> {
    const STEP: i64 = 64 * 1024;
    let change = in_use() - TOLD.get();
    if change.abs() >= STEP {
        TOLD.set(TOLD.get() + change);
        env.adjust_external_memory(change)?;
    }
    result
}
