//! One product of two f32 matrices on four-lane vectors, for WebAssembly: `y = own · y + product · a b`.
//!
//! The crate `gemm`, which other platforms use, multiplies and adds in two instructions there; where the engine has relaxed SIMD
//! both are one. Blocks of `b` are packed into panels of eight columns, blocks of `a` into panels of four rows, and an inner kernel
//! keeps a tile of 4 x 8 results in registers. A tile of 6 x 8 would load less, but V8 keeps all factors of a step in registers too,
//! of which there are fifteen, and then moves sums to memory and back in every step.
//! Source: Anatomy of High-Performance Matrix Multiplication, <https://doi.org/10.1145/1356052.1356053>.
//!
//! Each result is summed in an order that depends on its own row and column alone, so that rows may be split over threads.

use crate::matmul::{Scale, View};
use std::cell::RefCell;

/// Rows and columns of a tile.
const MR: usize = 4;
const NR: usize = 8;
/// Blocks: a panel of `b`, KC x NR, stays in the first cache, a block of `a`, MC x KC, in the second.
const MC: usize = 96;
const KC: usize = 256;
const NC: usize = 1024;

/// Four numbers.
#[cfg(target_arch = "wasm32")]
mod lanes {
    use core::arch::wasm32::*;

    pub type V = v128;

    #[inline(always)]
    pub fn splat(x: f32) -> V {
        f32x4_splat(x)
    }

    /// `a b + c`
    #[inline(always)]
    pub fn mul_add(a: V, b: V, c: V) -> V {
        #[cfg(target_feature = "relaxed-simd")]
        return f32x4_relaxed_madd(a, b, c);
        #[cfg(not(target_feature = "relaxed-simd"))]
        f32x4_add(f32x4_mul(a, b), c)
    }

    #[inline(always)]
    pub fn scaled(v: V, by: f32) -> V {
        f32x4_mul(v, f32x4_splat(by))
    }

    /// Rows become columns.
    #[inline(always)]
    pub fn transpose([a, b, c, d]: [V; 4]) -> [V; 4] {
        let (ab, ab2) = (i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<2, 6, 3, 7>(a, b));
        let (cd, cd2) = (i32x4_shuffle::<0, 4, 1, 5>(c, d), i32x4_shuffle::<2, 6, 3, 7>(c, d));
        [
            i64x2_shuffle::<0, 2>(ab, cd),
            i64x2_shuffle::<1, 3>(ab, cd),
            i64x2_shuffle::<0, 2>(ab2, cd2),
            i64x2_shuffle::<1, 3>(ab2, cd2),
        ]
    }

    /// Puts four numbers into `xs`, from `at` on.
    #[inline(always)]
    pub fn store(v: V, xs: &mut [f32], at: usize) {
        let four = &mut xs[at..at + 4];
        // SAFETY: the slice has four numbers; v128_store needs no alignment.
        unsafe { v128_store(four.as_mut_ptr().cast(), v) }
    }

    /// Four numbers of `xs`, from `at` on.
    #[inline(always)]
    pub fn load(xs: &[f32], at: usize) -> V {
        let four = &xs[at..at + 4];
        // SAFETY: the slice has four numbers; v128_load needs no alignment.
        unsafe { v128_load(four.as_ptr().cast()) }
    }
}

/// The same in plain numbers, so that the tests run everywhere.
#[cfg(not(target_arch = "wasm32"))]
mod lanes {
    pub type V = [f32; 4];

    #[inline(always)]
    pub fn splat(x: f32) -> V {
        [x; 4]
    }

    #[inline(always)]
    pub fn mul_add(a: V, b: V, c: V) -> V {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }

    #[inline(always)]
    pub fn scaled(v: V, by: f32) -> V {
        v.map(|x| x * by)
    }

    #[inline(always)]
    pub fn transpose(rows: [V; 4]) -> [V; 4] {
        std::array::from_fn(|i| rows.map(|row| row[i]))
    }

    #[inline(always)]
    pub fn store(v: V, xs: &mut [f32], at: usize) {
        xs[at..at + 4].copy_from_slice(&v);
    }

    #[inline(always)]
    pub fn load(xs: &[f32], at: usize) -> V {
        std::array::from_fn(|i| xs[at + i])
    }
}

use lanes::V;

type Tile = [[V; 2]; MR];

/// Adds the outer product of MR numbers of a row panel and NR of a column panel.
#[inline(always)]
fn step(sums: &mut Tile, a: &[f32; MR], b: &[f32; NR]) {
    let (left, right) = (lanes::load(b, 0), lanes::load(b, 4));
    for (sum, x) in sums.iter_mut().zip(a) {
        let x = lanes::splat(*x);
        sum[0] = lanes::mul_add(x, left, sum[0]);
        sum[1] = lanes::mul_add(x, right, sum[1]);
    }
}

/// The sum over all steps of a packed panel of rows times a packed panel of columns.
#[inline(always)]
fn tile(rows: &[f32], columns: &[f32]) -> Tile {
    let mut sums = [[lanes::splat(0.0); 2]; MR];
    let ((a, _), (b, _)) = (rows.as_chunks::<MR>(), columns.as_chunks::<NR>());
    // one step in a round: of several, the compiler would interleave the sums and run out of registers
    for (a, b) in a.iter().zip(b) {
        step(&mut sums, a, b);
    }
    sums
}

/// Panels of four rows of `a`: (depth, 4) each, rows that are not there filled with 0.
fn pack_rows(into: &mut [f32], a: View<f32>, (rows, depth): (usize, usize)) {
    pack::<MR>(into, a.data, (a.row as usize, a.column as usize), (rows, depth));
}

/// Panels of eight columns of `b`: (depth, 8) each, columns that are not there filled with 0.
fn pack_columns(into: &mut [f32], b: View<f32>, (depth, columns): (usize, usize)) {
    pack::<NR>(into, b.data, (b.column as usize, b.row as usize), (columns, depth));
}

/// Panels of `W` lines: (depth, W) each. `strides`: from line to line, and along a line.
fn pack<const W: usize>(
    into: &mut [f32],
    data: &[f32],
    (across, along): (usize, usize),
    (lines, depth): (usize, usize),
) {
    for (panel, first) in into.chunks_exact_mut(W * depth).zip((0..lines).step_by(W)) {
        let there = (lines - first).min(W);
        let start = first * across;
        if there < W {
            panel.fill(0.0);
        }
        if there == W && along == 1 {
            let line = |i: usize| &data[start + i * across..][..depth];
            interleave::<W, 0>(panel, [line(0), line(1), line(2), line(3)]);
            if W == NR {
                interleave::<W, 4>(panel, [line(4), line(5), line(6), line(7)]);
            }
        } else if across == 1 {
            for (k, place) in panel.chunks_exact_mut(W).enumerate() {
                let line = &data[start + k * along..];
                match (place.first_chunk_mut::<W>(), line.first_chunk::<W>()) {
                    // a length that the compiler knows, so that no call is made
                    (Some(place), Some(line)) if there == W => *place = *line,
                    _ => place[..there].copy_from_slice(&line[..there]),
                }
            }
        } else {
            for i in 0..there {
                let from = start + i * across;
                panel[i..].iter_mut().step_by(W).enumerate().for_each(|(k, place)| *place = data[from + k * along]);
            }
        }
    }
}

/// Writes number k of four lines to places AT to AT + 3 of step k.
#[inline(always)]
fn interleave<const W: usize, const AT: usize>(panel: &mut [f32], lines: [&[f32]; 4]) {
    let depth = lines[0].len();
    let [a, b, c, d] = lines.map(|line| line.as_chunks::<4>().0);
    let fours = a.iter().zip(b).zip(c.iter().zip(d));
    for (steps, ((a, b), (c, d))) in panel.chunks_exact_mut(4 * W).zip(fours) {
        let turned = lanes::transpose([a, b, c, d].map(|four| lanes::load(four, 0)));
        for (step, v) in steps.chunks_exact_mut(W).zip(turned) {
            lanes::store(v, step, AT);
        }
    }
    for k in depth - depth % 4..depth {
        for (i, line) in lines.iter().enumerate() {
            panel[k * W + AT + i] = line[k];
        }
    }
}

/// Writes a tile to its place in `y`, whose rows have `width` numbers.
#[inline(always)]
fn write(y: &mut [f32], width: usize, tile: &Tile, (rows, columns): (usize, usize), scale: Scale<f32>) {
    for (row, sums) in y.chunks_mut(width).zip(tile).take(rows) {
        match row.first_chunk_mut::<NR>() {
            Some(row) if columns == NR => write_row(row, sums, scale),
            _ => {
                let mut values = [0.0; NR];
                values[..columns].copy_from_slice(&row[..columns]);
                write_row(&mut values, sums, scale);
                row[..columns].copy_from_slice(&values[..columns]);
            }
        }
    }
}

#[inline(always)]
fn write_row(row: &mut [f32; NR], sums: &[V; 2], scale: Scale<f32>) {
    let product = lanes::splat(scale.product);
    for (i, sum) in sums.iter().enumerate() {
        // what `y` held before may be anything where it does not count
        let before =
            if scale.own == 0.0 { lanes::splat(0.0) } else { lanes::scaled(lanes::load(row, 4 * i), scale.own) };
        lanes::store(lanes::mul_add(*sum, product, before), row, 4 * i);
    }
}

#[derive(Default)]
struct Packed {
    a: Vec<f32>,
    b: Vec<f32>,
}

thread_local! {
    /// One block of each operand, kept between products.
    static PACKED: RefCell<Packed> = RefCell::default();
}

fn resized(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    if buffer.len() < length {
        buffer.resize(length, 0.0);
    }
    &mut buffer[..length]
}

/// `data` from the element (row, column) on.
fn from<T>(view: View<T>, row: usize, column: usize) -> View<T> {
    View { data: &view.data[row * view.row as usize + column * view.column as usize..], ..view }
}

/// Writes `own · y + product · a b` into `y`, (m, n) row by row. Strides are not negative, and all elements are inside.
pub fn product(y: &mut [f32], (m, n, k): (usize, usize, usize), a: View<f32>, b: View<f32>, scale: Scale<f32>) {
    PACKED.with_borrow_mut(|packed| {
        for j in (0..n).step_by(NC) {
            let columns = (n - j).min(NC);
            for l in (0..k).step_by(KC) {
                let depth = (k - l).min(KC);
                let own = if l == 0 { scale.own } else { 1.0 };
                let right = resized(&mut packed.b, columns.next_multiple_of(NR) * depth);
                pack_columns(right, from(b, l, j), (depth, columns));
                for i in (0..m).step_by(MC) {
                    let rows = (m - i).min(MC);
                    let left = resized(&mut packed.a, rows.next_multiple_of(MR) * depth);
                    pack_rows(left, from(a, i, l), (rows, depth));
                    let block = &mut y[i * n + j..];
                    let scale = Scale { own, product: scale.product };
                    multiply_block(block, n, (left, right), (rows, columns, depth), scale);
                }
            }
        }
    });
}

/// All tiles of a block.
fn multiply_block(
    y: &mut [f32],
    width: usize,
    (left, right): (&[f32], &[f32]),
    (rows, columns, depth): (usize, usize, usize),
    scale: Scale<f32>,
) {
    for (jr, panel) in right.chunks_exact(NR * depth).enumerate() {
        for (ir, strip) in left.chunks_exact(MR * depth).enumerate() {
            let sums = tile(strip, panel);
            let size = ((rows - ir * MR).min(MR), (columns - jr * NR).min(NR));
            write(&mut y[ir * MR * width + jr * NR..], width, &sums, size, scale);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::philox::Stream;

    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        Stream { seed, call: 0, draw: 0 }.normal(count).into_iter().map(|x| x as f32).collect()
    }

    fn plain(y: &[f32], (m, n, k): (usize, usize, usize), a: View<f32>, b: View<f32>, scale: Scale<f32>) -> Vec<f32> {
        let at = |v: &View<f32>, i: usize, j: usize| f64::from(v.data[i * v.row as usize + j * v.column as usize]);
        let sum = |i, j| (0..k).map(|l| at(&a, i, l) * at(&b, l, j)).sum::<f64>();
        let value = |at: usize| f64::from(scale.own * y[at]) + f64::from(scale.product) * sum(at / n, at % n);
        (0..m * n).map(|at| value(at) as f32).collect()
    }

    #[test]
    fn equals_the_plain_sum_for_odd_sizes_and_all_strides() {
        let sizes =
            [(1, 1, 1), (4, 8, 4), (7, 9, 5), (5, 1030, 3), (97, 17, 300), (100, 33, 257), (13, 8, 600), (2, 3, 0)];
        for (m, n, k) in sizes {
            let (xs, ws, old) = (numbers(m * k + 1, 1), numbers(k * n + 1, 2), numbers(m * n, 3));
            for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
                let view = |data, rows, columns, turned: bool| match turned {
                    false => View { data, row: columns as isize, column: 1 },
                    true => View { data, row: 1, column: rows as isize },
                };
                let (a, b) = (view(&xs[..], m, k, ta), view(&ws[..], k, n, tb));
                for scale in [Scale { own: 0.0, product: 1.0 }, Scale { own: 1.0, product: 0.5 }] {
                    let mut y = old.clone();
                    product(&mut y, (m, n, k), a, b, scale);
                    if k == 0 {
                        continue; // the caller treats it
                    }
                    for (got, want) in y.iter().zip(plain(&old, (m, n, k), a, b, scale)) {
                        assert!(
                            (got - want).abs() <= 1e-5 * (k as f32).sqrt().max(1.0) * want.abs().max(1.0),
                            "{m} {n} {k}"
                        );
                    }
                }
            }
        }
    }
}
