//! Counters of memory in use, in bytes.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

/// Blocks of at least this size are allocated on trial before they are needed: there may be enough
/// free memory, but not in one piece.
pub(crate) const LARGE: usize = if cfg!(target_family = "wasm") { 1 << 16 } else { 1 << 28 };

static IN_USE: AtomicI64 = AtomicI64::new(0);
static FAILED: AtomicUsize = AtomicUsize::new(0);
static KEPT: AtomicI64 = AtomicI64::new(0);

/// Adds `bytes` to the bytes in use.
pub(super) fn count(bytes: i64) {
    IN_USE.fetch_add(bytes, Ordering::Relaxed);
}

/// Bytes in use; 0 if the program has another global allocator.
pub fn in_use() -> i64 {
    IN_USE.load(Ordering::Relaxed)
}

/// Bytes in use for buffers of threads. They are allocated when a thread works for the first time,
/// and stay allocated.
pub fn kept() -> i64 {
    KEPT.load(Ordering::Relaxed)
}

/// Bytes in use for everything else: tensors, weights, autograd graphs and handles.
pub fn held() -> i64 {
    in_use() - kept()
}

/// Adds `change` to the bytes in [`kept`].
pub(crate) fn count_kept(change: i64) {
    KEPT.fetch_add(change, Ordering::Relaxed);
}

/// Size of the last failed allocation, in bytes; 0 if none has failed.
pub fn failed() -> usize {
    FAILED.load(Ordering::Relaxed)
}

/// Records a failed allocation of `size` bytes.
pub(super) fn note_failed(size: usize) {
    FAILED.store(size, Ordering::Relaxed);
}
