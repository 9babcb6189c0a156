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
//! system refuses the reservation, [`pages`] maps blocks individually.

use crate::memory::{limits, pages};
use memmap2::{Advice, MmapMut, MmapOptions, UncheckedAdvice};
use range_alloc::RangeAllocator;
use std::alloc::{GlobalAlloc, Layout};
use std::cmp::Reverse;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// Blocks are multiples of this size, in bytes.
const GRANULE: usize = 1 << 16;
/// Blocks of at least this size, in bytes, come from the region.
const LEAST: usize = 1 << 18;
/// Blocks below this size, in bytes, come from the region. Whether there is memory for larger ones,
/// only the system knows (see [`crate::memory::alloc`]).
const LIMIT: usize = crate::memory::counters::LARGE;
/// Size of the reserved region, in bytes; it uses no memory before it is touched. Blocks that do
/// not fit come from the inner allocator.
const RESERVED: usize = 1 << 36;
/// Alignment of the region: the size of a huge page, so that the system can use huge pages.
const ALIGN: usize = 1 << 21;
/// Memory that was not needed for one to two of these intervals is returned to the system. A step
/// after a pause that has lost its memory takes a fifth longer. Tests advance the time themselves.
const WINDOW: Duration = Duration::from_secs(if cfg!(test) { 3600 } else { 10 });

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
const NO_REGION: usize = usize::MAX;

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
/// Unused memory that the region keeps, and unused addresses of the region, in bytes.
static IDLE: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// Unused memory and unused addresses that the region keeps for the next blocks, in bytes.
pub(crate) fn idle() -> (u64, u64) {
    let [memory, addresses] = [0, 1].map(|i: usize| IDLE[i].load(Ordering::Relaxed) as u64);
    (memory, addresses)
}

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

/// The number of granules of a block of `size` bytes.
fn granules(size: usize) -> usize {
    size.div_ceil(GRANULE)
}

/// The reserved region.
struct Region {
    map: MmapMut,
    /// Address of the first granule.
    first: usize,
    /// Free and used ranges of all granules that were ever used.
    ranges: RangeAllocator<usize>,
    /// For each of these granules, whether it occupies memory.
    touched: Vec<bool>,
    /// Number of granules that occupy memory.
    resident: usize,
    /// Number of granules in blocks.
    used: usize,
    /// The peak of `used` in this interval and in the one before.
    peaks: [usize; 2],
    /// Start of this interval.
    since: Instant,
}

impl Region {
    /// Reserves the addresses; `None` if the system refuses.
    fn reserve() -> Option<Self> {
        let map = MmapOptions::new().len(RESERVED + ALIGN).no_reserve_swap().map_anon().ok()?;
        // without huge pages, the region works but is slower
        let _ = map.advise(Advice::HugePage);
        let first = (map.as_ptr() as usize).next_multiple_of(ALIGN);
        let ranges = RangeAllocator::new(0..0);
        let touched = Vec::new();
        Some(Self {
            map,
            first,
            ranges,
            touched,
            resident: 0,
            used: 0,
            peaks: [0; 2],
            since: Instant::now(),
        })
    }

    /// Allocates `count` granules. Returns the block and whether it is zeroed; `None` if the region
    /// is full.
    fn allocate(&mut self, count: usize) -> Option<(*mut u8, bool)> {
        let range = match self.ranges.allocate_range(count) {
            Ok(range) => range,
            Err(_) => {
                let end = self.touched.len() + count;
                if end > RESERVED / GRANULE {
                    return None;
                }
                self.ranges.grow_to(end);
                self.touched.resize(end, false);
                self.ranges.allocate_range(count).ok()?
            }
        };
        let before = self.touched[range.clone()].iter().filter(|touched| **touched).count();
        self.touched[range.clone()].fill(true);
        self.resident += count - before;
        self.used += count;
        self.peaks[0] = self.peaks[0].max(self.used);
        self.trim();
        self.publish_idle();
        // SAFETY: the granule is inside the map.
        let pointer = unsafe { self.map.as_mut_ptr().add(self.offset(range.start)) };
        // memory is zeroed if the system provides it for the first time, or again after it was
        // returned
        Some((pointer, before == 0))
    }

    /// Offset of a granule from the start of the map, in bytes.
    fn offset(&self, granule: usize) -> usize {
        self.first - self.map.as_ptr() as usize + granule * GRANULE
    }

    /// Frees a block.
    fn free(&mut self, range: Range<usize>) {
        self.used -= range.len();
        self.ranges.free_range(range);
        self.trim();
        self.publish_idle();
    }

    /// Updates the numbers for [`idle`].
    fn publish_idle(&self) {
        IDLE[0].store((self.resident - self.used) * GRANULE, Ordering::Relaxed);
        IDLE[1].store(RESERVED - self.used * GRANULE, Ordering::Relaxed);
    }

    /// At the end of an interval, returns free memory to the system. It keeps the peak of this
    /// interval and the one before, and one eighth more for gaps between blocks.
    fn trim(&mut self) {
        let passed = self.since.elapsed();
        if passed < WINDOW {
            return;
        }
        // after two intervals, there was no allocation or release in the last one, or this would
        // have run sooner: its peak is `used`
        let needed = if passed < 2 * WINDOW { self.peaks[0].max(self.peaks[1]) } else { self.used };
        self.peaks = [self.used, self.peaks[0]];
        self.since = Instant::now();
        let mut over = self.resident.saturating_sub(needed + needed / 8);
        if over == 0 {
            return;
        }
        let mut gaps = self.gaps();
        gaps.sort_by_key(|gap| Reverse(gap.len()));
        for gap in gaps {
            if over == 0 {
                break;
            }
            let touched = self.touched[gap.clone()].iter().filter(|touched| **touched).count();
            let (offset, length) = (self.offset(gap.start), gap.len() * GRANULE);
            // SAFETY: the range is inside the map, and no block uses it.
            if unsafe { self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, offset, length) }
                .is_ok()
            {
                self.touched[gap].fill(false);
                self.resident -= touched;
                over = over.saturating_sub(touched);
            }
        }
    }

    /// The free ranges of granules.
    fn gaps(&self) -> Vec<Range<usize>> {
        let mut gaps = Vec::new();
        let (mut end, all) = (0, self.touched.len());
        for used in self.ranges.allocated_ranges().chain(std::iter::once(all..all)) {
            if used.start > end {
                gaps.push(end..used.start);
            }
            end = used.end;
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::alloc::System;
    use std::thread::scope;

    const MIB: usize = 1 << 20;

    /// Without a region, as where addresses are limited.
    fn individual() -> Blocks<System> {
        Blocks { inner: System, region: Mutex::new(None), first: AtomicUsize::new(NO_REGION) }
    }

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 64).unwrap()
    }

    struct Block<'a> {
        of: &'a Blocks<System>,
        pointer: *mut u8,
        size: usize,
    }

    impl<'a> Block<'a> {
        /// Full of a number.
        fn new(of: &'a Blocks<System>, size: usize, fill: u8) -> Self {
            // SAFETY: not empty.
            let mut block = Self { of, pointer: unsafe { of.alloc(layout(size)) }, size };
            block.bytes().fill(fill);
            block
        }

        fn zeroed(of: &'a Blocks<System>, size: usize) -> Self {
            // SAFETY: not empty.
            Self { of, pointer: unsafe { of.alloc_zeroed(layout(size)) }, size }
        }

        fn resize(&mut self, size: usize) {
            // SAFETY: this block has that layout.
            self.pointer = unsafe { self.of.realloc(self.pointer, layout(self.size), size) };
            self.size = size;
        }

        fn bytes(&mut self) -> &mut [u8] {
            assert!(!self.pointer.is_null() && self.pointer.addr().is_multiple_of(64));
            // SAFETY: the block has this size, and all its bytes were written.
            unsafe { std::slice::from_raw_parts_mut(self.pointer, self.size) }
        }

        fn holds(&mut self, count: usize, fill: u8) -> bool {
            self.bytes()[..count].iter().all(|byte| *byte == fill)
        }
    }

    impl Drop for Block<'_> {
        fn drop(&mut self) {
            // SAFETY: this block has that layout.
            unsafe { self.of.dealloc(self.pointer, layout(self.size)) };
        }
    }

    fn used(blocks: &Blocks<System>) -> usize {
        blocks.region.lock().unwrap().as_ref().map_or(0, |region| region.used)
    }

    /// Advances the time and lets the allocator return memory.
    fn pass(blocks: &Blocks<System>, time: Duration) {
        blocks.region.lock().unwrap().as_mut().unwrap().since -= time;
        blocks.trim();
    }

    #[test]
    fn steps_take_what_steps_before_have_freed() {
        let blocks = Blocks::new(System);
        let step = || {
            let kept: Vec<_> = (0..8).map(|i| Block::new(&blocks, MIB + i * 70_000, 1)).collect();
            for block in kept {
                drop(block);
                // of another size, where adjacent blocks were freed
                drop(Block::new(&blocks, 3 * MIB / 2, 2));
            }
        };
        step();
        let first = blocks.resident();
        (0..20).for_each(|_| step());
        assert!(
            first > 8 * MIB && blocks.resident() <= first + first / 8,
            "{first}, {}",
            blocks.resident()
        );
    }

    #[test]
    fn gives_back_what_is_not_needed_and_keeps_what_is() {
        let blocks = Blocks::new(System);
        let mut kept = Block::new(&blocks, MIB, 7);
        drop(Block::new(&blocks, 64 * MIB, 1));
        assert!(blocks.resident() >= 65 * MIB);
        pass(&blocks, WINDOW);
        assert!(blocks.resident() >= 65 * MIB);
        pass(&blocks, WINDOW);
        pass(&blocks, WINDOW);
        assert_eq!(blocks.resident(), MIB);
        assert!(kept.holds(MIB, 7));
        // allocated again after it was returned, memory is zeroed
        assert!(Block::zeroed(&blocks, 32 * MIB).holds(32 * MIB, 0));
    }

    #[test]
    fn gives_back_at_once_after_a_long_rest() {
        let blocks = Blocks::new(System);
        drop(Block::new(&blocks, 16 * MIB, 1));
        pass(&blocks, 2 * WINDOW);
        assert_eq!(blocks.resident(), 0);
    }

    #[test]
    fn what_steps_need_again_is_kept_however_long_they_go_on() {
        let blocks = Blocks::new(System);
        for _ in 0..10 {
            drop(Block::new(&blocks, 16 * MIB, 1));
            pass(&blocks, WINDOW);
            assert_eq!(blocks.resident(), 16 * MIB);
        }
    }

    #[test]
    fn zeroed_blocks_are_clear_wherever_they_come_from() {
        for blocks in [Blocks::new(System), individual()] {
            for size in [MIB, MIB, MIB / 2, 5000, 2 * MIB] {
                let mut block = Block::zeroed(&blocks, size);
                assert!(block.holds(size, 0));
                block.bytes().fill(9);
            }
        }
    }

    #[test]
    fn blocks_keep_what_they_hold_when_their_size_changes() {
        let held = 3000;
        for blocks in [Blocks::new(System), individual()] {
            for first in [held, LEAST] {
                let mut block = Block::new(&blocks, first, 5);
                for size in [LEAST + 1, MIB, MIB - 1, 3 * MIB, LIMIT, LEAST, LEAST - 1, LEAST, held]
                {
                    block.resize(size);
                    assert!(block.holds(held, 5));
                }
            }
            assert_eq!(used(&blocks), 0);
        }
    }

    #[test]
    fn what_cannot_be_is_null_and_leaves_what_was() {
        let blocks = individual();
        let mut block = Block::new(&blocks, MIB, 5);
        // SAFETY: the layouts are not empty; nothing is freed.
        unsafe {
            assert!(
                blocks.alloc(layout(1 << 60)).is_null()
                    && blocks.alloc_zeroed(layout(1 << 60)).is_null()
            );
            assert!(blocks.realloc(block.pointer, layout(MIB), 1 << 60).is_null());
        }
        assert!(block.holds(MIB, 5));
    }

    #[test]
    fn blocks_of_many_threads_do_not_overlap() {
        let blocks = Blocks::new(System);
        scope(|scope| {
            for thread in 1..=4u8 {
                let blocks = &blocks;
                scope.spawn(move || {
                    let mut held: Vec<Block> = Vec::new();
                    for i in 0..300usize {
                        let size = LEAST + (i * 7919 + usize::from(thread) * 104_729) % MIB;
                        held.push(Block::new(blocks, size, thread));
                        if held.len() > 6 {
                            let mut block = held.swap_remove(i % 6);
                            assert!(block.holds(block.size, thread));
                        }
                    }
                });
            }
        });
        assert_eq!(used(&blocks), 0);
    }
}
