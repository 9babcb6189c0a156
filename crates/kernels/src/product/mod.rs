//! One product of two f32 matrices on four-lane vectors, for WebAssembly: `y = start + alpha · a b`.
//!
//! The crate `gemm`, which other platforms use, multiplies and adds in two instructions there; where the engine has relaxed SIMD
//! both are one. Blocks of `b` are packed into panels of columns, rows of `a` are read where they lie (or from a copy where they lie
//! in pieces), and an inner kernel keeps a tile of results in registers. V8 has fifteen of them, and moves sums to memory and back in
//! every step of a tile that needs more, with its factors. Tiles of 3 x 12 come closest to the processor's peak; 4 x 8 fit few rows and what
//! is left of the columns.
//! Source: Anatomy of High-Performance Matrix Multiplication, <https://doi.org/10.1145/1356052.1356053>.
//!
//! Threads pack a block of `b` together, then each takes rows of the result. Every result is summed in an order that depends on its own
//! row and column alone, so that it does not matter who takes which, nor in what tile.

use crate::matmul::{Start, View};
use crate::parallel::{pieces_by, rows_at_once, threads};
use gemm::Parallelism;
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::thread::LocalKey;

/// Columns of a panel: three vectors, and two.
const WIDE: usize = 12;
const NARROW: usize = 8;
/// From so many rows and columns on, tiles of 3 x 12 pay, though rows are left over.
const LARGE: usize = 24;
/// Blocks: a panel of `b`, KC x 12, stays in the first cache, a block of `a`, MC x KC, in the second.
const MC: usize = 96;
const KC: usize = 256;
const NC: usize = 1024;

#[cfg_attr(not(target_arch = "wasm32"), path = "plain_lanes.rs")]
mod lanes;
#[cfg(test)]
mod tests;

use lanes::V;

/// M rows of N vectors.
type Tile<const M: usize, const N: usize> = [[V; N]; M];

/// Panels of a block of `b`: first the wide ones, then the narrow ones, of which the last may have columns that are not there.
#[derive(Clone, Copy)]
struct Panels {
    wide: usize,
    narrow: usize,
}

impl Panels {
    fn of(rows: usize, columns: usize) -> Self {
        if rows.min(columns) < LARGE {
            return Self { wide: 0, narrow: columns.div_ceil(NARROW) };
        }
        // one wide panel less where its columns make two narrow ones with what is left
        let (whole, left) = (columns / WIDE, columns % WIDE);
        let wide = if (1..=2 * NARROW - WIDE).contains(&left) { whole - 1 } else { whole };
        Self { wide, narrow: (columns - wide * WIDE).div_ceil(NARROW) }
    }

    /// Columns of the wide panels.
    fn wide_columns(self) -> usize {
        self.wide * WIDE
    }

    fn columns(self) -> usize {
        self.wide_columns() + self.narrow * NARROW
    }
}

/// The sum over all steps of M rows times a packed panel of N vectors.
#[inline(always)]
fn tile<const M: usize, const N: usize>(rows: [&[f32]; M], panel: &[f32]) -> Tile<M, N> {
    let mut sums = [[lanes::splat(0.0); N]; M];
    let (steps, _) = panel.as_chunks::<4>().0.as_chunks::<N>();
    let rows = rows.map(|row| &row[..steps.len()]);
    for (k, step) in steps.iter().enumerate() {
        let columns: [V; N] = std::array::from_fn(|c| lanes::load(&step[c], 0));
        for (sums, row) in sums.iter_mut().zip(rows) {
            // SAFETY: each row has a number for each step; the compiler would compare the index with the length every time.
            let x = lanes::splat(unsafe { *row.get_unchecked(k) });
            for (sum, column) in sums.iter_mut().zip(columns) {
                *sum = lanes::mul_add(x, column, *sum);
            }
        }
    }
    sums
}

/// Panels of `W` lines: (depth, W) each, lines that are not there filled with 0. `strides`: from line to line, and along a line.
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
            for at in (0..W).step_by(4) {
                interleave::<W>(panel, at, std::array::from_fn(|i| line(at + i)));
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

/// Writes number k of four lines to places `at` to `at` + 3 of step k.
#[inline(always)]
fn interleave<const W: usize>(panel: &mut [f32], at: usize, lines: [&[f32]; 4]) {
    let depth = lines[0].len();
    let [a, b, c, d] = lines.map(|line| line.as_chunks::<4>().0);
    let fours = a.iter().zip(b).zip(c.iter().zip(d));
    for (steps, ((a, b), (c, d))) in panel.chunks_exact_mut(4 * W).zip(fours) {
        let turned = lanes::transpose([a, b, c, d].map(|four| lanes::load(four, 0)));
        for (step, v) in steps.chunks_exact_mut(W).zip(turned) {
            lanes::store(v, step, at);
        }
    }
    for k in depth - depth % 4..depth {
        for (i, line) in lines.iter().enumerate() {
            panel[k * W + at + i] = line[k];
        }
    }
}

/// Rows as one piece of memory each, (rows, depth), from a matrix whose columns or single numbers lie apart.
fn copy_rows(into: &mut [f32], a: View<f32>, (rows, depth): (usize, usize)) {
    let (row, column) = (a.row as usize, a.column as usize);
    for (first, four) in into.chunks_mut(4 * depth).enumerate().map(|(i, four)| (4 * i, four)) {
        let whole = if rows - first >= 4 && row == 1 { depth - depth % 4 } else { 0 };
        for k in (0..whole).step_by(4) {
            let steps = std::array::from_fn(|s| lanes::load(a.data, (k + s) * column + first));
            for (r, v) in lanes::transpose(steps).into_iter().enumerate() {
                lanes::store(v, four, r * depth + k);
            }
        }
        for (r, line) in four.chunks_exact_mut(depth).enumerate() {
            for (k, place) in line.iter_mut().enumerate().skip(whole) {
                *place = a.data[(first + r) * row + k * column];
            }
        }
    }
}

/// Writes a tile to its place in `y`, whose rows have `width` numbers: its first `columns`. `start` begins at the tile's first column.
///
/// # Safety
/// With [`Start::Own`], `y` must hold numbers.
#[inline(always)]
unsafe fn write<const M: usize, const N: usize>(
    y: &mut [MaybeUninit<f32>],
    width: usize,
    sums: Tile<M, N>,
    columns: usize,
    alpha: f32,
    start: Start<f32>,
) {
    match start {
        Start::Nothing => put(y, width, sums, columns, alpha, |_, _| lanes::splat(0.0)),
        Start::Bias(bias) if bias.len() >= 4 * N => put(y, width, sums, columns, alpha, |_, at| lanes::load(bias, at)),
        Start::Bias(bias) => put(y, width, sums, columns, alpha, |_, at| some(bias, at)),
        Start::Own => put(y, width, sums, columns, alpha, |row, at| {
            // SAFETY: the caller's promise, and MaybeUninit<f32> has the layout of f32.
            some(unsafe { &*(std::ptr::from_ref(row) as *const [f32]) }, at)
        }),
    }
}

/// [`write`] with what stood before, which `before(row of y, column)` gives, four columns at a time.
#[inline(always)]
fn put<const M: usize, const N: usize>(
    y: &mut [MaybeUninit<f32>],
    width: usize,
    sums: Tile<M, N>,
    columns: usize,
    alpha: f32,
    before: impl Fn(&[MaybeUninit<f32>], usize) -> V,
) {
    let alpha = lanes::splat(alpha);
    for (r, sums) in sums.into_iter().enumerate() {
        let row = &mut y[r * width..][..columns];
        for (c, sum) in sums.into_iter().enumerate() {
            let sum = lanes::mul_add(sum, alpha, before(row, 4 * c));
            match row.get_mut(4 * c..).and_then(|row| row.first_chunk_mut::<4>()) {
                Some(four) => *four = lanes::numbers(sum).map(MaybeUninit::new),
                None => {
                    let left = row.iter_mut().skip(4 * c);
                    left.zip(lanes::numbers(sum)).for_each(|(y, x)| *y = MaybeUninit::new(x));
                }
            }
        }
    }
}

/// Four numbers from `at` on; those that are not there are 0.
#[inline(always)]
fn some(from: &[f32], at: usize) -> V {
    let from = from.get(at..).unwrap_or_default();
    match from.first_chunk::<4>() {
        Some(four) => lanes::load(four, 0),
        None => {
            let mut four = [0.0; 4];
            four[..from.len()].copy_from_slice(from);
            lanes::load(&four, 0)
        }
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

/// Writes `start + alpha · a b` into `y`, (m, n), whose rows begin `stride` numbers after each other: every element. Strides are not negative,
/// and all elements are inside.
///
/// # Safety
/// With [`Start::Own`], `y` must hold numbers.
#[allow(clippy::too_many_arguments)]
pub unsafe fn product(
    y: &mut [MaybeUninit<f32>],
    stride: usize,
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
        let panels = Panels::of(m, columns);
        for l in (0..k).step_by(KC) {
            let depth = (k - l).min(KC);
            let start = if l == 0 { from_column(start, j) } else { Start::Own };
            with_buffer(&COLUMNS, panels.columns() * depth, |right| {
                let (wide, narrow) = right.split_at_mut(panels.wide_columns() * depth);
                let b = from(b, l, j);
                pack_together::<WIDE>(wide, b, (depth, panels.wide_columns()), how);
                if panels.narrow > 0 {
                    let b = from(b, 0, panels.wide_columns());
                    pack_together::<NARROW>(narrow, b, (depth, columns - panels.wide_columns()), how);
                }
                let block = Block { packed: right, panels, columns, depth };
                pieces_by(how, y, at_once * stride, |i, y| {
                    let rows = y.len().div_ceil(stride);
                    // SAFETY: the caller's promise; from the second block of `k` on, the first one has written all of `y`.
                    unsafe { multiply_rows(&mut y[j..], stride, from(a, i * at_once, l), block, rows, alpha, start) };
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

/// Panels of W columns of `b`, (depth, columns), packed by all threads.
fn pack_together<const W: usize>(into: &mut [f32], b: View<f32>, (depth, columns): (usize, usize), how: Parallelism) {
    let panels = columns.div_ceil(W).div_ceil(2 * threads());
    pieces_by(how, into, panels * W * depth, |i, part| {
        let first = i * panels * W;
        let b = from(b, 0, first);
        pack::<W>(part, b.data, (b.column as usize, b.row as usize), ((columns - first).min(panels * W), depth));
    });
}

/// A packed block of `b`.
#[derive(Clone, Copy)]
struct Block<'a> {
    packed: &'a [f32],
    panels: Panels,
    columns: usize,
    depth: usize,
}

/// Some rows of `a` times a packed block of `b`.
///
/// # Safety
/// With [`Start::Own`], `y` must hold numbers.
unsafe fn multiply_rows(
    y: &mut [MaybeUninit<f32>],
    width: usize,
    a: View<f32>,
    block: Block,
    rows: usize,
    alpha: f32,
    start: Start<f32>,
) {
    let depth = block.depth;
    if a.column == 1 {
        // SAFETY: the caller's promise.
        return unsafe { multiply_lines(y, width, (a.data, a.row as usize), block, rows, alpha, start) };
    }
    with_buffer(&ROWS, rows * depth, |copy| {
        copy_rows(copy, a, (rows, depth));
        // SAFETY: the caller's promise.
        unsafe { multiply_lines(y, width, (copy, depth), block, rows, alpha, start) };
    });
}

/// [`multiply_rows`] of rows that are one piece of memory each, `stride` apart.
///
/// # Safety
/// With [`Start::Own`], `y` must hold numbers.
unsafe fn multiply_lines(
    y: &mut [MaybeUninit<f32>],
    width: usize,
    a: (&[f32], usize),
    block: Block,
    rows: usize,
    alpha: f32,
    start: Start<f32>,
) {
    let Block { packed, panels, columns, depth } = block;
    let (wide, narrow) = packed.split_at(panels.wide_columns() * depth);
    for (i, panel) in wide.chunks_exact(WIDE * depth).enumerate() {
        let (y, start) = (&mut y[i * WIDE..], from_column(start, i * WIDE));
        let place = Place { y, width, columns: WIDE, alpha, start };
        // SAFETY: the caller's promise.
        unsafe { place.all::<3, 3>(a, panel, (rows, depth)) };
    }
    for (i, panel) in narrow.chunks_exact(NARROW * depth).enumerate() {
        let first = panels.wide_columns() + i * NARROW;
        let (y, start) = (&mut y[first..], from_column(start, first));
        let place = Place { y, width, columns: (columns - first).min(NARROW), alpha, start };
        // SAFETY: the caller's promise.
        unsafe { place.all::<4, 2>(a, panel, (rows, depth)) };
    }
}

/// Where the results of a panel go.
struct Place<'a> {
    /// From the panel's first column on.
    y: &'a mut [MaybeUninit<f32>],
    width: usize,
    columns: usize,
    alpha: f32,
    start: Start<'a, f32>,
}

impl Place<'_> {
    /// All rows times a panel of N vectors, M rows at a time.
    ///
    /// # Safety
    /// With [`Start::Own`], `y` must hold numbers.
    #[inline(always)]
    unsafe fn all<const M: usize, const N: usize>(
        mut self,
        a: (&[f32], usize),
        panel: &[f32],
        (rows, depth): (usize, usize),
    ) {
        let whole = rows - rows % M;
        // SAFETY: the caller's promise.
        unsafe {
            for first in (0..whole).step_by(M) {
                self.some::<M, N>(a, panel, (first, depth));
            }
            match rows - whole {
                1 => self.some::<1, N>(a, panel, (whole, depth)),
                2 => self.some::<2, N>(a, panel, (whole, depth)),
                3 => self.some::<3, N>(a, panel, (whole, depth)),
                _ => {}
            }
        }
    }

    /// M rows, from `first` on, times a panel.
    ///
    /// # Safety
    /// With [`Start::Own`], `y` must hold numbers.
    #[inline(always)]
    unsafe fn some<const M: usize, const N: usize>(
        &mut self,
        (data, stride): (&[f32], usize),
        panel: &[f32],
        (first, depth): (usize, usize),
    ) {
        let rows = std::array::from_fn(|r| &data[(first + r) * stride..][..depth]);
        let sums = tile::<M, N>(rows, panel);
        let y = &mut self.y[first * self.width..];
        // SAFETY: the caller's promise.
        unsafe { write(y, self.width, sums, self.columns, self.alpha, self.start) };
    }
}
