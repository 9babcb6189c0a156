//! mimalloc for small blocks, without reserving address space if the process has little of it.

// the trait of allocators is unsafe, and only this module uses mimalloc
#![allow(unsafe_code)]

use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicBool, Ordering};
use xt_bindings::blocks::addresses_are_limited;

/// `mi_option_disallow_arena_alloc` of mimalloc 3: whether pages are allocated from the system one
/// by one and returned to it, instead of from arenas of 1 GiB, which are never returned.
const DISALLOW_ARENAS: libmimalloc_sys::mi_option_t = 26;

/// Whether mimalloc is configured.
static BEGUN: AtomicBool = AtomicBool::new(false);

/// The allocator of small blocks.
pub struct Small;

/// Configures mimalloc before its first allocation, which reserves address space.
#[inline]
fn begin() {
    if !BEGUN.load(Ordering::Relaxed) {
        first();
    }
}

/// Configures mimalloc.
#[cold]
fn first() {
    BEGUN.store(true, Ordering::Relaxed);
    if addresses_are_limited() {
        // SAFETY: the function only sets a number.
        unsafe { libmimalloc_sys::mi_option_set(DISALLOW_ARENAS, 1) };
        xt_bindings::blocks::limit_malloc_arenas();
    }
}

// SAFETY: every method forwards to mimalloc with the same arguments.
unsafe impl GlobalAlloc for Small {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        begin();
        // SAFETY: guaranteed by the caller, here and below.
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
