use super::region::WINDOW;
use super::{Blocks, LEAST, LIMIT, NO_REGION};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::AtomicUsize;
use std::sync::Mutex;
use std::thread::scope;
use std::time::Duration;

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
            for size in [LEAST + 1, MIB, MIB - 1, 3 * MIB, LIMIT, LEAST, LEAST - 1, LEAST, held] {
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
