//! Matrix products: `y = alpha · a b`, batched, over arrays of any strides.
//!
//! Shapes: `a` is (batch.., m, k), `b` (batch.., k, n), `y` (batch.., m, n); batch axes are equal, or 1 in one of the two.
//! Transposed or permuted views are read in place, so that heads need no copy.

use crate::cpu::{self, dispatch, Real, Slice};
use crate::parallel::{each, for_product, pieces, pieces_by, rows_per_piece, threads};
use crate::{alloc, Array, Error, Result};
use gemm::Parallelism;
use std::mem::MaybeUninit;
use std::ops::Range;

/// The product on candle's own operations.
pub fn reference(a: &Array, b: &Array, alpha: f64) -> Result<Array> {
    let y = a.contiguous()?.broadcast_matmul(&b.contiguous()?)?;
    if alpha == 1.0 {
        Ok(y)
    } else {
        y.affine(alpha, 0.0)
    }
}

/// `alpha · a b`.
pub fn matmul(a: &Array, b: &Array, alpha: f64) -> Result<Array> {
    let dims = output_dims(a, b)?;
    alloc::check(&dims, a.dtype())?;
    dispatch!(a, T => batched::<T>(a, b, alpha, dims), else reference(a, b, alpha))
}

fn output_dims(a: &Array, b: &Array) -> Result<Vec<usize>> {
    let mismatch = || Error::Msg(format!("matmul: shapes {:?} and {:?} do not fit", a.dims(), b.dims()));
    if a.rank() < 2 || b.rank() < 2 || a.dtype() != b.dtype() {
        return Err(if a.dtype() == b.dtype() {
            mismatch()
        } else {
            Error::Msg(format!("matmul: types {:?} and {:?} differ", a.dtype(), b.dtype()))
        });
    }
    let (abatch, am) = a.dims().split_at(a.rank() - 2);
    let (bbatch, bm) = b.dims().split_at(b.rank() - 2);
    if am[1] != bm[0] {
        return Err(mismatch());
    }
    let rank = abatch.len().max(bbatch.len());
    let axis = |batch: &[usize], i: usize| (i + batch.len()).checked_sub(rank).map_or(1, |i| batch[i]);
    let mut dims = Vec::with_capacity(rank + 2);
    for i in 0..rank {
        dims.push(match (axis(abatch, i), axis(bbatch, i)) {
            (x, y) if x == y => x,
            (1, y) => y,
            (x, 1) => x,
            _ => return Err(mismatch()),
        });
    }
    dims.extend([am[0], bm[1]]);
    Ok(dims)
}

/// A matrix inside a storage: offset of its first element, row stride, column stride.
struct Matrix<'a, T> {
    storage: Slice<'a, T>,
    /// Offset of each matrix of the batch.
    offsets: Vec<usize>,
    row: isize,
    column: isize,
}

impl<'a, T: Real> Matrix<'a, T> {
    /// The matrices of `array`, one for each index of `batch` (axes of size 1 repeat).
    fn of(array: &'a Array, batch: &[usize]) -> Result<Self> {
        let (storage, start) = cpu::strided::<T>(array)?;
        let (dims, strides) = (array.dims(), array.stride());
        let own = dims.len() - 2;
        let mut offsets = vec![start];
        for (i, size) in batch.iter().enumerate() {
            let axis = (i + own).checked_sub(batch.len()).filter(|axis| dims[*axis] != 1);
            let stride = axis.map_or(0, |axis| strides[axis]);
            offsets = offsets.iter().flat_map(|o| (0..*size).map(move |k| o + k * stride)).collect();
        }
        Ok(Self { storage, offsets, row: strides[own] as isize, column: strides[own + 1] as isize })
    }
}

fn batched<T: Real>(a: &Array, b: &Array, alpha: f64, dims: Vec<usize>) -> Result<Array> {
    let (batch, tail) = dims.split_at(dims.len() - 2);
    let (m, n, k) = (tail[0], tail[1], a.dims()[a.rank() - 1]);
    let (lhs, rhs) = (Matrix::<T>::of(a, batch)?, Matrix::<T>::of(b, batch)?);
    let (ls, rs): (&[T], &[T]) = (&lhs.storage, &rhs.storage);
    let count = dims.iter().product();
    let mut y = alloc::room::<T>(count)?;
    let fresh = &mut y.spare_capacity_mut()[..count];
    let multiply = |i: usize, out: &mut [MaybeUninit<T>], threads: Parallelism| {
        let l = View { data: &ls[lhs.offsets[i]..], row: lhs.row, column: lhs.column };
        let r = View { data: &rs[rhs.offsets[i]..], row: rhs.row, column: rhs.column };
        // SAFETY: nothing is added to what `out` holds.
        unsafe { write(out, n, (m, n, k), l, r, T::of(alpha), Start::Nothing, threads) };
    };
    let matrices = lhs.offsets.len();
    if m * n > 0 && matrices >= threads() && matrices > 1 {
        // whole matrices go to threads: no thread then waits for another within a small product
        let together = (SMALL / multiplications(&[m, n, k.max(1)])).max(1) as usize;
        pieces(fresh, together * m * n, |piece, y| {
            for (i, out) in y.chunks_mut(m * n).enumerate() {
                multiply(piece * together + i, out, Parallelism::None);
            }
        });
    } else if m * n > 0 {
        for (i, out) in fresh.chunks_mut(m * n).enumerate() {
            multiply(i, out, for_product(m, n, k));
        }
    }
    // SAFETY: every matrix of the batch was written, and they cover `count` numbers.
    unsafe { y.set_len(count) };
    cpu::array(y, dims)
}

/// A strided matrix that starts at the first element of `data`.
#[derive(Clone, Copy)]
pub(crate) struct View<'a, T> {
    pub data: &'a [T],
    pub row: isize,
    pub column: isize,
}

/// What a product is added to.
#[derive(Clone, Copy)]
pub(crate) enum Start<'a, T> {
    /// Nothing: what `y` held before is not read.
    Nothing,
    /// A number for each column.
    Bias(&'a [T]),
    /// What `y` holds.
    Own,
}

/// Small matrices of a batch go to a thread together, so that each has at least this many multiplications.
const SMALL: u64 = 64 * 64 * 64;

/// The product of sizes, which need not fit into 32 bits.
pub(crate) fn multiplications(sizes: &[usize]) -> u64 {
    sizes.iter().fold(1, |product: u64, size| product.saturating_mul(*size as u64))
}

/// Writes `start + alpha · a b` into `y`, (m, n), whose rows begin `stride` numbers after each other.
#[allow(clippy::too_many_arguments)]
pub(crate) fn product<T: Real>(
    y: &mut [T],
    stride: usize,
    size: (usize, usize, usize),
    a: View<T>,
    b: View<T>,
    alpha: T,
    start: Start<T>,
    threads: Parallelism,
) {
    // SAFETY: MaybeUninit<T> has the layout of T, and `write` puts numbers only.
    let y = unsafe { std::slice::from_raw_parts_mut(y.as_mut_ptr().cast::<MaybeUninit<T>>(), y.len()) };
    // SAFETY: `y` holds numbers.
    unsafe { write(y, stride, size, a, b, alpha, start, threads) };
}

/// `bias + a b`, (m, n), in new memory.
pub(crate) fn fresh<T: Real>(
    (m, n, k): (usize, usize, usize),
    a: View<T>,
    b: View<T>,
    bias: Option<&[T]>,
    threads: Parallelism,
) -> Result<Vec<T>> {
    alloc::check(&[m, n], T::DTYPE)?;
    let mut y = alloc::room::<T>(m * n)?;
    let start = bias.map_or(Start::Nothing, Start::Bias);
    // SAFETY: nothing is added to what `y` holds.
    unsafe { write(&mut y.spare_capacity_mut()[..m * n], n, (m, n, k), a, b, T::ONE, start, threads) };
    // SAFETY: every element was written.
    unsafe { y.set_len(m * n) };
    Ok(y)
}

/// Writes every element of `y`, (m, n), whose rows begin `stride` numbers after each other.
///
/// # Safety
/// With [`Start::Own`], `y` must hold numbers.
#[allow(clippy::too_many_arguments)]
unsafe fn write<T: Real>(
    y: &mut [MaybeUninit<T>],
    stride: usize,
    (m, n, k): (usize, usize, usize),
    a: View<T>,
    b: View<T>,
    alpha: T,
    start: Start<T>,
    threads: Parallelism,
) {
    let last =
        |v: &View<T>, rows: usize, columns: usize| (rows as isize - 1) * v.row + (columns as isize - 1) * v.column;
    if m == 0 || n == 0 {
        return;
    }
    assert!(n <= stride, "rows overlap");
    let needed = (m - 1).checked_mul(stride).and_then(|before| before.checked_add(n));
    assert!(needed.is_some_and(|needed| needed <= y.len()), "output too short");
    assert!(!matches!(start, Start::Bias(bias) if bias.len() != n), "a bias of another width");
    let y = &mut y[..(m - 1) * stride + n];
    if k == 0 {
        return begin(y, stride, n, start, threads);
    }
    assert!(a.row >= 0 && a.column >= 0 && b.row >= 0 && b.column >= 0, "negative strides");
    assert!((last(&a, m, k) as usize) < a.data.len() && (last(&b, k, n) as usize) < b.data.len(), "operand too short");
    let whole = Part { rows: 0..m, columns: 0..n };
    let parts = match threads {
        Parallelism::None => vec![whole],
        Parallelism::Rayon(_) => parts(whole, a.column != 1 && b.column == 1, crate::parallel::threads()),
    };
    // one part: the threads share its blocks
    let threads = if parts.len() == 1 { threads } else { Parallelism::None };
    let y = Target(y.as_mut_ptr().cast::<T>());
    // SAFETY: the parts do not overlap and lie in `y`, which is borrowed mutably and so overlaps neither operand; the assertions above keep
    // every element of the operands inside their slices; the caller's promise.
    each(parts, |_, part| unsafe { multiply(y, (stride, k), part, (a, b), alpha, start, threads) });
}

/// Rows and columns of a product.
#[derive(Clone)]
struct Part {
    rows: Range<usize>,
    columns: Range<usize>,
}

/// Where threads write, each its part.
#[derive(Clone, Copy)]
struct Target<T>(*mut T);
// SAFETY: whoever writes says that the parts do not overlap.
unsafe impl<T: Send> Send for Target<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Target<T> {}

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
/// `y`, `a` and `b` must have all rows and columns of the part, and nobody else may use these of `y` meanwhile; with [`Start::Own`] they must hold numbers.
unsafe fn multiply<T: Real>(
    Target(y): Target<T>,
    (stride, k): (usize, usize),
    Part { rows, columns }: Part,
    (a, b): (View<T>, View<T>),
    alpha: T,
    start: Start<T>,
    threads: Parallelism,
) {
    let a = View { data: &a.data[rows.start * a.row as usize..], ..a };
    let b = View { data: &b.data[columns.start * b.column as usize..], ..b };
    let start = match start {
        Start::Bias(bias) => Start::Bias(&bias[columns.clone()]),
        start => start,
    };
    let size = (rows.len(), columns.len(), k);
    // SAFETY: the caller's promise.
    unsafe {
        let y = y.add(rows.start * stride + columns.start);
        if !T::own_product(y, stride, size, a, b, alpha, start) {
            by_gemm(y, stride, size, (a, b), alpha, start, threads);
        }
    }
}

/// The same by the crate gemm: f64, and few rows or columns.
///
/// # Safety
/// As for [`multiply`].
unsafe fn by_gemm<T: Real>(
    y: *mut T,
    stride: usize,
    (m, n, k): (usize, usize, usize),
    (a, b): (View<T>, View<T>),
    alpha: T,
    start: Start<T>,
    threads: Parallelism,
) {
    if let Start::Bias(bias) = start {
        for row in 0..m {
            // SAFETY: the caller's promise; a bias has a number for each column.
            unsafe { std::ptr::copy_nonoverlapping(bias.as_ptr(), y.add(row * stride), n) };
        }
    }
    let add = !matches!(start, Start::Nothing);
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
fn begin<T: Real>(y: &mut [MaybeUninit<T>], stride: usize, width: usize, start: Start<T>, threads: Parallelism) {
    pieces_by(threads, y, rows_per_piece(stride) * stride, |_, y| {
        for row in y.chunks_mut(stride).map(|row| &mut row[..width]) {
            match start {
                Start::Own => {}
                Start::Nothing => row.fill(MaybeUninit::new(T::ZERO)),
                Start::Bias(bias) => row.iter_mut().zip(bias).for_each(|(y, b)| *y = MaybeUninit::new(*b)),
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, normal, values};

    #[test]
    fn equals_the_reference_for_odd_shapes_views_and_broadcasts() {
        let cases: [(&[usize], &[usize]); 6] = [
            (&[3, 5], &[5, 7]),
            (&[2, 3, 5], &[2, 5, 7]),
            (&[4, 2, 3, 5], &[1, 2, 5, 1]),
            (&[2, 3, 5], &[5, 7]),
            (&[1, 1], &[1, 1]),
            (&[2, 130, 140], &[2, 140, 131]),
        ];
        for (sa, sb) in cases {
            let (a, b) = (normal(sa, 1), normal(sb, 2));
            close(&matmul(&a, &b, 0.5).unwrap(), &reference(&a, &b, 0.5).unwrap(), 1e-5);
            let at = a.transpose(sa.len() - 1, sa.len() - 2).unwrap().contiguous().unwrap();
            let view = at.transpose(sa.len() - 1, sa.len() - 2).unwrap();
            close(&matmul(&view, &b, 1.0).unwrap(), &reference(&a, &b, 1.0).unwrap(), 1e-5);
        }
        let heads = normal(&[2, 6, 3, 4], 3).permute([0, 2, 1, 3]).unwrap(); // (b, h, n, d) as a view
        let keys = heads.transpose(2, 3).unwrap();
        close(&matmul(&heads, &keys, 1.0).unwrap(), &reference(&heads, &keys, 1.0).unwrap(), 1e-5);
        let part = normal(&[4, 8], 4).narrow(1, 2, 5).unwrap();
        let square = normal(&[5, 5], 5);
        close(&matmul(&part, &square, 1.0).unwrap(), &reference(&part, &square, 1.0).unwrap(), 1e-5);
    }

    #[test]
    fn rows_of_the_result_may_lie_apart() {
        let (m, n, stride) = (5, 7, 10);
        for k in [0, 6] {
            let (a, b) = (values(&normal(&[m, k], 1)), values(&normal(&[k, n], 2)));
            let view = |data, width: usize| View { data, row: width as isize, column: 1 };
            let bias = [0.5; 7];
            for start in [Start::Nothing, Start::Bias(&bias), Start::Own] {
                let mut dense = vec![2.0; m * n];
                product(&mut dense, n, (m, n, k), view(&a, k), view(&b, n), 0.5, start, Parallelism::None);
                let mut apart = vec![2.0; m * stride];
                product(&mut apart, stride, (m, n, k), view(&a, k), view(&b, n), 0.5, start, Parallelism::None);
                for (row, apart) in dense.chunks(n).zip(apart.chunks(stride)) {
                    assert_eq!(row, &apart[..n]);
                    assert_eq!(apart[n..], [2.0; 3]);
                }
            }
        }
    }

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

    #[test]
    fn empty_and_misfitting_shapes() {
        assert_eq!(matmul(&normal(&[2, 0, 3], 1), &normal(&[2, 3, 4], 2), 1.0).unwrap().dims(), [2, 0, 4]);
        let zero = matmul(&normal(&[2, 0], 1), &normal(&[0, 4], 2), 1.0).unwrap();
        assert_eq!(zero.to_vec2::<f32>().unwrap(), [[0.0; 4]; 2]);
        let message = matmul(&normal(&[2, 3], 1), &normal(&[4, 2], 2), 1.0).unwrap_err().to_string();
        assert!(message.contains("[2, 3] and [4, 2]"), "{message}");
    }
}
