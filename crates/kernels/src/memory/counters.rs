//! What is in use, in bytes.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

/// Blocks from this size on are tried before they are taken: there may be enough memory, and none of it
/// in one piece.
pub(crate) const LARGE: usize = if cfg!(target_family = "wasm") { 1 << 16 } else { 1 << 28 };

static IN_USE: AtomicI64 = AtomicI64::new(0);
static FAILED: AtomicUsize = AtomicUsize::new(0);
static KEPT: AtomicI64 = AtomicI64::new(0);

pub(super) fn count(bytes: i64) {
    IN_USE.fetch_add(bytes, Ordering::Relaxed);
}

/// Bytes in use; 0 where the program has another allocator.
pub fn in_use() -> i64 {
    IN_USE.load(Ordering::Relaxed)
}

/// Of those in use, the bytes that threads keep to work with: they come when a thread works for the first time, and stay.
pub fn kept() -> i64 {
    KEPT.load(Ordering::Relaxed)
}

/// The others in use: of tensors, weights, graphs, and handles.
pub fn held() -> i64 {
    in_use() - kept()
}

pub(crate) fn keep(change: i64) {
    KEPT.fetch_add(change, Ordering::Relaxed);
}

/// Bytes that the last allocation wanted which failed; 0 where none has.
pub fn failed() -> usize {
    FAILED.load(Ordering::Relaxed)
}

/// Notes an allocation that failed, of `size` bytes.
pub(super) fn note_failed(size: usize) {
    FAILED.store(size, Ordering::Relaxed);
}
