//! mimalloc for small blocks, with fewer addresses at a time where the process may not have many.

// an allocator is unsafe by its trait, and mimalloc is known here alone
#![allow(unsafe_code)]

use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicBool, Ordering};
use xt_bindings::blocks::addresses_are_limited;

/// `mi_option_arena_reserve` of mimalloc 3: how many KiB it reserves at a time. It would be 1 GiB.
const ARENA_RESERVE: libmimalloc_sys::mi_option_t = 23;
const FEW: std::ffi::c_long = 32 << 10;

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
        unsafe { libmimalloc_sys::mi_option_set(ARENA_RESERVE, FEW) };
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
