//! Keeps large blocks that were freed for the next array of about their size.
//!
//! A training step frees and takes the same sizes over and over. A general allocator cuts freed blocks up, and the memory of
//! WebAssembly, which only ever grows, creeps. Here large sizes are rounded up to one of eight per power of two, and freed blocks of
//! a size wait in a list of their own: after the first steps nothing new is taken.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};

/// Smaller blocks are the system's business.
const SMALLEST: usize = 1 << 14;
/// Eight sizes for each power of two from SMALLEST to 4 GiB.
const CLASSES: usize = 8 * 18;
/// No block needs more: arrays of numbers, read in vectors.
const ALIGN: usize = 64;

/// The class of a size and the size of its blocks; none for small and for impossible sizes.
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

/// Freed blocks by class: the first bytes of each hold the address of the next.
struct Lists(UnsafeCell<[*mut u8; CLASSES]>);

// SAFETY: the lists are touched by the holder of LOCK alone.
unsafe impl Sync for Lists {}

static LISTS: Lists = Lists(UnsafeCell::new([null_mut(); CLASSES]));
static LOCK: AtomicBool = AtomicBool::new(false);

/// Runs `f` on the lists. Nothing in it takes long, so waiting means looking again.
fn with_lists<T>(f: impl FnOnce(&mut [*mut u8; CLASSES]) -> T) -> T {
    while LOCK.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
        std::hint::spin_loop();
    }
    // SAFETY: LOCK is held until after `f`, so this is the only reference.
    let result = f(unsafe { &mut *LISTS.0.get() });
    LOCK.store(false, Ordering::Release);
    result
}

/// The system's allocator with lists of large blocks in front of it.
pub struct Keeping;

impl Keeping {
    fn take(index: usize) -> *mut u8 {
        with_lists(|lists| {
            let block = lists[index];
            if !block.is_null() {
                // SAFETY: a block in a list is at least SMALLEST long, aligned, and holds the address of the next.
                lists[index] = unsafe { *block.cast::<*mut u8>() };
            }
            block
        })
    }

    fn put(index: usize, block: *mut u8) {
        with_lists(|lists| {
            // SAFETY: the block is free, large enough and aligned.
            unsafe { *block.cast::<*mut u8>() = lists[index] };
            lists[index] = block;
        });
    }

    /// Gives all kept blocks back to the system: memory is short, and they may be of the wrong sizes.
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

fn layout(size: usize) -> Layout {
    // SAFETY: ALIGN is a power of two, and sizes of classes are far below isize::MAX.
    unsafe { Layout::from_size_align_unchecked(size, ALIGN) }
}

/// The size of a class's blocks.
fn size_of_class(index: usize) -> usize {
    let power = 13 + index / 8;
    (1 << power) + (index % 8 + 1) * (1 << (power - 3))
}

// SAFETY: every block comes from the system's allocator with a layout that is at least as large and as aligned as what was asked
// for, and goes back, or into a list, under the same class, which depends on the asked size alone.
unsafe impl GlobalAlloc for Keeping {
    unsafe fn alloc(&self, asked: Layout) -> *mut u8 {
        let Some((index, size)) = class(asked.size()).filter(|_| asked.align() <= ALIGN) else {
            // SAFETY: the caller's promises.
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
            // SAFETY: the caller's promises; a block without a class came from the system.
            None => unsafe { System.dealloc(block, asked) },
        }
    }
}
