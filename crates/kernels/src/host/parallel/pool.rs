//! The thread pool, and whether work is large enough for it.

use crate::Result;
use gemm::Parallelism;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Number of times that an idle thread polls for work before it yields to other programs.
const SPINS: u32 = 4096;

/// Matrix products with fewer multiplications run on one thread: waking the other threads would
/// cost more than it saves.
const LEAST_PARALLEL_WORK: u64 = 128 * 128 * 128;

/// The pool that [`set_threads`] created. Before that, rayon's global pool is used, with one thread
/// for each processor that the process may use.
static POOL: RwLock<Option<Arc<ThreadPool>>> = RwLock::new(None);

/// The current pool; `None` for rayon's global pool.
fn pool() -> Option<Arc<ThreadPool>> {
    POOL.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// The number of threads in the current pool.
pub fn threads() -> usize {
    match pool() {
        Some(pool) if rayon::current_thread_index().is_none() => pool.current_num_threads(),
        _ => rayon::current_num_threads(),
    }
}

/// Sets the number of threads for all subsequent calls. Calls in progress finish on their current
/// threads.
///
/// # Errors
/// If the threads cannot be started.
pub fn set_threads(count: usize) -> Result<()> {
    // before its first use, rayon's global pool can be built with any number of threads
    let first =
        pool().is_none() && ThreadPoolBuilder::new().num_threads(count).build_global().is_ok();
    if first || count == threads() {
        return Ok(());
    }
    let pool = ThreadPoolBuilder::new().num_threads(count).build();
    let pool =
        pool.map_err(|e| crate::Error::Invalid(format!("{count} threads cannot be started: {e}")))?;
    // the old pool is dropped outside of the lock, because this may be the last reference to it
    let _before = POOL.write().unwrap_or_else(PoisonError::into_inner).replace(Arc::new(pool));
    Ok(())
}

/// Runs `f` inside the thread pool, so that parallel loops within `f` use this pool. A call from a
/// pool thread runs `f` directly.
pub(crate) fn install<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    match pool() {
        Some(pool) if rayon::current_thread_index().is_none() => pool.install(f),
        _ => f(),
    }
}

/// Runs `f`, which calls kernels one after the other, inside the thread pool. Until `f` ends, the
/// other threads poll for work instead of going to sleep, which makes it cheap to hand them the
/// work of the next kernel. Only one call at a time has this; concurrent calls run directly on
/// their own thread, so that no call waits for the end of another.
pub fn in_pool<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if threads() == 1 || TAKEN.swap(true, Ordering::Acquire) {
        return f();
    }
    let _place = OnDrop(|| TAKEN.store(false, Ordering::Release));
    let done = Arc::new(AtomicBool::new(false));
    let call = || {
        rayon::scope(|_| {
            IN_CALL.set(true);
            let _end = OnDrop(|| {
                done.store(true, Ordering::Release);
                IN_CALL.set(false);
            });
            for _ in 1..threads() {
                let done = done.clone();
                rayon::spawn(move || help_until(&done));
            }
            f()
        })
    };
    install(call)
}

thread_local! {
    /// Whether this thread is inside a call of [`in_pool`] or already runs [`help_until`].
    pub(super) static IN_CALL: Cell<bool> = const { Cell::new(false) };
}

/// Executes work of other threads until `done`. Returns at once if this thread is inside a call and
/// has picked up this task while waiting: it would wait for itself.
pub(super) fn help_until(done: &AtomicBool) {
    if IN_CALL.replace(true) {
        return;
    }
    let _end = OnDrop(|| IN_CALL.set(false));
    let mut idle = 0_u32;
    while !done.load(Ordering::Acquire) {
        if rayon::yield_now() == Some(rayon::Yield::Executed) {
            idle = 0;
        } else if idle < SPINS {
            idle += 1;
            std::hint::spin_loop();
        } else {
            // let other programs use the processor
            std::thread::yield_now();
        }
    }
}

/// Calls a function on drop, also during a panic.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// The product of the sizes, saturating; it may exceed 32 bits.
pub(crate) fn multiplications(sizes: &[usize]) -> u64 {
    sizes.iter().fold(1, |product: u64, size| product.saturating_mul(*size as u64))
}

/// Whether the product of matrices (m, k) and (k, n) uses several threads.
pub fn product_parallelism(m: usize, n: usize, k: usize) -> Parallelism {
    work_parallelism(multiplications(&[m, n, k]))
}

/// Whether matrix products with this many multiplications in total use several threads.
pub fn work_parallelism(multiplications: u64) -> Parallelism {
    if multiplications < LEAST_PARALLEL_WORK || threads() == 1 {
        Parallelism::None
    } else {
        Parallelism::Rayon(0)
    }
}
