//! Work shared over threads: the only place that knows them. A build without threads runs the pieces one after the other.
//!
//! Pieces have a fixed size, and their results come in order, so that no result depends on the number of threads. One piece
//! runs where it is called: small work pays nothing for threads.

use gemm::Parallelism;
use rayon::prelude::*;

/// Elements per piece of element-wise work.
pub const PIECE: usize = 16 * 1024;

/// Products below this many multiplications run on one thread: waking others costs more than they save.
const PRODUCT: usize = 128 * 128 * 128;

/// How many threads share the work.
pub fn threads() -> usize {
    rayon::current_num_threads()
}

/// Sets the number of threads; possible once, before their first use. Whether that was so.
pub fn set_threads(count: usize) -> bool {
    rayon::ThreadPoolBuilder::new().num_threads(count).build_global().is_ok()
}

/// Rows per piece, so that a piece has about [`PIECE`] elements.
pub fn rows_per_piece(width: usize) -> usize {
    (PIECE / width.max(1)).max(1)
}

/// Runs `f(number, piece)` for each `size` elements of `out`.
pub fn pieces<T: Send>(out: &mut [T], size: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    map_pieces(out, size, f);
}

/// What `f(number, piece)` gives for each `size` elements of `out`, in order.
pub fn map_pieces<T: Send, R: Send>(out: &mut [T], size: usize, f: impl Fn(usize, &mut [T]) -> R + Sync) -> Vec<R> {
    let size = size.max(1);
    if out.len() <= size || threads() == 1 {
        return out.chunks_mut(size).enumerate().map(|(i, piece)| f(i, piece)).collect();
    }
    out.par_chunks_mut(size).enumerate().map(|(i, piece)| f(i, piece)).collect()
}

/// [`pieces`] of three slices of one length.
pub fn pieces3<T: Send>(
    (a, b, c): (&mut [T], &mut [T], &mut [T]),
    size: usize,
    f: impl Fn(usize, (&mut [T], &mut [T], &mut [T])) + Sync,
) {
    if a.len() <= size {
        return f(0, (a, b, c));
    }
    if threads() == 1 {
        let rest = b.chunks_mut(size).zip(c.chunks_mut(size));
        return a.chunks_mut(size).zip(rest).enumerate().for_each(|(i, (a, (b, c)))| f(i, (a, b, c)));
    }
    let rest = b.par_chunks_mut(size).zip(c.par_chunks_mut(size));
    a.par_chunks_mut(size).zip(rest).enumerate().for_each(|(i, (a, (b, c)))| f(i, (a, b, c)));
}

/// What `f` gives for 0 to `count` - 1, in order; `per_piece` of them run in one go.
pub fn map<R: Send>(count: usize, per_piece: usize, f: impl Fn(usize) -> R + Sync) -> Vec<R> {
    if count <= per_piece || threads() == 1 {
        return (0..count).map(f).collect();
    }
    (0..count).into_par_iter().with_min_len(per_piece.max(1)).map(&f).collect()
}

/// Piece number `index` of `xs`; the last one may be shorter.
pub fn part<T>(xs: &[T], index: usize, size: usize) -> &[T] {
    let start = (index * size).min(xs.len());
    &xs[start..xs.len().min(start + size)]
}

/// Runs `f(first row, rows, block)` for blocks of rows of `y`, one for each thread that `threads` allows.
#[cfg(any(target_arch = "wasm32", test))]
pub fn row_blocks<T: Send>(y: &mut [T], width: usize, threads: Parallelism, f: impl Fn(usize, usize, &mut [T]) + Sync) {
    let rows = y.len() / width.max(1);
    let count = if matches!(threads, Parallelism::None) { 1 } else { self::threads() };
    let per_block = rows.div_ceil(count).next_multiple_of(4);
    pieces(y, per_block * width, |i, block| f(i * per_block, block.len() / width, block));
}

/// How a product of (m, k) and (k, n) is to use threads.
pub fn for_product(m: usize, n: usize, k: usize) -> Parallelism {
    if m * n * k < PRODUCT || threads() == 1 {
        Parallelism::None
    } else {
        Parallelism::Rayon(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
