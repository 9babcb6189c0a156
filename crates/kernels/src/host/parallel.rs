//! Work shared over threads: the only place that knows them. A build without threads runs the pieces one after the other.
//!
//! Pieces have a fixed size, and their results come in order, so that no result depends on the number of threads. One piece
//! runs where it is called: small work pays nothing for threads.

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

/// Elements per piece of element-wise work.
pub const PIECE: usize = 8 * 1024;

/// How often a thread without work looks for some before it lets other programs go first.
const PATIENCE: u32 = 4096;

/// Products below this many multiplications run on one thread: waking others costs more than they save.
const PRODUCT: u64 = 128 * 128 * 128;

/// Who shares the work, once a number of threads was set; until then it is rayon's own pool, of as many as the process may use processors.
static POOL: RwLock<Option<Arc<ThreadPool>>> = RwLock::new(None);

fn pool() -> Option<Arc<ThreadPool>> {
    POOL.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// How many threads share the work.
pub fn threads() -> usize {
    match pool() {
        Some(pool) if rayon::current_thread_index().is_none() => pool.current_num_threads(),
        _ => rayon::current_num_threads(),
    }
}

/// Sets how many threads share the work from the next call on; those that are under way end on the threads that they have.
pub fn set_threads(count: usize) -> Result<()> {
    // before their first use, rayon's own pool can have any number
    let first = pool().is_none() && ThreadPoolBuilder::new().num_threads(count).build_global().is_ok();
    if first || count == threads() {
        return Ok(());
    }
    let pool = ThreadPoolBuilder::new().num_threads(count).build();
    let pool = pool.map_err(|e| crate::Error::Invalid(format!("{count} threads cannot be started: {e}")))?;
    // dropped outside of the lock: it may be the last who knows the threads of before
    let _before = POOL.write().unwrap_or_else(PoisonError::into_inner).replace(Arc::new(pool));
    Ok(())
}

/// Runs `f` among the threads that share the work; within it, what a thread shares it shares with these.
pub(crate) fn among_threads<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    match pool() {
        Some(pool) if rayon::current_thread_index().is_none() => pool.install(f),
        _ => f(),
    }
}

/// Runs `f`, which calls kernels one after the other, among the threads that they share: handing a kernel's work from one to the next then
/// costs little, as the others look for it instead of sleeping until `f` ends. One call at a time is there; what is called meanwhile
/// runs where it is, so that no call waits for the end of another.
pub fn in_pool<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if threads() == 1 || TAKEN.swap(true, Ordering::Acquire) {
        return f();
    }
    let _place = OnDrop(|| TAKEN.store(false, Ordering::Release));
    let done = Arc::new(AtomicBool::new(false));
    let call = || {
        rayon::scope(|_| {
            BUSY.set(true);
            let _end = OnDrop(|| {
                done.store(true, Ordering::Release);
                BUSY.set(false);
            });
            for _ in 1..threads() {
                let done = done.clone();
                rayon::spawn(move || stand_by(&done));
            }
            f()
        })
    };
    among_threads(call)
}

thread_local! {
    /// Whether this thread computes a call, or stands by already.
    static BUSY: Cell<bool> = const { Cell::new(false) };
}

/// Takes work of other threads until `done`. Not where this was taken up by a thread that waits within a call: it would wait for itself.
fn stand_by(done: &AtomicBool) {
    if BUSY.replace(true) {
        return;
    }
    let _end = OnDrop(|| BUSY.set(false));
    let mut idle = 0_u32;
    while !done.load(Ordering::Acquire) {
        if rayon::yield_now() == Some(rayon::Yield::Executed) {
            idle = 0;
        } else if idle < PATIENCE {
            idle += 1;
            std::hint::spin_loop();
        } else {
            // other programs may want the processor
            std::thread::yield_now();
        }
    }
}

/// Runs a function when it is dropped, also by a panic.
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

/// Runs `f(number, piece)` for each `size` elements of `out`.
pub fn pieces<T: Send>(out: &mut [T], size: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    map_pieces(out, size, f);
}

/// [`pieces`], on this thread alone where `how` says so.
pub fn pieces_by<T: Send>(how: Parallelism, out: &mut [T], size: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    match how {
        Parallelism::None => out.chunks_mut(size.max(1)).enumerate().for_each(|(i, piece)| f(i, piece)),
        Parallelism::Rayon(_) => pieces(out, size, f),
    }
}

/// What `f(number, piece)` gives for each `size` elements of `out`, in order.
pub fn map_pieces<T: Send, R: Send>(out: &mut [T], size: usize, f: impl Fn(usize, &mut [T]) -> R + Sync) -> Vec<R> {
    shared_pieces(out, size.max(1), &f)
}

/// One copy in the program for all functions: what rayon makes of each would be larger than most kernels.
fn shared_pieces<T: Send, R: Send>(out: &mut [T], size: usize, f: &(dyn Fn(usize, &mut [T]) -> R + Sync)) -> Vec<R> {
    if out.len() <= size || threads() == 1 {
        return out.chunks_mut(size).enumerate().map(|(i, piece)| f(i, piece)).collect();
    }
    among_threads(|| out.par_chunks_mut(size).enumerate().map(|(i, piece)| f(i, piece)).collect())
}

/// `count` numbers that `f(number, piece)` writes in pieces of `size`; what it leaves out is 0.
pub(crate) fn computed<T: Real>(count: usize, size: usize, f: impl Fn(usize, &mut [T]) + Sync) -> Result<Vec<T>> {
    // SAFETY: every piece is cleared.
    unsafe { written(count, size, |i, piece| f(i, cleared(piece))) }
}

/// [`written`], where `f` gets an item for each piece too.
///
/// # Safety
/// As for [`written_with`].
pub(crate) unsafe fn written_beside<T: Element, I: Send>(
    count: usize,
    size: usize,
    items: Vec<I>,
    f: impl Fn(usize, &mut [MaybeUninit<T>], I) + Sync,
) -> Result<Vec<T>> {
    let mut values = alloc::with_capacity::<T>(count)?;
    let fresh = &mut values.spare_capacity_mut()[..count];
    if fresh.len().div_ceil(size.max(1)) != items.len() {
        bail!("{} items for {count} numbers in pieces of {size}", items.len());
    }
    let pieces: Vec<(&mut [MaybeUninit<T>], I)> = fresh.chunks_mut(size.max(1)).zip(items).collect();
    each(pieces, |i, (piece, item)| {
        marked(piece);
        f(i, piece, item);
    });
    // SAFETY: the caller's promise; the pieces cover `count` numbers.
    unsafe { values.set_len(count) };
    Ok(values)
}

/// `count` numbers that `f(number, piece)` writes in pieces of `size`, and what it gives for each piece, in order.
///
/// # Safety
/// `f` must write all of its piece.
pub(crate) unsafe fn written_with<T: Element, R: Send>(
    count: usize,
    size: usize,
    f: impl Fn(usize, &mut [MaybeUninit<T>]) -> R + Sync,
) -> Result<(Vec<T>, Vec<R>)> {
    let mut values = alloc::with_capacity::<T>(count)?;
    let results = map_pieces(&mut values.spare_capacity_mut()[..count], size, |i, piece| {
        marked(piece);
        f(i, piece)
    });
    // SAFETY: the caller's promise; the pieces cover `count` numbers.
    unsafe { values.set_len(count) };
    Ok((values, results))
}

/// [`written_with`], without results of the pieces.
///
/// # Safety
/// As for [`written_with`].
pub(crate) unsafe fn written<T: Element>(
    count: usize,
    size: usize,
    f: impl Fn(usize, &mut [MaybeUninit<T>]) + Sync,
) -> Result<Vec<T>> {
    // SAFETY: the caller's promise.
    Ok(unsafe { written_with(count, size, f) }?.0)
}

/// Numbers that were written.
///
/// # Safety
/// All of them were.
pub(crate) unsafe fn full<T: Element>(piece: &mut [MaybeUninit<T>]) -> &mut [T] {
    // SAFETY: the caller's promise; MaybeUninit<T> has the layout of T.
    unsafe { std::slice::from_raw_parts_mut(piece.as_mut_ptr().cast(), piece.len()) }
}

/// Tests see what was left out.
fn marked<T: Element>(piece: &mut [MaybeUninit<T>]) {
    if cfg!(test) {
        piece.fill(MaybeUninit::new(T::from_f64(f64::NAN)));
    }
}

/// Fresh memory as zeroes: cleared by the thread that is about to write it, so that it is in that thread's cache.
pub(crate) fn cleared<T: Real>(piece: &mut [MaybeUninit<T>]) -> &mut [T] {
    piece.fill(MaybeUninit::new(T::ZERO));
    // SAFETY: see above.
    unsafe { full(piece) }
}

/// `count` zeroes.
pub(crate) fn zeros<T: Real>(count: usize) -> Result<Vec<T>> {
    computed(count, PIECE, |_, _| {})
}

/// Runs `f(number, item)` for each item.
pub fn each<T: Send>(items: Vec<T>, f: impl Fn(usize, T) + Sync) {
    shared_items(items, &f);
}

fn shared_items<T: Send>(items: Vec<T>, f: &(dyn Fn(usize, T) + Sync)) {
    if items.len() <= 1 || threads() == 1 {
        return items.into_iter().enumerate().for_each(|(i, item)| f(i, item));
    }
    among_threads(|| items.into_par_iter().enumerate().for_each(|(i, item)| f(i, item)));
}

/// What `f` gives for 0 to `count` - 1, in order; `per_piece` of them run in one go.
pub fn map<R: Send>(count: usize, per_piece: usize, f: impl Fn(usize) -> R + Sync) -> Vec<R> {
    shared_map(count, per_piece, &f)
}

fn shared_map<R: Send>(count: usize, per_piece: usize, f: &(dyn Fn(usize) -> R + Sync)) -> Vec<R> {
    if count <= per_piece || threads() == 1 {
        return (0..count).map(f).collect();
    }
    among_threads(|| (0..count).into_par_iter().with_min_len(per_piece.max(1)).map(f).collect())
}

/// Piece number `index` of `xs`; the last one may be shorter.
pub fn part<T>(xs: &[T], index: usize, size: usize) -> &[T] {
    let start = (index * size).min(xs.len());
    &xs[start..xs.len().min(start + size)]
}

/// The product of sizes, which need not fit into 32 bits.
pub(crate) fn multiplications(sizes: &[usize]) -> u64 {
    sizes.iter().fold(1, |product: u64, size| product.saturating_mul(*size as u64))
}

/// How a product of (m, k) and (k, n) is to use threads.
pub fn for_product(m: usize, n: usize, k: usize) -> Parallelism {
    for_work(multiplications(&[m, n, k]))
}

/// How products of so many multiplications altogether are to use threads.
pub fn for_work(multiplications: u64) -> Parallelism {
    if multiplications < PRODUCT || threads() == 1 {
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
                // the second call ends while this one is there
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
        // whoever is busy with a call does not stand by for it
        BUSY.set(true);
        stand_by(&AtomicBool::new(false));
        BUSY.set(false);
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
                piece.copy_from_slice(part(&source, i, 10));
                piece.iter().sum::<usize>()
            });
            assert_eq!(out, source);
            assert_eq!(sums.len(), n.div_ceil(10));
            assert_eq!(sums.iter().sum::<usize>(), n * n.saturating_sub(1) / 2);
            assert_eq!(map(n, 3, |i| i), source);
        }
    }
}
