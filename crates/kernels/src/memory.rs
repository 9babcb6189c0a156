//! How much memory is in use and how much is left. The addons set [`Counting`] as their allocator.

use crate::shortage;
use crate::{Error, Result};
use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

static IN_USE: AtomicI64 = AtomicI64::new(0);
static FAILED: AtomicUsize = AtomicUsize::new(0);
static KEPT: AtomicI64 = AtomicI64::new(0);

/// An allocator that counts what another one gives.
pub struct Counting<A>(pub A);

// SAFETY: every call goes to the inner allocator with the same arguments; counting touches no memory of the caller.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that the inner allocator needs.
        note(|| unsafe { self.0.alloc(layout) }, layout.size(), 0)
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        note(|| unsafe { self.0.alloc_zeroed(layout) }, layout.size(), 0)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: as above.
        unsafe { self.0.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above; a block that could not be moved is as it was.
        note(|| unsafe { self.0.realloc(pointer, layout, size) }, size, layout.size())
    }
}

#[inline]
fn note(take: impl Fn() -> *mut u8, size: usize, before: usize) -> *mut u8 {
    let mut pointer = take();
    if pointer.is_null() {
        pointer = shortage::take_again(&take);
    }
    if pointer.is_null() {
        FAILED.store(size, Ordering::Relaxed);
    } else {
        count(size as i64 - before as i64);
    }
    pointer
}

fn count(bytes: i64) {
    IN_USE.fetch_add(bytes, Ordering::Relaxed);
}

/// Bytes in use; 0 where the program has another allocator.
pub fn in_use() -> i64 {
    IN_USE.load(Ordering::Relaxed)
}

/// Of those in use, the bytes that threads keep to work with: they come when a thread works for the first time, and stay.
pub fn kept() -> i64 {
    KEPT.load(Ordering::Relaxed)
}

/// The others in use: of tensors, weights, graphs, and handles.
pub fn held() -> i64 {
    in_use() - kept()
}

pub(crate) fn keep(change: i64) {
    KEPT.fetch_add(change, Ordering::Relaxed);
}

/// Bytes that the last allocation wanted which failed; 0 where none has.
pub fn failed() -> usize {
    FAILED.load(Ordering::Relaxed)
}

pub use crate::shortage::available;

/// Bytes that one array can have at most.
pub(crate) fn largest() -> u64 {
    available().min(isize::MAX as u64)
}

/// An error where `needed` bytes are not there.
pub fn check(what: &str, needed: u64) -> Result<()> {
    if shortage::fits(needed) {
        return Ok(());
    }
    Err(out_of_memory(what, needed))
}

const OUT_OF_MEMORY: &str = "out of memory: ";

pub(crate) fn out_of_memory(what: &str, needed: u64) -> Error {
    let left = largest();
    let pieces = if left < needed { "" } else { ", but not in one piece" };
    Error::Msg(format!("{OUT_OF_MEMORY}{what} needs {}, and {} are available{pieces}", size(needed), size(left)))
}

/// Whether an error says that memory is short.
pub fn is_out_of_memory(message: &str) -> bool {
    message.starts_with(OUT_OF_MEMORY)
}

fn size(bytes: u64) -> String {
    match bytes {
        0..=0xfff_ffff => format!("{} MiB", bytes.div_ceil(1 << 20)),
        _ => format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_needed() {
        assert!(check("a model", 1 << 20).is_ok());
        let text = out_of_memory("a model", 5 << 30).to_string();
        assert!(is_out_of_memory(&text) && text.contains("a model needs 5.0 GiB"), "{text}");
        assert_eq!(size(1), "1 MiB");
    }

    #[test]
    fn the_allocator_counts() {
        let allocator = Counting(std::alloc::System);
        let layout = Layout::array::<u8>(1000).unwrap();
        let before = in_use();
        // SAFETY: the layout is not empty, and the block is freed once, with its layout.
        unsafe {
            let block = allocator.alloc(layout);
            assert_eq!(in_use() - before, 1000);
            allocator.dealloc(block, layout);
        }
        assert_eq!(in_use(), before);
    }
}
