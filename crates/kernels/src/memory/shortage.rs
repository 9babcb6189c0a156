//! What there is of memory, told without a question to the system each time, and what is done when
//! there is none.

#[cfg(target_family = "wasm")]
mod wasm {
    use crate::memory::counters::in_use;

    /// What a module of WebAssembly can address.
    const LIMIT: u64 = 4 << 30;
    /// Kept for what is allocated without asking.
    const RESERVE: u64 = 48 << 20;

    /// Bytes that can still be asked for.
    pub fn available() -> u64 {
        LIMIT.saturating_sub(in_use().max(0) as u64).saturating_sub(RESERVE)
    }

    pub(crate) fn fits(needed: u64) -> bool {
        needed <= available()
    }

    /// Whether only an attempt tells that there is room.
    pub(crate) fn must_try() -> bool {
        true
    }

    pub(crate) fn trying<T>(f: impl FnOnce() -> T) -> T {
        f()
    }

    /// Nobody else would free anything.
    pub(crate) fn take_again(_take: &dyn Fn() -> *mut u8) -> *mut u8 {
        std::ptr::null_mut()
    }
}

#[cfg(target_family = "wasm")]
pub use wasm::available;
#[cfg(target_family = "wasm")]
pub(crate) use wasm::{fits, must_try, take_again, trying};

#[cfg(not(target_family = "wasm"))]
mod native {
    use crate::memory::counters::in_use;
    use crate::memory::limits::{left, Own};
    use std::cell::Cell;
    use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
    use std::sync::OnceLock;
    use std::time::{Duration, Instant};

    /// What is smaller is not worth a look at the clock.
    const SMALL: u64 = 1 << 16;
    /// How long an answer of the system holds for what is little beside it, in microseconds ..
    const LONG: u64 = 100_000;
    /// .. and for what is not.
    const SHORT: u64 = 2_000;
    /// Little is up to this part.
    const PART: u64 = 8;
    /// How often and how long an allocation that failed waits for others to free something.
    const PATIENCE: (u32, Duration) = (100, Duration::from_millis(5));

    /// What the system said last was left; 0 before it was asked.
    static LEFT: AtomicU64 = AtomicU64::new(0);
    /// What was in use then.
    static USED: AtomicI64 = AtomicI64::new(0);
    /// When, in microseconds since the first question.
    static ASKED: AtomicU64 = AtomicU64::new(0);

    thread_local! {
        /// Whether the caller takes no for an answer.
        static TRYING: Cell<bool> = const { Cell::new(false) };
    }

    fn clock() -> u64 {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_micros() as u64
    }

    fn own() -> Own {
        let in_use = in_use().max(0) as u64;
        #[cfg(target_os = "linux")]
        let (idle, addresses) = crate::memory::blocks::idle();
        #[cfg(not(target_os = "linux"))]
        let (idle, addresses) = (0, 0);
        Own { in_use, idle, addresses }
    }

    /// Bytes that can still be asked for.
    pub fn available() -> u64 {
        let own = own();
        let left = left(own);
        USED.store(own.in_use as i64, Ordering::Relaxed);
        ASKED.store(clock(), Ordering::Relaxed);
        LEFT.store(left, Ordering::Relaxed);
        #[cfg(target_os = "linux")]
        crate::memory::blocks::put_aside(left);
        left
    }

    /// What is left, from what the system said last and what was taken since.
    fn estimate() -> u64 {
        LEFT.load(Ordering::Relaxed).saturating_add_signed(USED.load(Ordering::Relaxed) - in_use())
    }

    /// Whether there are `needed` bytes. The system is asked at times, and before anybody is
    /// refused.
    pub(crate) fn fits(needed: u64) -> bool {
        let left = estimate();
        if needed <= left {
            if needed < SMALL {
                return true;
            }
            let holds = if needed < left / PART { LONG } else { SHORT };
            if clock().saturating_sub(ASKED.load(Ordering::Relaxed)) < holds {
                return true;
            }
        }
        needed <= available()
    }

    /// Whether only an attempt tells that there is room: where addresses are limited.
    pub(crate) fn must_try() -> bool {
        #[cfg(target_os = "linux")]
        return crate::memory::blocks::are_single();
        #[cfg(not(target_os = "linux"))]
        false
    }

    /// Runs `f`, whose allocations may fail.
    pub(crate) fn trying<T>(f: impl FnOnce() -> T) -> T {
        let before = TRYING.replace(true);
        let result = f();
        TRYING.set(before);
        result
    }

    /// An allocation once more that has failed: with what was put aside for it, then after a while,
    /// in which other calls may end.
    #[cold]
    pub(crate) fn take_again(take: &dyn Fn() -> *mut u8) -> *mut u8 {
        let mut pointer = std::ptr::null_mut();
        if TRYING.get() {
            return pointer;
        }
        #[cfg(target_os = "linux")]
        if crate::memory::blocks::free_what_is_aside() {
            pointer = take();
        }
        for _ in 0..PATIENCE.0 {
            if !pointer.is_null() {
                break;
            }
            std::thread::sleep(PATIENCE.1);
            pointer = take();
        }
        pointer
    }
}

#[cfg(not(target_family = "wasm"))]
pub use native::available;
#[cfg(not(target_family = "wasm"))]
pub(crate) use native::{fits, must_try, take_again, trying};
