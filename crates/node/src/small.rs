//! mimalloc for small blocks, which keeps no addresses where the process may have few.

// an allocator is unsafe by its trait, and mimalloc is known here alone
#![allow(unsafe_code)]

use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicBool, Ordering};
use xt_bindings::blocks::addresses_are_limited;

/// `mi_option_disallow_arena_alloc` of mimalloc 3: whether pages come from the system one by one,
/// and go back to it. The arenas, of 1 GiB, never do.
const DISALLOW_ARENAS: libmimalloc_sys::mi_option_t = 26;

static BEGUN: AtomicBool = AtomicBool::new(false);

/// The allocator of what is small.
pub struct Small;

/// Before the first block, since that takes addresses.
#[inline]
fn begin() {
    if !BEGUN.load(Ordering::Relaxed) {
        first();
    }
}

#[cold]
fn first() {
    BEGUN.store(true, Ordering::Relaxed);
    if addresses_are_limited() {
        // SAFETY: it sets a number.
        unsafe { libmimalloc_sys::mi_option_set(DISALLOW_ARENAS, 1) };
        xt_bindings::blocks::spare_addresses();
    }
}

// SAFETY: every call goes to mimalloc with the same arguments.
unsafe impl GlobalAlloc for Small {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        begin();
        // SAFETY: the caller's promise, here and below.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        begin();
        // SAFETY: as above.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { MiMalloc.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        unsafe { MiMalloc.realloc(pointer, layout, size) }
    }
}
