//! An allocator that takes large blocks from a reserved region and keeps freed ones for later
//! steps.
//!
//! A training step allocates and frees the same sizes over and over. A general allocator returns
//! freed memory to the system after a while, and the system clears it when it is next touched: this
//! takes up to a tenth of a step. This allocator merges freed blocks with their neighbours and
//! allocates by best fit, so the region grows little beyond the peak use. It returns memory to the
//! system only if it was not needed for some seconds.
//!
//! A process with a limited address space (`ulimit -v`) cannot reserve a region. Then, and if the
//! system refuses the reservation, `pages` maps blocks individually.

mod region;
#[cfg(test)]
mod tests;

pub(crate) use region::idle;

use crate::memory::{limits, pages};
use region::{granules, Region, GRANULE, RESERVED};
use std::alloc::{GlobalAlloc, Layout};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};

/// Blocks of at least this size, in bytes, come from the region.
pub(super) const LEAST: usize = 1 << 18;

/// Blocks below this size, in bytes, come from the region. Whether there is memory for larger ones,
/// only the system knows (see [`crate::memory::alloc`]).
pub(super) const LIMIT: usize = crate::memory::counters::LARGE;

/// An allocator that keeps large blocks until they have not been needed for a while. Smaller blocks
/// come from the inner allocator `A`.
pub struct Blocks<A> {
    inner: A,
    region: Mutex<Option<Region>>,
    /// Start address of the region: 0 before the first large block, [`NO_REGION`] if there is no
    /// region.
    first: AtomicUsize,
}

/// Marks a region that does not exist. It is above the address of every block.
pub(super) const NO_REGION: usize = usize::MAX;

/// Whether the address space of the process is too limited to reserve a region.
pub fn addresses_are_limited() -> bool {
    limits::addresses_are_limited(RESERVED as u64)
}

/// Prevents the C library from reserving 64 MiB of addresses for each thread that allocates, like
/// `MALLOC_ARENA_MAX`.
pub fn limit_malloc_arenas() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call only sets a number, under the lock of the C library.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1)
    };
}

/// Whether large blocks are mapped individually.
static INDIVIDUAL: AtomicBool = AtomicBool::new(false);

/// Whether there is no region, so that free memory may lack addresses.
pub(crate) fn blocks_are_individual() -> bool {
    INDIVIDUAL.load(Ordering::Relaxed)
}

/// Allocates the emergency reserve of addresses if there is no region; `left` is the number of
/// available bytes.
pub(crate) fn fill_emergency_reserve(left: u64) {
    if blocks_are_individual() {
        pages::fill_emergency_reserve(left);
    }
}

pub(crate) use pages::free_emergency_reserve;

impl<A> Blocks<A> {
    /// Creates the allocator; the region is reserved with the first large block.
    pub const fn new(inner: A) -> Self {
        Self { inner, region: Mutex::new(None), first: AtomicUsize::new(0) }
    }

    /// Allocates a large block. Returns the block, null on failure, and whether it is zeroed.
    /// Returns `None` if the inner allocator has to serve the request: for other sizes, a full
    /// region, or while another thread uses the region.
    fn allocate(&self, layout: Layout) -> Option<(*mut u8, bool)> {
        if layout.size() < LEAST {
            return None;
        }
        if self.is_individual(layout) {
            return Some((pages::map(layout.size()), true));
        }
        if layout.size() >= LIMIT || layout.align() > GRANULE {
            return None;
        }
        // the lists of the region are small blocks; if one were large, this thread has the lock
        // already, and the inner allocator would serve it
        let mut region = match self.region.try_lock() {
            Ok(region) => region,
            Err(TryLockError::Poisoned(region)) => region.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        region.as_mut()?.allocate(granules(layout.size()))
    }

    /// Whether blocks of this layout are mapped individually. This is decided with the first large
    /// block and does not change.
    fn is_individual(&self, layout: Layout) -> bool {
        if layout.size() < LEAST || layout.align() > pages::ALIGN {
            return false;
        }
        let first = match self.first.load(Ordering::Acquire) {
            0 => self.reserve_once(),
            first => first,
        };
        first == NO_REGION
    }

    /// Reserves the region, once. Returns its start address, or [`NO_REGION`].
    #[cold]
    fn reserve_once(&self) -> usize {
        // a reservation allocates no large blocks, so a thread that waits here does not hold the
        // lock
        let mut region = self.region.lock().unwrap_or_else(PoisonError::into_inner);
        let first = self.first.load(Ordering::Acquire);
        if first != 0 {
            return first;
        }
        if !addresses_are_limited() {
            *region = Region::reserve();
        }
        let first = region.as_ref().map_or(NO_REGION, |region| region.first);
        INDIVIDUAL.store(first == NO_REGION, Ordering::Relaxed);
        if let Some(region) = region.as_ref() {
            region.publish_idle();
        }
        self.first.store(first, Ordering::Release);
        first
    }

    /// The granules of a block; `None` if it is not in the region.
    fn granules_of(&self, pointer: *mut u8, layout: Layout) -> Option<Range<usize>> {
        if layout.size() < LEAST {
            return None;
        }
        let first = self.first.load(Ordering::Acquire);
        let at = (pointer as usize).checked_sub(first).filter(|at| first != 0 && *at < RESERVED)?
            / GRANULE;
        Some(at..at + granules(layout.size()))
    }

    /// Returns memory that is no longer needed to the system, at the end of an interval. Each
    /// allocation and release of a large block does this too.
    pub fn trim(&self) {
        if let Ok(Some(region)) = self.region.try_lock().as_deref_mut() {
            region.trim();
            region.publish_idle();
        }
    }

    /// Memory of the region in bytes, used and kept.
    #[cfg(test)]
    fn resident(&self) -> usize {
        self.region.lock().unwrap().as_ref().map_or(0, |region| region.resident * GRANULE)
    }
}

// SAFETY: a block comes from the inner allocator, from `pages`, or from free granules of the
// region. Its layout and address tell which.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Blocks<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.allocate(layout) {
            Some((pointer, _)) => pointer,
            // SAFETY: the caller guarantees the conditions of `GlobalAlloc`.
            None => unsafe { self.inner.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match self.allocate(layout) {
            Some((pointer, true)) => pointer,
            Some((pointer, false)) => {
                // SAFETY: the block has this size. It is not null, because null is returned as
                // zeroed.
                unsafe { pointer.write_bytes(0, layout.size()) };
                pointer
            }
            // SAFETY: the caller guarantees the conditions of `GlobalAlloc`.
            None => unsafe { self.inner.alloc_zeroed(layout) },
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if self.is_individual(layout) {
            // SAFETY: all blocks of such a layout come from `pages`.
            return unsafe { pages::unmap(pointer, layout.size()) };
        }
        let Some(range) = self.granules_of(pointer, layout) else {
            // SAFETY: the caller guarantees the conditions of `GlobalAlloc`.
            return unsafe { self.inner.dealloc(pointer, layout) };
        };
        let mut region = self.region.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(region) = region.as_mut() {
            region.free(range);
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller guarantees that the size, rounded up to the alignment, is at most
        // isize::MAX.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        let individual = [layout, new].map(|layout| self.is_individual(layout));
        match (individual, self.granules_of(pointer, layout)) {
            // SAFETY: all blocks of such a layout come from `pages`.
            ([true, true], _) => unsafe { pages::resize(pointer, layout.size(), size) },
            ([false, false], Some(range)) if size >= LEAST && granules(size) == range.len() => {
                pointer
            }
            // SAFETY: the caller guarantees the conditions of `GlobalAlloc`.
            ([false, false], None) => unsafe { self.inner.realloc(pointer, layout, size) },
            _ => {
                // SAFETY: the caller guarantees that the block has this layout; both blocks have at
                // least the smaller size.
                unsafe {
                    let moved = self.alloc(new);
                    if !moved.is_null() {
                        moved.copy_from_nonoverlapping(pointer, size.min(layout.size()));
                        self.dealloc(pointer, layout);
                    }
                    moved
                }
            }
        }
    }
}
