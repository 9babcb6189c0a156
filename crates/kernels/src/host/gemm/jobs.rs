//! Division of matrix products among threads: each thread writes a part of the output.

use crate::host::gemm::blas::Blas;
use crate::host::gemm::view::{apply_epilogue, Epilogue, Init, Term, View};
use crate::host::parallel::{for_each, for_each_piece_by, install, rows_per_piece};
use crate::host::Real;
use crate::memory::count_kept;
use gemm::Parallelism;
use std::mem::MaybeUninit;
use std::ops::Range;

/// A sum of matrix products, (m, n), and its output.
pub(crate) struct Job<'a, T> {
    /// The output, (m, n) with row stride `stride`.
    pub y: &'a mut [MaybeUninit<T>],
    /// Row stride of the output, in elements.
    pub stride: usize,
    /// The shape (m, n) of the output.
    pub size: (usize, usize),
    /// The products to sum: (m, k) times (k, n), where k may differ.
    pub terms: &'a [Term<'a, T>],
    /// The epilogue for the finished sum.
    pub epilogue: Option<Epilogue<'a, T>>,
}

/// Writes `init + alpha · (sum of products)` to the output of each job.
///
/// # Panics
/// If rows of an output overlap, an output or operand is too short, or a bias does not have n
/// elements.
///
/// # Safety
/// With [`Init::Output`], the outputs must be initialised.
pub(crate) unsafe fn run_jobs<T: Blas>(
    jobs: Vec<Job<T>>,
    alpha: T,
    init: Init<T>,
    threads: Parallelism,
) {
    let mut tasks = Vec::new();
    for Job { y, stride, size: (m, n), terms, epilogue } in jobs {
        if m == 0 || n == 0 {
            continue;
        }
        assert!(n <= stride, "rows overlap");
        let needed = (m - 1).checked_mul(stride).and_then(|before| before.checked_add(n));
        assert!(needed.is_some_and(|needed| needed <= y.len()), "output too short");
        assert!(!matches!(init, Init::Bias(bias) if bias.len() != n), "a bias of another width");
        let y = &mut y[..(m - 1) * stride + n];
        let Some(first) = terms.iter().find(|term| term.k > 0) else {
            write_init(y, stride, n, init, threads);
            if let Some(epilogue) = epilogue {
                // SAFETY: `write_init` wrote all rows, which are inside `y`, and `y` is borrowed
                // mutably.
                unsafe {
                    apply_epilogue(epilogue, y.as_mut_ptr().cast::<T>(), stride, (0, 0), (m, n))
                };
            }
            continue;
        };
        terms.iter().filter(|term| term.k > 0).for_each(|term| term.check((m, n)));
        let whole = OutputBlock { rows: 0..m, columns: 0..n };
        let blocks = match threads {
            Parallelism::None => vec![whole],
            Parallelism::Rayon(_) => split_output(
                whole,
                first.a.column != 1 && first.b.column == 1,
                crate::host::parallel::threads(),
            ),
        };
        let y = SendPtr(y.as_mut_ptr().cast::<T>());
        tasks.extend(blocks.into_iter().map(|block| Task { y, stride, terms, block, epilogue }));
    }
    // a single part is divided among the threads by the crate gemm
    let threads = if tasks.len() == 1 { threads } else { Parallelism::None };
    let task = |_, Task { y, stride, terms, block, epilogue }: Task<T>| {
        let mut init = init;
        let last = terms.iter().rposition(|term| term.k > 0);
        for (i, Term { k, a, b }) in terms.iter().enumerate().filter(|(_, term)| term.k > 0) {
            let epilogue = epilogue.filter(|_| Some(i) == last);
            // SAFETY: the parts do not overlap and are inside `y`, which is borrowed mutably and so
            // overlaps neither operand. The assertions above keep every element of the operands
            // inside their slices. `y` is initialised where it is read: the caller guarantees it
            // for the first term, and each term writes the part for the next one.
            unsafe {
                multiply(y, (stride, *k), block.clone(), (*a, *b), alpha, init, epilogue, threads)
            };
            init = Init::Output;
        }
    };
    match threads {
        Parallelism::None => for_each(tasks, task),
        // gemm uses the threads of the pool that it runs in
        Parallelism::Rayon(_) => install(|| for_each(tasks, task)),
    }
}

/// A block of the output of a product.
#[derive(Clone)]
struct OutputBlock {
    rows: Range<usize>,
    columns: Range<usize>,
}

/// The work of one thread on a job: all terms for one part of the output.
struct Task<'a, T> {
    y: SendPtr<T>,
    stride: usize,
    terms: &'a [Term<'a, T>],
    block: OutputBlock,
    epilogue: Option<Epilogue<'a, T>>,
}

/// A pointer to the start of an output that several threads write, each a different part.
#[derive(Clone, Copy)]
pub(crate) struct SendPtr<T>(pub *mut T);
// SAFETY: the unsafe code that writes through the pointer guarantees that parts do not overlap.
unsafe impl<T: Send> Send for SendPtr<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SendPtr<T> {}

/// The least width of a part: narrower parts spend too much time on packing.
const LEAST_WIDTH: usize = 64;
/// Parts are multiples of this width, which are whole vectors on every processor.
const GRAIN: usize = 16;

/// Divides a product into parts for the threads. Each thread packs its own operands: that costs
/// less than shared packing, for which all threads would wait for each other in every block.
///
/// An operand that is transposed during packing should be packed only once. `by_rows` says that
/// this is `a`: then parts are ranges of rows, otherwise ranges of columns. The other direction is
/// used if it occupies more threads. A product that has only narrow parts is not divided.
fn split_output(whole: OutputBlock, by_rows: bool, threads: usize) -> Vec<OutputBlock> {
    let size = |all: usize| all.div_ceil(threads).next_multiple_of(GRAIN).max(LEAST_WIDTH);
    let count = |all: usize| if all < 2 * LEAST_WIDTH { 1 } else { all.div_ceil(size(all)) };
    let (rows, columns) = (count(whole.rows.len()), count(whole.columns.len()));
    let (own, other) = if by_rows { (rows, columns) } else { (columns, rows) };
    let by_rows = by_rows ^ (own < threads && own < other);
    if own.max(other) == 1 {
        return vec![whole];
    }
    let range = if by_rows { whole.rows.clone() } else { whole.columns.clone() };
    let size = size(range.len());
    // more than one part for each thread if they stay wide: other programs may slow down a thread
    let size = if size >= 16 * LEAST_WIDTH { (size / 2).next_multiple_of(GRAIN) } else { size };
    let steps = range.clone().step_by(size).map(|first| first..(first + size).min(range.end));
    let block = |strip| match by_rows {
        true => OutputBlock { rows: strip, ..whole.clone() },
        false => OutputBlock { columns: strip, ..whole.clone() },
    };
    steps.map(block).collect()
}

/// Writes a part of `init + alpha · a b` to `y`, which has row stride `stride`.
///
/// # Safety
/// `y`, `a` and `b` must have all rows and columns of the part. Nobody else may access those of `y`
/// during the call. With [`Init::Output`], they must be initialised.
#[allow(clippy::too_many_arguments)]
unsafe fn multiply<T: Blas>(
    SendPtr(y): SendPtr<T>,
    (stride, k): (usize, usize),
    OutputBlock { rows, columns }: OutputBlock,
    (a, b): (View<T>, View<T>),
    alpha: T,
    init: Init<T>,
    epilogue: Option<Epilogue<T>>,
    threads: Parallelism,
) {
    let first = rows.start * stride + columns.start;
    let a = View { data: &a.data[rows.start * a.row as usize..], ..a };
    let b = View { data: &b.data[columns.start * b.column as usize..], ..b };
    let init = match init {
        Init::Bias(bias) => Init::Bias(&bias[columns.clone()]),
        init => init,
    };
    let size = (rows.len(), columns.len(), k);
    let shifted = epilogue.map(|epilogue| {
        move |row: usize, column: usize, y: &mut [T]| {
            epilogue(rows.start + row, columns.start + column, y)
        }
    });
    let epilogue = shifted.as_ref().map(|shifted| shifted as Epilogue<T>);
    // SAFETY: the caller guarantees that the part is in bounds, and not accessed elsewhere.
    // `T::gemm` or `by_gemm` has written all of it before the epilogue.
    unsafe {
        let y = y.add(first);
        if T::gemm(y, stride, size, a, b, alpha, init, epilogue) {
            return;
        }
        by_gemm(y, stride, size, (a, b), alpha, init, threads);
        if let Some(epilogue) = epilogue {
            apply_epilogue(epilogue, y, stride, (0, 0), (size.0, size.1));
        }
    }
}

/// Bytes of the buffer that the crate gemm keeps for each thread that calls it, about 512 KiB. They
/// are counted as [`kept`](crate::memory::kept) until the thread ends.
struct Slab(i64);

impl Drop for Slab {
    fn drop(&mut self) {
        count_kept(-self.0);
    }
}

thread_local! {
    static SLAB: Slab = gemm_common::gemm::L2_SLAB.with(|slab| {
        let bytes = slab.borrow().len() as i64;
        count_kept(bytes);
        Slab(bytes)
    });
}

/// [`multiply`] by the crate gemm, without the epilogue: for f64, and for few rows or columns.
///
/// # Safety
/// As for [`multiply`].
unsafe fn by_gemm<T: Real>(
    y: *mut T,
    stride: usize,
    (m, n, k): (usize, usize, usize),
    (a, b): (View<T>, View<T>),
    alpha: T,
    init: Init<T>,
    threads: Parallelism,
) {
    if let Init::Bias(bias) = init {
        for row in 0..m {
            // SAFETY: the caller guarantees that the row is in bounds; a bias has n elements.
            unsafe { std::ptr::copy_nonoverlapping(bias.as_ptr(), y.add(row * stride), n) };
        }
    }
    // counts the buffer on first use; while the thread ends, it is already destroyed and not
    // counted
    let _ = SLAB.try_with(|_| ());
    let add = !matches!(init, Init::Zero);
    let (ap, bp, y_stride) = (a.data.as_ptr(), b.data.as_ptr(), stride as isize);
    // SAFETY: the caller guarantees that all elements are in bounds, and that `y` is initialised
    // where gemm reads it. T is f32 or f64, both known to gemm.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            y,
            1,
            y_stride,
            add,
            ap,
            a.column,
            a.row,
            bp,
            b.column,
            b.row,
            T::ONE,
            alpha,
            false,
            false,
            false,
            threads,
        );
    }
}

/// Writes the initial value only, for a product with k = 0. Rows of `y` have `width` elements and
/// row stride `stride`.
fn write_init<T: Real>(
    y: &mut [MaybeUninit<T>],
    stride: usize,
    width: usize,
    init: Init<T>,
    threads: Parallelism,
) {
    for_each_piece_by(threads, y, rows_per_piece(stride) * stride, |_, y| {
        for row in y.chunks_mut(stride).map(|row| &mut row[..width]) {
            match init {
                Init::Output => {}
                Init::Zero => row.fill(MaybeUninit::new(T::ZERO)),
                Init::Bias(bias) => {
                    row.iter_mut().zip(bias).for_each(|(y, b)| *y = MaybeUninit::new(*b))
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_product_and_give_work_to_many_threads() {
        for (m, n) in
            [(1, 1), (127, 127), (128, 64), (256, 256), (1024, 2048), (2048, 130), (300, 20_000)]
        {
            for threads in [2, 3, 8, 24] {
                for by_rows in [false, true] {
                    let all =
                        split_output(OutputBlock { rows: 0..m, columns: 0..n }, by_rows, threads);
                    let elements: usize =
                        all.iter().map(|block| block.rows.len() * block.columns.len()).sum();
                    assert_eq!(elements, m * n);
                    let wanted = threads.min(m.max(n) / LEAST_WIDTH);
                    assert!(
                        all.len() >= wanted.div_ceil(2),
                        "{m} {n}, {threads} threads: {} blocks",
                        all.len()
                    );
                }
            }
        }
    }

    #[test]
    fn parts_are_of_one_size() {
        for (m, n) in [(3072, 160), (160, 3072), (200, 200), (2000, 1100)] {
            for by_rows in [false, true] {
                let all = split_output(OutputBlock { rows: 0..m, columns: 0..n }, by_rows, 2);
                let largest =
                    all.iter().map(|block| block.rows.len() * block.columns.len()).max().unwrap();
                assert!(
                    largest * all.len() * 4 <= m * n * 5,
                    "{m} {n}: {largest} in one of {}",
                    all.len()
                );
            }
        }
    }
}
