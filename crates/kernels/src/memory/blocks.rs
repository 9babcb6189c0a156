//! Large blocks from a region of their own, which is kept from step to step.
//!
//! A training step frees and takes the same sizes over and over. A general allocator gives what was freed back to the system after a while, and
//! the system clears it when it is next touched: up to a tenth of a step. Here freed blocks are joined with their neighbours and the best fit
//! is taken, so that the region grows little beyond what is in use at most, and only what is not needed for some seconds is given back.
//!
//! A process that may have few addresses (`ulimit -v`) cannot reserve a region: there, and where
//! the system refuses, [`pages`] gives blocks one by one.

use crate::memory::{limits, pages};
use memmap2::{Advice, MmapMut, MmapOptions, UncheckedAdvice};
use range_alloc::RangeAllocator;
use std::alloc::{GlobalAlloc, Layout};
use std::cmp::Reverse;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// Blocks are whole granules.
const GRANULE: usize = 1 << 16;
/// From here on, blocks come from the region ..
const LEAST: usize = 1 << 18;
/// .. and up to here: whether there is memory for larger ones, only the system knows (see [`crate::memory::alloc`]).
const MOST: usize = crate::memory::counters::LARGE;
/// Addresses that are reserved; no memory is used before it is touched. What does not fit is the other allocator's.
const RESERVED: usize = 1 << 36;
/// Where the region begins: a multiple of a huge page, so that it can be made of them.
const ALIGN: usize = 1 << 21;
/// What was not needed for one to two of these is given back: a first step after a rest that finds its memory gone takes a fifth longer. Tests let
/// time pass themselves.
const WINDOW: Duration = Duration::from_secs(if cfg!(test) { 3600 } else { 10 });

/// An allocator whose large blocks stay, until nobody needs them.
pub struct Blocks<A> {
    inner: A,
    region: Mutex<Option<Region>>,
    /// Where the region begins: 0 before the first large block, [`NOWHERE`] if the system has none.
    first: AtomicUsize,
}

/// No block lies above it.
const NOWHERE: usize = usize::MAX;

/// Whether the process may have so few addresses that no region is reserved.
pub fn addresses_are_limited() -> bool {
    limits::addresses_are_limited(RESERVED as u64)
}

/// Keeps the C library from reserving 64 MiB of addresses for each thread that asks it for memory,
/// as its `MALLOC_ARENA_MAX` does.
pub fn spare_addresses() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it sets a number, under the lock of the C library.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1)
    };
}

/// Whether blocks come from the system one by one.
static SINGLE: AtomicBool = AtomicBool::new(false);
/// Bytes of memory that the region keeps and nobody uses, and bytes of its addresses that nobody
/// uses.
static IDLE: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// Memory that is kept for the next blocks, and addresses that are reserved for them, in bytes.
pub(crate) fn idle() -> (u64, u64) {
    let [memory, addresses] = [0, 1].map(|i: usize| IDLE[i].load(Ordering::Relaxed) as u64);
    (memory, addresses)
}

/// Whether addresses are limited, so that there may be memory and nowhere to put it.
pub(crate) fn are_single() -> bool {
    SINGLE.load(Ordering::Relaxed)
}

/// Keeps some addresses for an emergency where they are limited; `left` bytes are left.
pub(crate) fn put_aside(left: u64) {
    if are_single() {
        pages::put_aside(left);
    }
}

pub(crate) use pages::free_what_is_aside;

impl<A> Blocks<A> {
    pub const fn new(inner: A) -> Self {
        Self { inner, region: Mutex::new(None), first: AtomicUsize::new(0) }
    }

    /// A block that is none of the inner allocator's, and whether it holds zeros; null where there
    /// is no room. Nothing for sizes that are not its
    /// business, or while somebody else is at the region.
    fn take(&self, layout: Layout) -> Option<(*mut u8, bool)> {
        if layout.size() < LEAST {
            return None;
        }
        if self.is_single(layout) {
            return Some((pages::take(layout.size()), true));
        }
        if layout.size() >= MOST || layout.align() > GRANULE {
            return None;
        }
        // its own lists are small blocks; should they ever be large, this thread has the lock
        let mut region = match self.region.try_lock() {
            Ok(region) => region,
            Err(TryLockError::Poisoned(region)) => region.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        region.as_mut()?.take(granules(layout.size()))
    }

    /// Whether the system gives blocks like this one by one. What the first of them is told holds
    /// for all.
    fn is_single(&self, layout: Layout) -> bool {
        if layout.size() < LEAST || layout.align() > pages::ALIGN {
            return false;
        }
        let first = match self.first.load(Ordering::Acquire) {
            0 => self.begin(),
            first => first,
        };
        first == NOWHERE
    }

    /// Reserves the region, once; where it begins.
    #[cold]
    fn begin(&self) -> usize {
        // reserving takes no large blocks: nobody who waits here holds the lock
        let mut region = self.region.lock().unwrap_or_else(PoisonError::into_inner);
        let first = self.first.load(Ordering::Acquire);
        if first != 0 {
            return first;
        }
        if !addresses_are_limited() {
            *region = Region::reserve();
        }
        let first = region.as_ref().map_or(NOWHERE, |region| region.first);
        SINGLE.store(first == NOWHERE, Ordering::Relaxed);
        if let Some(region) = region.as_ref() {
            region.note();
        }
        self.first.store(first, Ordering::Release);
        first
    }

    /// The granules of a block of the region.
    fn place(&self, pointer: *mut u8, layout: Layout) -> Option<Range<usize>> {
        if layout.size() < LEAST {
            return None;
        }
        let first = self.first.load(Ordering::Acquire);
        let at = (pointer as usize).checked_sub(first).filter(|at| first != 0 && *at < RESERVED)? / GRANULE;
        Some(at..at + granules(layout.size()))
    }

    /// Gives back what is no longer needed, if it is time to look. Every large block that is taken or freed looks too.
    pub fn settle(&self) {
        if let Ok(Some(region)) = self.region.try_lock().as_deref_mut() {
            region.settle();
            region.note();
        }
    }

    /// Bytes of memory that the region takes, used and kept.
    #[cfg(test)]
    fn resident(&self) -> usize {
        self.region.lock().unwrap().as_ref().map_or(0, |region| region.resident * GRANULE)
    }
}

// SAFETY: a block is the inner allocator's, or granules of the region that were free; which of the two, its address tells.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Blocks<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.take(layout) {
            Some((pointer, _)) => pointer,
            // SAFETY: the caller's promise.
            None => unsafe { self.inner.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match self.take(layout) {
            Some((pointer, true)) => pointer,
            Some((pointer, false)) => {
                // SAFETY: the block has this size, and is none that is null: those are said to hold
                // zeros.
                unsafe { pointer.write_bytes(0, layout.size()) };
                pointer
            }
            // SAFETY: the caller's promise.
            None => unsafe { self.inner.alloc_zeroed(layout) },
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if self.is_single(layout) {
            // SAFETY: all blocks like this one came from there.
            return unsafe { pages::give(pointer, layout.size()) };
        }
        let Some(place) = self.place(pointer, layout) else {
            // SAFETY: the caller's promise.
            return unsafe { self.inner.dealloc(pointer, layout) };
        };
        let mut region = self.region.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(region) = region.as_mut() {
            region.free(place);
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the size, rounded up to the alignment, is no more than isize::MAX.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        let single = [layout, new].map(|layout| self.is_single(layout));
        match (single, self.place(pointer, layout)) {
            // SAFETY: as for freeing.
            ([true, true], _) => unsafe { pages::resize(pointer, layout.size(), size) },
            ([false, false], Some(place)) if size >= LEAST && granules(size) == place.len() => pointer,
            // SAFETY: the caller's promise.
            ([false, false], None) => unsafe { self.inner.realloc(pointer, layout, size) },
            _ => {
                // SAFETY: the caller's promise; both blocks have the smaller of the sizes.
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

fn granules(size: usize) -> usize {
    size.div_ceil(GRANULE)
}

struct Region {
    map: MmapMut,
    /// The address of the first granule.
    first: usize,
    /// Of all granules up to the last that was ever used.
    ranges: RangeAllocator<usize>,
    /// Which of these take memory.
    touched: Vec<bool>,
    /// How many do.
    resident: usize,
    used: usize,
    /// The most that were used in this window and the one before.
    most: [usize; 2],
    since: Instant,
}

impl Region {
    /// Nothing where the system refuses.
    fn reserve() -> Option<Self> {
        let map = MmapOptions::new().len(RESERVED + ALIGN).no_reserve_swap().map_anon().ok()?;
        // without huge pages it is slower, no more
        let _ = map.advise(Advice::HugePage);
        let first = (map.as_ptr() as usize).next_multiple_of(ALIGN);
        let ranges = RangeAllocator::new(0..0);
        let touched = Vec::new();
        Some(Self { map, first, ranges, touched, resident: 0, used: 0, most: [0; 2], since: Instant::now() })
    }

    fn take(&mut self, count: usize) -> Option<(*mut u8, bool)> {
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
        self.most[0] = self.most[0].max(self.used);
        self.settle();
        self.note();
        // SAFETY: the granule is inside the map.
        let pointer = unsafe { self.map.as_mut_ptr().add(self.offset(range.start)) };
        // what the system gives, or gives again, is clear
        Some((pointer, before == 0))
    }

    /// Bytes from the beginning of the map to a granule.
    fn offset(&self, granule: usize) -> usize {
        self.first - self.map.as_ptr() as usize + granule * GRANULE
    }

    fn free(&mut self, range: Range<usize>) {
        self.used -= range.len();
        self.ranges.free_range(range);
        self.settle();
        self.note();
    }

    /// For [`idle`].
    fn note(&self) {
        IDLE[0].store((self.resident - self.used) * GRANULE, Ordering::Relaxed);
        IDLE[1].store(RESERVED - self.used * GRANULE, Ordering::Relaxed);
    }

    /// At the end of a window, gives back what neither this nor the one before needed, and what lies between blocks: an eighth may.
    fn settle(&mut self) {
        let passed = self.since.elapsed();
        if passed < WINDOW {
            return;
        }
        // nothing was taken or freed in the last of two windows: the look at its end would have come sooner
        let needed = if passed < 2 * WINDOW { self.most[0].max(self.most[1]) } else { self.used };
        self.most = [self.used, self.most[0]];
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
            // SAFETY: nobody uses what lies there.
            if unsafe { self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, offset, length) }.is_ok() {
                self.touched[gap].fill(false);
                self.resident -= touched;
                over = over.saturating_sub(touched);
            }
        }
    }

    /// Free ranges.
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
    fn single() -> Blocks<System> {
        Blocks { inner: System, region: Mutex::new(None), first: AtomicUsize::new(NOWHERE) }
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

    /// Lets time pass, and looks.
    fn pass(blocks: &Blocks<System>, time: Duration) {
        blocks.region.lock().unwrap().as_mut().unwrap().since -= time;
        blocks.settle();
    }

    #[test]
    fn steps_take_what_steps_before_have_freed() {
        let blocks = Blocks::new(System);
        let step = || {
            let kept: Vec<_> = (0..8).map(|i| Block::new(&blocks, MIB + i * 70_000, 1)).collect();
            for block in kept {
                drop(block);
                // of another size, where blocks beside each other were
                drop(Block::new(&blocks, 3 * MIB / 2, 2));
            }
        };
        step();
        let first = blocks.resident();
        (0..20).for_each(|_| step());
        assert!(first > 8 * MIB && blocks.resident() <= first + first / 8, "{first}, {}", blocks.resident());
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
        // given again, it is clear
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
        for blocks in [Blocks::new(System), single()] {
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
        for blocks in [Blocks::new(System), single()] {
            for first in [held, LEAST] {
                let mut block = Block::new(&blocks, first, 5);
                for size in [LEAST + 1, MIB, MIB - 1, 3 * MIB, MOST, LEAST, LEAST - 1, LEAST, held] {
                    block.resize(size);
                    assert!(block.holds(held, 5));
                }
            }
            assert_eq!(used(&blocks), 0);
        }
    }

    #[test]
    fn what_cannot_be_is_null_and_leaves_what_was() {
        let blocks = single();
        let mut block = Block::new(&blocks, MIB, 5);
        // SAFETY: the layouts are not empty; nothing is freed.
        unsafe {
            assert!(blocks.alloc(layout(1 << 60)).is_null() && blocks.alloc_zeroed(layout(1 << 60)).is_null());
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
