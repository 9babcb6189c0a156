//! Products that threads share: each writes its part.

use crate::host::gemm::blas::Blas;
use crate::host::gemm::view::{apply_epilogue, Epilogue, Init, Term, View};
use crate::host::parallel::{among_threads, each, pieces_by, rows_per_piece};
use crate::host::Real;
use crate::memory::keep;
use gemm::Parallelism;
use std::mem::MaybeUninit;
use std::ops::Range;

/// A sum of products, (m, n), and where it goes: rows begin `stride` numbers after each other.
pub(crate) struct Job<'a, T> {
    pub y: &'a mut [MaybeUninit<T>],
    pub stride: usize,
    pub size: (usize, usize),
    pub terms: &'a [Term<'a, T>],
    pub finish: Option<Epilogue<'a, T>>,
}

/// Writes every element of all jobs: `start + alpha ·` their sums.
///
/// # Safety
/// With [`Init::Output`], they must hold numbers.
pub(crate) unsafe fn write_all<T: Blas>(jobs: Vec<Job<T>>, alpha: T, start: Init<T>, threads: Parallelism) {
    let mut shares = Vec::new();
    for Job { y, stride, size: (m, n), terms, finish } in jobs {
        if m == 0 || n == 0 {
            continue;
        }
        assert!(n <= stride, "rows overlap");
        let needed = (m - 1).checked_mul(stride).and_then(|before| before.checked_add(n));
        assert!(needed.is_some_and(|needed| needed <= y.len()), "output too short");
        assert!(!matches!(start, Init::Bias(bias) if bias.len() != n), "a bias of another width");
        let y = &mut y[..(m - 1) * stride + n];
        let Some(first) = terms.iter().find(|term| term.k > 0) else {
            begin(y, stride, n, start, threads);
            if let Some(finish) = finish {
                // SAFETY: `begin` wrote all rows.
                unsafe { apply_epilogue(finish, y.as_mut_ptr().cast::<T>(), stride, (0, 0), (m, n)) };
            }
            continue;
        };
        terms.iter().filter(|term| term.k > 0).for_each(|term| term.check((m, n)));
        let whole = Part { rows: 0..m, columns: 0..n };
        let parts = match threads {
            Parallelism::None => vec![whole],
            Parallelism::Rayon(_) => {
                parts(whole, first.a.column != 1 && first.b.column == 1, crate::host::parallel::threads())
            }
        };
        let y = SendPtr(y.as_mut_ptr().cast::<T>());
        shares.extend(parts.into_iter().map(|part| Share { y, stride, terms, part, finish }));
    }
    // one part: the threads share its blocks
    let threads = if shares.len() == 1 { threads } else { Parallelism::None };
    let share = |_, Share { y, stride, terms, part, finish }: Share<T>| {
        let mut start = start;
        let last = terms.iter().rposition(|term| term.k > 0);
        for (i, Term { k, a, b }) in terms.iter().enumerate().filter(|(_, term)| term.k > 0) {
            let finish = finish.filter(|_| Some(i) == last);
            // SAFETY: the parts do not overlap and lie in `y`, which is borrowed mutably and so overlaps neither operand; the assertions above keep
            // every element of the operands inside their slices; the caller's promise, and from the second term on the first one has written the part.
            unsafe { multiply(y, (stride, *k), part.clone(), (*a, *b), alpha, start, finish, threads) };
            start = Init::Output;
        }
    };
    match threads {
        Parallelism::None => each(shares, share),
        // gemm shares with whom it runs among
        Parallelism::Rayon(_) => among_threads(|| each(shares, share)),
    }
}

/// Rows and columns of a product.
#[derive(Clone)]
struct Part {
    rows: Range<usize>,
    columns: Range<usize>,
}

/// A part of a job.
struct Share<'a, T> {
    y: SendPtr<T>,
    stride: usize,
    terms: &'a [Term<'a, T>],
    part: Part,
    finish: Option<Epilogue<'a, T>>,
}

/// Where threads write, each its part.
#[derive(Clone, Copy)]
pub(crate) struct SendPtr<T>(pub *mut T);
// SAFETY: whoever writes says that the parts do not overlap.
unsafe impl<T: Send> Send for SendPtr<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SendPtr<T> {}

/// Narrower parts pack too much for what they multiply.
const NARROWEST: usize = 64;
/// Parts are whole vectors of any processor.
const GRAIN: usize = 16;

/// Parts for the threads, each of which packs for itself: that costs less than packing together, when all wait for all in every block.
/// What must be turned over on the way is packed once: parts are rows where that is `a`, else columns; the other way round where that gives more
/// threads something to do. The whole where all parts would be narrow.
fn parts(whole: Part, by_rows: bool, threads: usize) -> Vec<Part> {
    let size = |all: usize| all.div_ceil(threads).next_multiple_of(GRAIN).max(NARROWEST);
    let count = |all: usize| if all < 2 * NARROWEST { 1 } else { all.div_ceil(size(all)) };
    let (rows, columns) = (count(whole.rows.len()), count(whole.columns.len()));
    let (own, other) = if by_rows { (rows, columns) } else { (columns, rows) };
    let by_rows = by_rows ^ (own < threads && own < other);
    if own.max(other) == 1 {
        return vec![whole];
    }
    let range = if by_rows { whole.rows.clone() } else { whole.columns.clone() };
    let size = size(range.len());
    // more than one for each thread, where they stay wide, as other programs may slow a thread down
    let size = if size >= 16 * NARROWEST { (size / 2).next_multiple_of(GRAIN) } else { size };
    let steps = range.clone().step_by(size).map(|first| first..(first + size).min(range.end));
    let part = |strip| match by_rows {
        true => Part { rows: strip, ..whole.clone() },
        false => Part { columns: strip, ..whole.clone() },
    };
    steps.map(part).collect()
}

/// Writes a part of `start + alpha · a b`. Rows of `y` begin `stride` numbers after each other.
///
/// # Safety
/// `y`, `a` and `b` must have all rows and columns of the part, and nobody else may use these of `y` meanwhile; with [`Init::Output`] they must hold numbers.
#[allow(clippy::too_many_arguments)]
unsafe fn multiply<T: Blas>(
    SendPtr(y): SendPtr<T>,
    (stride, k): (usize, usize),
    Part { rows, columns }: Part,
    (a, b): (View<T>, View<T>),
    alpha: T,
    start: Init<T>,
    finish: Option<Epilogue<T>>,
    threads: Parallelism,
) {
    let first = rows.start * stride + columns.start;
    let a = View { data: &a.data[rows.start * a.row as usize..], ..a };
    let b = View { data: &b.data[columns.start * b.column as usize..], ..b };
    let start = match start {
        Init::Bias(bias) => Init::Bias(&bias[columns.clone()]),
        start => start,
    };
    let size = (rows.len(), columns.len(), k);
    let placed = finish.map(|finish| {
        move |row: usize, column: usize, y: &mut [T]| finish(rows.start + row, columns.start + column, y)
    });
    let finish = placed.as_ref().map(|placed| placed as Epilogue<T>);
    // SAFETY: the caller's promise.
    unsafe {
        let y = y.add(first);
        if T::gemm(y, stride, size, a, b, alpha, start, finish) {
            return;
        }
        by_gemm(y, stride, size, (a, b), alpha, start, threads);
        if let Some(finish) = finish {
            apply_epilogue(finish, y, stride, (0, 0), (size.0, size.1));
        }
    }
}

/// The same by the crate gemm: f64, and few rows or columns.
///
/// What gemm keeps for a thread that calls it, some 512 KiB: counted as [`kept`](crate::memory::kept).
struct Slab(i64);

impl Drop for Slab {
    fn drop(&mut self) {
        keep(-self.0);
    }
}

thread_local! {
    static SLAB: Slab = gemm_common::gemm::L2_SLAB.with(|slab| {
        let bytes = slab.borrow().len() as i64;
        keep(bytes);
        Slab(bytes)
    });
}

/// # Safety
/// As for [`multiply`].
unsafe fn by_gemm<T: Real>(
    y: *mut T,
    stride: usize,
    (m, n, k): (usize, usize, usize),
    (a, b): (View<T>, View<T>),
    alpha: T,
    start: Init<T>,
    threads: Parallelism,
) {
    if let Init::Bias(bias) = start {
        for row in 0..m {
            // SAFETY: the caller's promise; a bias has a number for each column.
            unsafe { std::ptr::copy_nonoverlapping(bias.as_ptr(), y.add(row * stride), n) };
        }
    }
    // at the end of a thread it is gone already, and nothing needs counting
    let _ = SLAB.try_with(|_| ());
    let add = !matches!(start, Init::Zero);
    let (ap, bp, along) = (a.data.as_ptr(), b.data.as_ptr(), stride as isize);
    // SAFETY: the caller's promise; T is f32 or f64, both known to gemm. Where it reads `y`, this holds numbers.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            y,
            1,
            along,
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

/// What a product is added to, without the product.
fn begin<T: Real>(y: &mut [MaybeUninit<T>], stride: usize, width: usize, start: Init<T>, threads: Parallelism) {
    pieces_by(threads, y, rows_per_piece(stride) * stride, |_, y| {
        for row in y.chunks_mut(stride).map(|row| &mut row[..width]) {
            match start {
                Init::Output => {}
                Init::Zero => row.fill(MaybeUninit::new(T::ZERO)),
                Init::Bias(bias) => row.iter_mut().zip(bias).for_each(|(y, b)| *y = MaybeUninit::new(*b)),
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_product_and_give_work_to_many_threads() {
        for (m, n) in [(1, 1), (127, 127), (128, 64), (256, 256), (1024, 2048), (2048, 130), (300, 20_000)] {
            for threads in [2, 3, 8, 24] {
                for by_rows in [false, true] {
                    let all = parts(Part { rows: 0..m, columns: 0..n }, by_rows, threads);
                    let elements: usize = all.iter().map(|part| part.rows.len() * part.columns.len()).sum();
                    assert_eq!(elements, m * n);
                    let wanted = threads.min(m.max(n) / NARROWEST);
                    assert!(all.len() >= wanted.div_ceil(2), "{m} {n}, {threads} threads: {} parts", all.len());
                }
            }
        }
    }

    #[test]
    fn parts_are_of_one_size() {
        for (m, n) in [(3072, 160), (160, 3072), (200, 200), (2000, 1100)] {
            for by_rows in [false, true] {
                let all = parts(Part { rows: 0..m, columns: 0..n }, by_rows, 2);
                let largest = all.iter().map(|part| part.rows.len() * part.columns.len()).max().unwrap();
                assert!(largest * all.len() * 4 <= m * n * 5, "{m} {n}: {largest} in one of {}", all.len());
            }
        }
    }
}
