//! Blocks that the system gives and takes back one by one: where a process may have few addresses,
//! none are reserved, and what was freed is gone.

use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Blocks begin with a page, which has at least so many bytes.
pub const ALIGN: usize = 4096;

/// Put aside for what is allocated without asking when there is nothing else.
const ASIDE: usize = 64 << 20;

static HELD: AtomicPtr<u8> = AtomicPtr::new(null_mut());

fn map(size: usize, access: libc::c_int) -> *mut u8 {
    let how = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: it is placed where nothing is.
    let pointer = unsafe { libc::mmap(null_mut(), size, access, how, -1, 0) };
    if pointer == libc::MAP_FAILED {
        null_mut()
    } else {
        pointer.cast()
    }
}

/// A block full of zeros, or null.
pub fn take(size: usize) -> *mut u8 {
    map(size, libc::PROT_READ | libc::PROT_WRITE)
}

/// # Safety
/// [`take`] gave the block with this size, and nobody uses it any more.
pub unsafe fn give(pointer: *mut u8, size: usize) {
    // SAFETY: the caller's promise.
    unsafe { libc::munmap(pointer.cast(), size) };
}

/// The block with another size, perhaps elsewhere; null where that cannot be, and it is as it was.
///
/// # Safety
/// [`take`] gave the block with size `before`.
pub unsafe fn resize(pointer: *mut u8, before: usize, size: usize) -> *mut u8 {
    // SAFETY: the caller's promise.
    let moved = unsafe { libc::mremap(pointer.cast(), before, size, libc::MREMAP_MAYMOVE) };
    if moved == libc::MAP_FAILED {
        null_mut()
    } else {
        moved.cast()
    }
}

/// Takes addresses that [`free_what_is_aside`] frees, once there is room for them: `left` bytes are
/// left.
pub fn put_aside(left: u64) {
    if !HELD.load(Ordering::Relaxed).is_null() || left < 4 * ASIDE as u64 {
        return;
    }
    let pointer = map(ASIDE, libc::PROT_READ | libc::PROT_WRITE);
    if !pointer.is_null() && HELD.compare_exchange(null_mut(), pointer, Ordering::AcqRel, Ordering::Relaxed).is_err() {
        // SAFETY: another thread was faster; nobody has seen this block.
        unsafe { give(pointer, ASIDE) };
    }
}

/// Frees what was put aside: whether there was something.
pub fn free_what_is_aside() -> bool {
    let pointer = HELD.swap(null_mut(), Ordering::AcqRel);
    if pointer.is_null() {
        return false;
    }
    // SAFETY: whoever swaps it out is the only one who has it.
    unsafe { give(pointer, ASIDE) };
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_keep_what_they_hold_when_their_size_changes() {
        let pointer = take(1 << 20);
        assert!(!pointer.is_null() && pointer.addr().is_multiple_of(ALIGN));
        // SAFETY: it has this size, and then the others.
        unsafe {
            assert_eq!(*pointer.add((1 << 20) - 1), 0);
            pointer.write(7);
            let larger = resize(pointer, 1 << 20, 5 << 20);
            assert_eq!((*larger, *larger.add((5 << 20) - 1)), (7, 0));
            assert!(resize(larger, 5 << 20, 1 << 62).is_null());
            let smaller = resize(larger, 5 << 20, 1 << 18);
            assert_eq!(*smaller, 7);
            give(smaller, 1 << 18);
        }
        assert!(take(1 << 62).is_null());
    }

    #[test]
    fn what_is_aside_is_there_once() {
        put_aside(0);
        assert!(!free_what_is_aside());
        put_aside(u64::MAX);
        put_aside(u64::MAX);
        assert!(free_what_is_aside() && !free_what_is_aside());
    }
}
