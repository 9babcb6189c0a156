//! Blocks that are mapped and unmapped individually, for processes with a limited address space:
//! nothing is reserved in advance, and freed blocks are returned to the system at once.

use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Alignment of blocks: the least size of a page, in bytes.
pub const ALIGN: usize = 4096;

/// Size of the emergency reserve of addresses, in bytes. It is freed for allocations that are not
/// checked in advance, when they fail.
const EMERGENCY: usize = 64 << 20;

/// The emergency reserve, or null.
static RESERVE: AtomicPtr<u8> = AtomicPtr::new(null_mut());

/// Maps `size` bytes of private memory; null on failure.
fn mmap(size: usize, access: libc::c_int) -> *mut u8 {
    let how = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: without an address, the system maps the block where nothing else is.
    let pointer = unsafe { libc::mmap(null_mut(), size, access, how, -1, 0) };
    if pointer == libc::MAP_FAILED {
        null_mut()
    } else {
        pointer.cast()
    }
}

/// Allocates a block of zeros; null on failure.
pub fn map(size: usize) -> *mut u8 {
    mmap(size, libc::PROT_READ | libc::PROT_WRITE)
}

/// Frees a block.
///
/// # Safety
/// The block must come from [`map`] with this size, and nobody may use it any more.
pub unsafe fn unmap(pointer: *mut u8, size: usize) {
    // SAFETY: the caller guarantees that this is a mapped block, which is no longer used.
    unsafe { libc::munmap(pointer.cast(), size) };
}

/// Resizes a block and may move it. On failure, returns null and leaves the block unchanged.
///
/// # Safety
/// The block must come from [`map`] with size `before`.
pub unsafe fn resize(pointer: *mut u8, before: usize, size: usize) -> *mut u8 {
    // SAFETY: the caller guarantees that this is a mapped block of this size.
    let moved = unsafe { libc::mremap(pointer.cast(), before, size, libc::MREMAP_MAYMOVE) };
    if moved == libc::MAP_FAILED {
        null_mut()
    } else {
        moved.cast()
    }
}

/// Allocates the emergency reserve, which [`free_emergency_reserve`] frees, if it does not exist
/// and enough is left. `left` is the number of available bytes.
pub fn fill_emergency_reserve(left: u64) {
    if !RESERVE.load(Ordering::Relaxed).is_null() || left < 4 * EMERGENCY as u64 {
        return;
    }
    let pointer = mmap(EMERGENCY, libc::PROT_READ | libc::PROT_WRITE);
    if !pointer.is_null()
        && RESERVE
            .compare_exchange(null_mut(), pointer, Ordering::AcqRel, Ordering::Relaxed)
            .is_err()
    {
        // SAFETY: another thread stored its block first; this block is not known elsewhere.
        unsafe { unmap(pointer, EMERGENCY) };
    }
}

/// Frees the emergency reserve. Returns whether there was one.
pub fn free_emergency_reserve() -> bool {
    let pointer = RESERVE.swap(null_mut(), Ordering::AcqRel);
    if pointer.is_null() {
        return false;
    }
    // SAFETY: only the thread that swaps the pointer out has it.
    unsafe { unmap(pointer, EMERGENCY) };
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_keep_what_they_hold_when_their_size_changes() {
        let pointer = map(1 << 20);
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
            unmap(smaller, 1 << 18);
        }
        assert!(map(1 << 62).is_null());
    }

    #[test]
    fn the_emergency_reserve_exists_once() {
        fill_emergency_reserve(0);
        assert!(!free_emergency_reserve());
        fill_emergency_reserve(u64::MAX);
        fill_emergency_reserve(u64::MAX);
        assert!(free_emergency_reserve() && !free_emergency_reserve());
    }
}
