//! One product of two f32 matrices on four-lane vectors, for WebAssembly: `y = start + alpha · a b`.
//!
//! The crate `gemm`, which other platforms use, multiplies and adds in two instructions there; where the engine has relaxed SIMD
//! both are one. Blocks of `b` are packed into panels of eight columns, blocks of `a` into panels of four rows, and an inner kernel
//! keeps a tile of 4 x 8 results in registers. A tile of 6 x 8 would load less, but V8 keeps all factors of a step in registers too,
//! of which there are fifteen, and then moves sums to memory and back in every step.
//! Source: Anatomy of High-Performance Matrix Multiplication, <https://doi.org/10.1145/1356052.1356053>.
//!
//! Threads pack a block of `b` together, then each takes rows of the result. Every result is summed in an order that depends on its own
//! row and column alone, so that it does not matter who takes which.

use crate::matmul::{Start, View};
use crate::parallel::{pieces_by, rows_at_once, threads};
use gemm::Parallelism;
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::thread::LocalKey;

/// Rows and columns of a tile.
const MR: usize = 4;
const NR: usize = 8;
/// Blocks: a panel of `b`, KC x NR, stays in the first cache, a block of `a`, MC x KC, in the second.
const MC: usize = 96;
const KC: usize = 256;
const NC: usize = 1024;

#[cfg_attr(not(target_arch = "wasm32"), path = "plain_lanes.rs")]
mod lanes;
#[cfg(test)]
mod tests;

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

/// The same for rows that lie in memory one by one: packing them would only be a copy.
#[inline(always)]
fn tile_of_rows(rows: [&[f32]; MR], columns: &[f32]) -> Tile {
    let mut sums = [[lanes::splat(0.0); 2]; MR];
    let (b, _) = columns.as_chunks::<NR>();
    let [first, second, third, fourth] = rows;
    // iterators alone: an index would be compared with the length in every step
    for ((a, b), (c, (d, columns))) in first.iter().zip(second).zip(third.iter().zip(fourth.iter().zip(b))) {
        step(&mut sums, &[*a, *b, *c, *d], columns);
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

/// Writes a tile to its place in `y`, whose rows have `width` numbers. `start` begins at the tile's first column.
///
/// # Safety
/// With [`Start::Own`], `y` must hold numbers.
#[inline(always)]
unsafe fn write(
    y: &mut [MaybeUninit<f32>],
    width: usize,
    tile: &Tile,
    (rows, columns): (usize, usize),
    alpha: f32,
    start: Start<f32>,
) {
    let alpha = lanes::splat(alpha);
    for (row, sums) in y.chunks_mut(width).zip(tile).take(rows) {
        let row = &mut row[..columns];
        let mut values = [0.0; NR];
        match start {
            Start::Nothing => {}
            Start::Bias(bias) => first(&mut values, bias),
            // SAFETY: the caller's promise, and MaybeUninit<f32> has the layout of f32.
            Start::Own => first(&mut values, unsafe { &*(std::ptr::from_mut(row) as *const [f32]) }),
        }
        for (i, sum) in sums.iter().enumerate() {
            lanes::store(lanes::mul_add(*sum, alpha, lanes::load(&values, 4 * i)), &mut values, 4 * i);
        }
        match row.first_chunk_mut::<NR>() {
            // a length that the compiler knows, so that no call is made
            Some(row) => *row = values.map(MaybeUninit::new),
            None => row.iter_mut().zip(values).for_each(|(y, x)| *y = MaybeUninit::new(x)),
        }
    }
}

/// The first numbers of `from`, as many as there are.
#[inline(always)]
fn first(into: &mut [f32; NR], from: &[f32]) {
    match from.first_chunk::<NR>() {
        Some(from) => *into = *from,
        None => into[..from.len()].copy_from_slice(from),
    }
}

thread_local! {
    /// One block of each operand, kept between products.
    static ROWS: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
    static COLUMNS: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Runs `f` on a buffer of this thread, or on a new one where a product is under way that waits for other threads.
fn with_buffer<R>(kept: &'static LocalKey<Cell<Vec<f32>>>, length: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut buffer = kept.take();
    let result = f(resized(&mut buffer, length));
    kept.set(buffer);
    result
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

/// Writes `start + alpha · a b` into `y`, (m, n) row by row: every element. Strides are not negative, and all elements are inside.
///
/// # Safety
/// With [`Start::Own`], `y` must hold numbers.
pub unsafe fn product(
    y: &mut [MaybeUninit<f32>],
    (m, n, k): (usize, usize, usize),
    a: View<f32>,
    b: View<f32>,
    alpha: f32,
    start: Start<f32>,
    how: Parallelism,
) {
    let at_once = rows_at_once(m, MC, how);
    for j in (0..n).step_by(NC) {
        let columns = (n - j).min(NC);
        for l in (0..k).step_by(KC) {
            let depth = (k - l).min(KC);
            let start = if l == 0 { from_column(start, j) } else { Start::Own };
            with_buffer(&COLUMNS, columns.next_multiple_of(NR) * depth, |right| {
                pack_together(right, from(b, l, j), (depth, columns), how);
                let right: &[f32] = right;
                pieces_by(how, y, at_once * n, |i, y| {
                    let size = (y.len() / n, columns, depth);
                    // SAFETY: the caller's promise; from the second block of `k` on, the first one has written all of `y`.
                    unsafe { multiply_rows(&mut y[j..], n, from(a, i * at_once, l), right, size, alpha, start) };
                });
            });
        }
    }
}

/// The start of the columns from `column` on.
fn from_column(start: Start<f32>, column: usize) -> Start<f32> {
    match start {
        Start::Bias(bias) => Start::Bias(&bias[column..]),
        other => other,
    }
}

/// [`pack_columns`], shared over threads.
fn pack_together(into: &mut [f32], b: View<f32>, (depth, columns): (usize, usize), how: Parallelism) {
    let panels = columns.div_ceil(NR).div_ceil(2 * threads());
    pieces_by(how, into, panels * NR * depth, |i, part| {
        let first = i * panels * NR;
        pack_columns(part, from(b, 0, first), (depth, (columns - first).min(panels * NR)));
    });
}

/// Some rows of `a` times a packed block of `b`.
///
/// # Safety
/// With [`Start::Own`], `y` must hold numbers.
unsafe fn multiply_rows(
    y: &mut [MaybeUninit<f32>],
    width: usize,
    a: View<f32>,
    right: &[f32],
    (rows, columns, depth): (usize, usize, usize),
    alpha: f32,
    start: Start<f32>,
) {
    // in place where each row is one piece of memory, but for those that make no whole strip
    let direct = if a.column == 1 { rows - rows % MR } else { 0 };
    for (jr, panel) in right.chunks_exact(NR * depth).enumerate() {
        let start = from_column(start, jr * NR);
        let wide = (columns - jr * NR).min(NR);
        for first in (0..direct).step_by(MR) {
            let strip = std::array::from_fn(|r| &a.data[(first + r) * a.row as usize..][..depth]);
            let sums = tile_of_rows(strip, panel);
            // SAFETY: the caller's promise.
            unsafe { write(&mut y[first * width + jr * NR..], width, &sums, (MR, wide), alpha, start) };
        }
    }
    if direct == rows {
        return;
    }
    let rest = rows - direct;
    with_buffer(&ROWS, rest.next_multiple_of(MR) * depth, |left| {
        pack_rows(left, from(a, direct, 0), (rest, depth));
        // SAFETY: the caller's promise.
        unsafe { multiply_block(&mut y[direct * width..], width, (left, right), (rest, columns, depth), alpha, start) };
    });
}

/// All tiles of a packed block.
///
/// # Safety
/// With [`Start::Own`], `y` must hold numbers.
unsafe fn multiply_block(
    y: &mut [MaybeUninit<f32>],
    width: usize,
    (left, right): (&[f32], &[f32]),
    (rows, columns, depth): (usize, usize, usize),
    alpha: f32,
    start: Start<f32>,
) {
    for (jr, panel) in right.chunks_exact(NR * depth).enumerate() {
        let start = from_column(start, jr * NR);
        for (ir, strip) in left.chunks_exact(MR * depth).enumerate() {
            let sums = tile(strip, panel);
            let size = ((rows - ir * MR).min(MR), (columns - jr * NR).min(NR));
            // SAFETY: the caller's promise.
            unsafe { write(&mut y[ir * MR * width + jr * NR..], width, &sums, size, alpha, start) };
        }
    }
}
