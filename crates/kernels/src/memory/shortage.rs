//! Available memory, estimated between queries to the system, and retries of failed allocations.

#[cfg(target_family = "wasm")]
mod wasm {
    use crate::memory::counters::in_use;

    /// The address space of a WebAssembly module, in bytes.
    const LIMIT: u64 = 4 << 30;
    /// Reserve for allocations that are not checked in advance, in bytes.
    const RESERVE: u64 = 48 << 20;

    /// Bytes that can still be allocated.
    pub fn available() -> u64 {
        LIMIT.saturating_sub(in_use().max(0) as u64).saturating_sub(RESERVE)
    }

    /// Whether `needed` bytes are available.
    pub(crate) fn fits(needed: u64) -> bool {
        needed <= available()
    }

    /// Whether only a trial allocation shows that a block fits: always, in WebAssembly.
    pub(crate) fn needs_trial() -> bool {
        true
    }

    /// Runs `f`, which handles failed allocations itself: they are not retried.
    pub(crate) fn without_retry<T>(f: impl FnOnce() -> T) -> T {
        f()
    }

    /// Retries a failed allocation. Without other threads nothing can be freed meanwhile, so it
    /// always fails.
    pub(crate) fn retry(_allocate: &dyn Fn() -> *mut u8) -> *mut u8 {
        std::ptr::null_mut()
    }
}

#[cfg(target_family = "wasm")]
pub use wasm::available;
#[cfg(target_family = "wasm")]
pub(crate) use wasm::{fits, needs_trial, retry, without_retry};

#[cfg(not(target_family = "wasm"))]
mod native {
    use crate::memory::counters::in_use;
    use crate::memory::limits::{left, AllocatorState};
    use std::cell::Cell;
    use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
    use std::sync::OnceLock;
    use std::time::{Duration, Instant};

    /// Requests below this size, in bytes, are checked against the estimate alone, without a look
    /// at the clock.
    const UNCHECKED: u64 = 1 << 16;
    /// How long an answer of the system is valid for small requests, in microseconds.
    const VALID_FOR_SMALL: u64 = 100_000;
    /// How long an answer of the system is valid for large requests, in microseconds.
    const VALID_FOR_LARGE: u64 = 2_000;
    /// A request is small if it is below this fraction of the available memory.
    const SMALL_FRACTION: u64 = 8;
    /// How often a failed allocation is retried, and the pause before each retry, in which other
    /// threads may free memory.
    const RETRIES: (u32, Duration) = (100, Duration::from_millis(5));

    /// The available bytes by the last answer of the system; 0 before the first query.
    static LEFT: AtomicU64 = AtomicU64::new(0);
    /// The bytes in use at that time.
    static USED: AtomicI64 = AtomicI64::new(0);
    /// The time of that answer, in microseconds since the first query.
    static QUERIED_AT: AtomicU64 = AtomicU64::new(0);

    thread_local! {
        /// Whether the current thread handles failed allocations itself, so that they are not
        /// retried.
        static NO_RETRY: Cell<bool> = const { Cell::new(false) };
    }

    /// Microseconds since the first call.
    fn clock() -> u64 {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_micros() as u64
    }

    /// What the allocator knows of its own memory.
    fn state() -> AllocatorState {
        let in_use = in_use().max(0) as u64;
        #[cfg(target_os = "linux")]
        let (idle, addresses) = crate::memory::blocks::idle();
        #[cfg(not(target_os = "linux"))]
        let (idle, addresses) = (0, 0);
        AllocatorState { in_use, idle, addresses }
    }

    /// Asks the system how many bytes can still be allocated.
    pub fn available() -> u64 {
        let state = state();
        let left = left(state);
        USED.store(state.in_use as i64, Ordering::Relaxed);
        QUERIED_AT.store(clock(), Ordering::Relaxed);
        LEFT.store(left, Ordering::Relaxed);
        #[cfg(target_os = "linux")]
        crate::memory::blocks::fill_emergency_reserve(left);
        left
    }

    /// Estimates the available bytes from the last answer of the system and the change in use since
    /// then.
    fn estimate() -> u64 {
        LEFT.load(Ordering::Relaxed).saturating_add_signed(USED.load(Ordering::Relaxed) - in_use())
    }

    /// Whether `needed` bytes are available. The system is asked if its last answer is too old, and
    /// always before a request is refused.
    pub(crate) fn fits(needed: u64) -> bool {
        let left = estimate();
        if needed <= left {
            if needed < UNCHECKED {
                return true;
            }
            let holds =
                if needed < left / SMALL_FRACTION { VALID_FOR_SMALL } else { VALID_FOR_LARGE };
            if clock().saturating_sub(QUERIED_AT.load(Ordering::Relaxed)) < holds {
                return true;
            }
        }
        needed <= available()
    }

    /// Whether only a trial allocation shows that a block fits: where the address space is limited.
    pub(crate) fn needs_trial() -> bool {
        #[cfg(target_os = "linux")]
        return crate::memory::blocks::blocks_are_individual();
        #[cfg(not(target_os = "linux"))]
        false
    }

    /// Runs `f`, which handles failed allocations itself: they are not retried.
    pub(crate) fn without_retry<T>(f: impl FnOnce() -> T) -> T {
        let before = NO_RETRY.replace(true);
        let result = f();
        NO_RETRY.set(before);
        result
    }

    /// Retries a failed allocation: first with the emergency reserve of addresses freed, then after
    /// pauses in which other calls may end. Returns null if it still fails.
    #[cold]
    pub(crate) fn retry(allocate: &dyn Fn() -> *mut u8) -> *mut u8 {
        let mut pointer = std::ptr::null_mut();
        if NO_RETRY.get() {
            return pointer;
        }
        #[cfg(target_os = "linux")]
        if crate::memory::blocks::free_emergency_reserve() {
            pointer = allocate();
        }
        for _ in 0..RETRIES.0 {
            if !pointer.is_null() {
                break;
            }
            std::thread::sleep(RETRIES.1);
            pointer = allocate();
        }
        pointer
    }
}

#[cfg(not(target_family = "wasm"))]
pub use native::available;
#[cfg(not(target_family = "wasm"))]
pub(crate) use native::{fits, needs_trial, retry, without_retry};
