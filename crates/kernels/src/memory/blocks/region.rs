//! The reserved region, and the free and used blocks in it.

use memmap2::{Advice, MmapMut, MmapOptions, UncheckedAdvice};
use range_alloc::RangeAllocator;
use std::cmp::Reverse;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Blocks are multiples of this size, in bytes.
pub(super) const GRANULE: usize = 1 << 16;

/// Size of the reserved region, in bytes; it uses no memory before it is touched. Blocks that do
/// not fit come from the inner allocator.
pub(super) const RESERVED: usize = 1 << 36;

/// Alignment of the region: the size of a huge page, so that the system can use huge pages.
const ALIGN: usize = 1 << 21;

/// Memory that was not needed for one to two of these intervals is returned to the system. A step
/// after a pause that has lost its memory takes a fifth longer. Tests advance the time themselves.
pub(super) const WINDOW: Duration = Duration::from_secs(if cfg!(test) { 3600 } else { 10 });

/// Unused memory that the region keeps, and unused addresses of the region, in bytes.
static IDLE: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// Unused memory and unused addresses that the region keeps for the next blocks, in bytes.
pub(crate) fn idle() -> (u64, u64) {
    let [memory, addresses] = [0, 1].map(|i: usize| IDLE[i].load(Ordering::Relaxed) as u64);
    (memory, addresses)
}

/// The number of granules of a block of `size` bytes.
pub(super) fn granules(size: usize) -> usize {
    size.div_ceil(GRANULE)
}

/// The reserved region.
pub(super) struct Region {
    pub(super) map: MmapMut,
    /// Address of the first granule.
    pub(super) first: usize,
    /// Free and used ranges of all granules that were ever used.
    pub(super) ranges: RangeAllocator<usize>,
    /// For each of these granules, whether it occupies memory.
    pub(super) touched: Vec<bool>,
    /// Number of granules that occupy memory.
    pub(super) resident: usize,
    /// Number of granules in blocks.
    pub(super) used: usize,
    /// The peak of `used` in this interval and in the one before.
    pub(super) peaks: [usize; 2],
    /// Start of this interval.
    pub(super) since: Instant,
}

impl Region {
    /// Reserves the addresses; `None` if the system refuses.
    pub(super) fn reserve() -> Option<Self> {
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
    pub(super) fn allocate(&mut self, count: usize) -> Option<(*mut u8, bool)> {
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
    pub(super) fn free(&mut self, range: Range<usize>) {
        self.used -= range.len();
        self.ranges.free_range(range);
        self.trim();
        self.publish_idle();
    }

    /// Updates the numbers for [`idle`].
    pub(super) fn publish_idle(&self) {
        IDLE[0].store((self.resident - self.used) * GRANULE, Ordering::Relaxed);
        IDLE[1].store(RESERVED - self.used * GRANULE, Ordering::Relaxed);
    }

    /// At the end of an interval, returns free memory to the system. It keeps the peak of this
    /// interval and the one before, and one eighth more for gaps between blocks.
    pub(super) fn trim(&mut self) {
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
