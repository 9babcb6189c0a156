//! The global allocator of the Node addon and the WebAssembly module.

use crate::memory::counters::{count, note_failed};
use crate::memory::shortage;
use std::alloc::{GlobalAlloc, Layout};

/// An allocator that counts the bytes that the inner allocator, its field, has handed out.
pub struct Counting<A>(pub A);

// SAFETY: every call goes to the inner allocator with the same arguments; counting accesses no
// memory of the caller.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller guarantees the conditions of `GlobalAlloc`, which are those of the
        // inner allocator.
        count_allocation(|| unsafe { self.0.alloc(layout) }, layout.size(), 0)
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        count_allocation(|| unsafe { self.0.alloc_zeroed(layout) }, layout.size(), 0)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: as above.
        unsafe { self.0.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above; a failed `realloc` leaves the block unchanged, so it can be retried.
        count_allocation(|| unsafe { self.0.realloc(pointer, layout, size) }, size, layout.size())
    }
}

/// Allocates with `allocate`, retries on failure, and counts the change from `before` to `size`
/// bytes.
#[inline]
fn count_allocation(allocate: impl Fn() -> *mut u8, size: usize, before: usize) -> *mut u8 {
    let mut pointer = allocate();
    if pointer.is_null() {
        pointer = shortage::retry(&allocate);
    }
    if pointer.is_null() {
        note_failed(size);
    } else {
        count(size as i64 - before as i64);
    }
    pointer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::counters::in_use;

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
