//! Parallel loops over the thread pool. No other module knows about threads. A build without
//! threads runs the pieces of a loop one after the other.
//!
//! Pieces have a fixed size and their results are returned in order, so no result depends on the
//! number of threads. A loop with a single piece runs on the calling thread, so small work has no
//! threading overhead.

use crate::array::Element;
use crate::error::bail;
use crate::host::Real;
use crate::memory::alloc;
use crate::Result;
use gemm::Parallelism;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Elements per piece of an element-wise loop.
pub const PIECE: usize = 8 * 1024;

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
    static IN_CALL: Cell<bool> = const { Cell::new(false) };
}

/// Executes work of other threads until `done`. Returns at once if this thread is inside a call and
/// has picked up this task while waiting: it would wait for itself.
fn help_until(done: &AtomicBool) {
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

/// Rows per piece, so that a piece has about [`PIECE`] elements.
pub fn rows_per_piece(width: usize) -> usize {
    (PIECE / width.max(1)).max(1)
}

/// Splits `out` into pieces of `size` elements and runs `f(index, piece)` for each.
pub fn for_each_piece<T: Send>(out: &mut [T], size: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    map_pieces(out, size, f);
}

/// [`for_each_piece`], on the calling thread only if `how` is [`Parallelism::None`].
pub fn for_each_piece_by<T: Send>(
    how: Parallelism,
    out: &mut [T],
    size: usize,
    f: impl Fn(usize, &mut [T]) + Sync,
) {
    match how {
        Parallelism::None => {
            out.chunks_mut(size.max(1)).enumerate().for_each(|(i, piece)| f(i, piece))
        }
        Parallelism::Rayon(_) => for_each_piece(out, size, f),
    }
}

/// Splits `out` into pieces of `size` elements and returns the results of `f(index, piece)`, in
/// order.
pub fn map_pieces<T: Send, R: Send>(
    out: &mut [T],
    size: usize,
    f: impl Fn(usize, &mut [T]) -> R + Sync,
) -> Vec<R> {
    map_pieces_dyn(out, size.max(1), &f)
}

/// Takes `f` as a trait object, so that this function is not compiled once for each closure: the
/// code that rayon generates would be larger than most kernels.
fn map_pieces_dyn<T: Send, R: Send>(
    out: &mut [T],
    size: usize,
    f: &(dyn Fn(usize, &mut [T]) -> R + Sync),
) -> Vec<R> {
    if out.len() <= size || threads() == 1 {
        return out.chunks_mut(size).enumerate().map(|(i, piece)| f(i, piece)).collect();
    }
    install(|| out.par_chunks_mut(size).enumerate().map(|(i, piece)| f(i, piece)).collect())
}

/// Returns `count` elements that `f(index, piece)` writes in pieces of `size`. Pieces are set to 0
/// before `f` is called.
///
/// # Errors
/// If memory is short.
pub(crate) fn build_zeroed<T: Real>(
    count: usize,
    size: usize,
    f: impl Fn(usize, &mut [T]) + Sync,
) -> Result<Vec<T>> {
    // SAFETY: `zero_init` initialises all elements of a piece.
    unsafe { build_uninit(count, size, |i, piece| f(i, zero_init(piece))) }
}

/// [`written`], where `f` also receives one of `items` for each piece.
///
/// # Errors
/// If there is not one item for each piece, or memory is short.
///
/// # Safety
/// As for [`build_uninit_map`].
pub(crate) unsafe fn build_uninit_zip<T: Element, I: Send>(
    count: usize,
    size: usize,
    items: Vec<I>,
    f: impl Fn(usize, &mut [MaybeUninit<T>], I) + Sync,
) -> Result<Vec<T>> {
    let mut values = alloc::with_capacity::<T>(count)?;
    let uninit = &mut values.spare_capacity_mut()[..count];
    if uninit.len().div_ceil(size.max(1)) != items.len() {
        bail!("{} items for {count} numbers in pieces of {size}", items.len());
    }
    let pieces: Vec<(&mut [MaybeUninit<T>], I)> =
        uninit.chunks_mut(size.max(1)).zip(items).collect();
    for_each(pieces, |i, (piece, item)| {
        poison_in_tests(piece);
        f(i, piece, item);
    });
    // SAFETY: the pieces cover all `count` elements; the caller guarantees that `f` writes them.
    unsafe { values.set_len(count) };
    Ok(values)
}

/// Returns `count` elements that `f(index, piece)` writes in pieces of `size`, and the results of
/// `f`, in order.
///
/// # Errors
/// If memory is short.
///
/// # Safety
/// `f` must write all elements of its piece.
pub(crate) unsafe fn build_uninit_map<T: Element, R: Send>(
    count: usize,
    size: usize,
    f: impl Fn(usize, &mut [MaybeUninit<T>]) -> R + Sync,
) -> Result<(Vec<T>, Vec<R>)> {
    let mut values = alloc::with_capacity::<T>(count)?;
    let results = map_pieces(&mut values.spare_capacity_mut()[..count], size, |i, piece| {
        poison_in_tests(piece);
        f(i, piece)
    });
    // SAFETY: the pieces cover all `count` elements; the caller guarantees that `f` writes them.
    unsafe { values.set_len(count) };
    Ok((values, results))
}

/// [`build_uninit_map`], without results of `f`.
///
/// # Safety
/// As for [`build_uninit_map`].
pub(crate) unsafe fn build_uninit<T: Element>(
    count: usize,
    size: usize,
    f: impl Fn(usize, &mut [MaybeUninit<T>]) + Sync,
) -> Result<Vec<T>> {
    // SAFETY: the caller guarantees that `f` writes all elements of its piece.
    Ok(unsafe { build_uninit_map(count, size, f) }?.0)
}

/// Converts a piece whose elements are initialised.
///
/// # Safety
/// All elements must be initialised.
pub(crate) unsafe fn assume_init_mut<T: Element>(piece: &mut [MaybeUninit<T>]) -> &mut [T] {
    // SAFETY: the caller guarantees that all elements are initialised; MaybeUninit<T> has the
    // layout of T.
    unsafe { std::slice::from_raw_parts_mut(piece.as_mut_ptr().cast(), piece.len()) }
}

/// In tests, fills the piece with NaN to reveal elements that are not written.
fn poison_in_tests<T: Element>(piece: &mut [MaybeUninit<T>]) {
    if cfg!(test) {
        piece.fill(MaybeUninit::new(T::from_f64(f64::NAN)));
    }
}

/// Sets uninitialised memory to zero. The thread that is about to write the piece calls this, so
/// that the memory is then in that thread's cache.
pub(crate) fn zero_init<T: Real>(piece: &mut [MaybeUninit<T>]) -> &mut [T] {
    piece.fill(MaybeUninit::new(T::ZERO));
    // SAFETY: the fill above has initialised all elements.
    unsafe { assume_init_mut(piece) }
}

/// `count` zeros.
///
/// # Errors
/// If memory is short.
pub(crate) fn zeros<T: Real>(count: usize) -> Result<Vec<T>> {
    build_zeroed(count, PIECE, |_, _| {})
}

/// Runs `f(index, item)` for each item.
pub fn for_each<T: Send>(items: Vec<T>, f: impl Fn(usize, T) + Sync) {
    for_each_dyn(items, &f);
}

/// The body of [`for_each`], with a trait object for the reason given at [`map_pieces_dyn`].
fn for_each_dyn<T: Send>(items: Vec<T>, f: &(dyn Fn(usize, T) + Sync)) {
    if items.len() <= 1 || threads() == 1 {
        return items.into_iter().enumerate().for_each(|(i, item)| f(i, item));
    }
    install(|| items.into_par_iter().enumerate().for_each(|(i, item)| f(i, item)));
}

/// Returns the results of `f(0)` to `f(count - 1)`, in order. A thread runs at least `per_piece` of
/// them at a time.
pub fn map<R: Send>(count: usize, per_piece: usize, f: impl Fn(usize) -> R + Sync) -> Vec<R> {
    map_dyn(count, per_piece, &f)
}

/// The body of [`map`], with a trait object for the reason given at [`map_pieces_dyn`].
fn map_dyn<R: Send>(count: usize, per_piece: usize, f: &(dyn Fn(usize) -> R + Sync)) -> Vec<R> {
    if count <= per_piece || threads() == 1 {
        return (0..count).map(f).collect();
    }
    install(|| (0..count).into_par_iter().with_min_len(per_piece.max(1)).map(f).collect())
}

/// The piece of `xs` with this index, when pieces have `size` elements; the last one may be
/// shorter.
pub fn nth_chunk<T>(xs: &[T], index: usize, size: usize) -> &[T] {
    let start = (index * size).min(xs.len());
    &xs[start..xs.len().min(start + size)]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_among_the_threads_do_not_wait_for_each_other_and_survive_panics() {
        let sum = || map(1000, 1, |i| i).into_iter().sum::<usize>();
        let (inside, outside) = std::sync::mpsc::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let first = std::thread::spawn(move || {
            in_pool(move || {
                inside.send(()).unwrap();
                // the second call ends during this one
                told.recv().unwrap();
                sum()
            })
        });
        outside.recv().unwrap();
        assert_eq!(in_pool(sum), 499_500);
        tell.send(()).unwrap();
        assert_eq!(first.join().unwrap(), 499_500);
        assert!(std::panic::catch_unwind(|| in_pool(|| panic!("slip"))).is_err());
        assert_eq!(in_pool(|| in_pool(sum)), 499_500);
        // a thread that is inside a call does not stand by for it
        IN_CALL.set(true);
        help_until(&AtomicBool::new(false));
        IN_CALL.set(false);
    }

    #[test]
    fn the_number_of_threads_can_change_within_calls_and_between() {
        let first = threads();
        let sum = || map(1000, 1, |i| i).into_iter().sum::<usize>();
        for count in [3, 1, 2] {
            let within = in_pool(|| {
                set_threads(count).unwrap();
                sum()
            });
            assert_eq!((within, sum(), threads()), (499_500, 499_500, count));
            let indices = map(1000, 1, |_| rayon::current_thread_index());
            assert!(indices.into_iter().flatten().all(|index| index < count));
        }
        set_threads(first).unwrap();
    }

    #[test]
    fn every_element_belongs_to_one_piece() {
        for n in [0, 1, 9, 10, 11, 1000] {
            let mut out = vec![0; n];
            let source: Vec<usize> = (0..n).collect();
            let sums = map_pieces(&mut out, 10, |i, piece| {
                piece.copy_from_slice(nth_chunk(&source, i, 10));
                piece.iter().sum::<usize>()
            });
            assert_eq!(out, source);
            assert_eq!(sums.len(), n.div_ceil(10));
            assert_eq!(sums.iter().sum::<usize>(), n * n.saturating_sub(1) / 2);
            assert_eq!(map(n, 3, |i| i), source);
        }
    }
}
