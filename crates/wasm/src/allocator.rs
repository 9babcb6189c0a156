//! An allocator that keeps freed large blocks for later allocations of about the same size.
//!
//! A training step allocates and frees the same sizes again and again. A general-purpose allocator
//! would split freed blocks, and the memory of WebAssembly, which can only grow, would increase
//! slowly. This allocator rounds large sizes up to one of eight size classes per power of two, and
//! keeps freed blocks in one list per class, so that no memory is allocated after the first steps.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};

/// Smaller blocks are left to the system's allocator.
const SMALLEST: usize = 1 << 14;
/// Eight size classes for each power of two from SMALLEST to 4 GiB.
const CLASSES: usize = 8 * 18;
/// Alignment of large blocks; arrays of numbers, read as vectors, need no more.
const ALIGN: usize = 64;

/// The class of a size and the size of its blocks; `None` for small and impossible sizes.
fn class(size: usize) -> Option<(usize, usize)> {
    if size < SMALLEST || size > isize::MAX as usize / 2 {
        return None;
    }
    let step = (1usize << (usize::BITS - 1 - (size - 1).leading_zeros())) / 8;
    let rounded = size.next_multiple_of(step);
    let power = (usize::BITS - 1 - (rounded - 1).leading_zeros()) as usize;
    let index = (power - 13) * 8 + (rounded - 1 - (1 << power)) / (1 << (power - 3));
    Some((index.min(CLASSES - 1), rounded))
}

/// Freed blocks by class, as linked lists: each block begins with the address of the next one.
struct Lists(UnsafeCell<[*mut u8; CLASSES]>);

// SAFETY: the lists are accessed only by the holder of LOCK.
unsafe impl Sync for Lists {}

/// The lists of freed blocks.
static LISTS: Lists = Lists(UnsafeCell::new([null_mut(); CLASSES]));
/// Spin lock of LISTS.
static LOCK: AtomicBool = AtomicBool::new(false);

/// Runs `f` on the lists. The lock is held only briefly, so a spin lock suffices.
fn with_lists<T>(f: impl FnOnce(&mut [*mut u8; CLASSES]) -> T) -> T {
    while LOCK.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
        std::hint::spin_loop();
    }
    // SAFETY: LOCK is held until `f` has returned, so this is the only reference.
    let result = f(unsafe { &mut *LISTS.0.get() });
    LOCK.store(false, Ordering::Release);
    result
}

/// The system's allocator with lists of freed large blocks in front of it.
pub struct Keeping;

impl Keeping {
    /// Takes a block from the list of a class; null if it is empty.
    fn take(index: usize) -> *mut u8 {
        with_lists(|lists| {
            let block = lists[index];
            if !block.is_null() {
                // SAFETY: a block in a list is at least SMALLEST bytes long, aligned, and begins
                // with the address of the next block.
                lists[index] = unsafe { *block.cast::<*mut u8>() };
            }
            block
        })
    }

    /// Adds a freed block to the list of its class.
    fn put(index: usize, block: *mut u8) {
        with_lists(|lists| {
            // SAFETY: the block is free, large enough for an address, and aligned.
            unsafe { *block.cast::<*mut u8>() = lists[index] };
            lists[index] = block;
        });
    }

    /// Returns all kept blocks to the system: memory is short, and they may be of the wrong sizes.
    fn release() {
        for index in 0..CLASSES {
            loop {
                let block = Self::take(index);
                if block.is_null() {
                    break;
                }
                // SAFETY: blocks of a class were allocated with exactly this layout.
                unsafe { System.dealloc(block, layout(size_of_class(index))) };
            }
        }
    }
}

/// The layout of a large block.
fn layout(size: usize) -> Layout {
    // SAFETY: ALIGN is a power of two, and sizes of classes are far below isize::MAX.
    unsafe { Layout::from_size_align_unchecked(size, ALIGN) }
}

/// The size of the blocks of a class.
fn size_of_class(index: usize) -> usize {
    let power = 13 + index / 8;
    (1 << power) + (index % 8 + 1) * (1 << (power - 3))
}

// SAFETY: every block comes from the system's allocator with a layout at least as large and as
// aligned as requested. It is returned, or put into a list, under the same class, which depends
// only on the requested layout.
unsafe impl GlobalAlloc for Keeping {
    unsafe fn alloc(&self, asked: Layout) -> *mut u8 {
        let Some((index, size)) = class(asked.size()).filter(|_| asked.align() <= ALIGN) else {
            // SAFETY: guaranteed by the caller.
            return unsafe { System.alloc(asked) };
        };
        let kept = Self::take(index);
        if !kept.is_null() {
            return kept;
        }
        // SAFETY: the size is not 0.
        let block = unsafe { System.alloc(layout(size)) };
        if !block.is_null() {
            return block;
        }
        Self::release();
        // SAFETY: as above.
        unsafe { System.alloc(layout(size)) }
    }

    unsafe fn dealloc(&self, block: *mut u8, asked: Layout) {
        match class(asked.size()).filter(|_| asked.align() <= ALIGN) {
            Some((index, _)) => Self::put(index, block),
            // SAFETY: guaranteed by the caller; a block without a class came from the system's
            // allocator.
            None => unsafe { System.dealloc(block, asked) },
        }
    }
}
