//! The loops over blocks of both operands, packed as tiles read them.

use super::lanes::Lanes;
use super::pack;
use super::panel::Panel;
use crate::host::gemm::view::{apply_epilogue, Epilogue, Init, View};
use crate::host::scratch::{is_padded, Scratch};
use std::hint::black_box;

/// Blocks: rows of a tile with KC steps stay in the first cache, a block of `a`, MC x KC, in the second. MC is a multiple of the rows of all tiles. In
/// WebAssembly a panel of `b` stays in the first cache too.
const MC: usize = 96;
const KC: usize = if cfg!(target_family = "wasm") { 256 } else { 512 };
const NC: usize = 1024;

/// For so few rows, `b` is read where it lies: packing would not pay.
const IN_PLACE: usize = 24;
/// Nor does it for so many numbers, which the first cache holds.
const SMALL: usize = 8 * 1024;
/// Nor for so many, which the second one holds, where rows want different places of the first.
const MEDIUM: usize = 128 * 1024;

/// Between rows of a copy: with a power of two alone, they would all want the same places of a cache.
const APART: usize = 16;

/// A product: sizes (m, n, k), `a` (m, k), `b` (k, n), and `y` (m, n), whose rows begin `stride` numbers after each other.
#[derive(Clone, Copy)]
pub struct Product<'a> {
    pub y: *mut f32,
    pub stride: usize,
    pub size: (usize, usize, usize),
    pub a: View<'a, f32>,
    pub b: View<'a, f32>,
    pub alpha: f32,
    pub start: Init<'a, f32>,
    pub finish: Option<Epilogue<'a, f32>>,
}

/// A block of each operand.
#[derive(Default)]
pub struct Buffers {
    pub rows: Scratch<f32>,
    pub columns: Scratch<f32>,
}

/// Panels of a block of `b`: first the widest, then narrower ones, of which the last may have columns that are not there.
#[derive(Clone, Copy)]
struct Panels {
    wide: usize,
    narrow: usize,
    /// Vectors of a narrow one.
    vectors: usize,
}

impl Panels {
    #[inline(always)]
    fn of<L: Lanes>(rows: usize, columns: usize) -> Self {
        let all = columns.div_ceil(L::COUNT);
        if rows.min(columns) < L::NARROW_BELOW {
            return Self { wide: 0, narrow: all.div_ceil(2), vectors: 2 };
        }
        match (all / L::WIDEST, all % L::WIDEST) {
            (wide, 0) => Self { wide, narrow: 0, vectors: 0 },
            // two of two vectors keep more of the processor busy than three and one
            (wide, 1) if L::WIDEST == 3 && wide > 0 => Self { wide: wide - 1, narrow: 2, vectors: 2 },
            (wide, vectors) => Self { wide, narrow: 1, vectors },
        }
    }

    fn count(self) -> usize {
        self.wide + self.narrow
    }

    /// The vector that panel number `i` begins with, and how many it has.
    #[inline(always)]
    fn at<L: Lanes>(self, i: usize) -> (usize, usize) {
        match i.checked_sub(self.wide) {
            None => (i * L::WIDEST, L::WIDEST),
            Some(narrow) => (self.wide * L::WIDEST + narrow * self.vectors, self.vectors),
        }
    }
}

/// # Safety
/// As for [`product`].
#[inline(always)]
pub(super) unsafe fn run<L: Lanes>(lanes: L, of: Product, buffers: &mut Buffers) {
    let (m, n, k) = of.size;
    // blocks of one depth
    let most = k.div_ceil(k.div_ceil(KC).max(1)).next_multiple_of(L::BLOCK);
    for j in (0..n).step_by(NC) {
        let columns = (n - j).min(NC);
        let panels = Panels::of::<L>(m, columns);
        for l in (0..k).step_by(most) {
            // the compiler would find the smaller of the two anew in every step of a tile
            let depth = black_box((k - l).min(most));
            let start = match of.start {
                _ if l > 0 => Init::Output,
                Init::Bias(bias) => Init::Bias(&bias[j..]),
                start => start,
            };
            let right = Right {
                b: from(of.b, l, j),
                panels,
                columns,
                depth,
                in_place: of.b.column == 1 && (m <= IN_PLACE || stays(of.b.row as usize, depth)),
            };
            let packed = right.pack(lanes, &mut buffers.columns);
            for i in (0..m).step_by(MC) {
                let rows = (m - i).min(MC);
                let a = from(of.a, i, l);
                let (a, across) = lines(lanes, a, (rows, depth), &mut buffers.rows);
                // SAFETY: the first row and column of the block are inside.
                let y = unsafe { of.y.add(i * of.stride + j) };
                let left = Panel {
                    a,
                    across,
                    rows,
                    b: packed,
                    step: 0,
                    depth,
                    y,
                    stride: of.stride,
                    columns,
                    alpha: of.alpha,
                    start,
                };
                // SAFETY: the caller's promise; from the second block of `k` on, the first one has written `y`.
                unsafe { right.multiply(lanes, packed, left) };
                if let Some(finish) = of.finish.filter(|_| l + depth == k) {
                    // SAFETY: the block is complete.
                    unsafe { apply_epilogue(finish, of.y, of.stride, (i, j), (rows, columns)) };
                }
            }
        }
    }
}

/// Whether rows of `b` stay in a cache without being copied.
fn stays(row: usize, depth: usize) -> bool {
    row * depth <= SMALL || (is_padded(row) && row * depth <= MEDIUM)
}

/// The elements of a matrix from (row, column) on.
#[inline(always)]
fn from<T>(view: View<T>, row: usize, column: usize) -> View<T> {
    View { data: &view.data[row * view.row as usize + column * view.column as usize..], ..view }
}

/// Rows as one piece of memory each: where they begin, and how far they are apart.
#[inline(always)]
fn lines<L: Lanes>(
    lanes: L,
    a: View<f32>,
    (rows, depth): (usize, usize),
    buffer: &mut Scratch<f32>,
) -> (*const f32, usize) {
    if a.column == 1 || depth == 1 {
        return (a.data.as_ptr(), a.row as usize);
    }
    let across = depth + APART;
    let copy = buffer.of(rows * across);
    pack::rows(lanes, copy, across, a, (rows, depth));
    (copy.as_ptr(), across)
}

/// A block of `b`.
#[derive(Clone, Copy)]
struct Right<'a> {
    b: View<'a, f32>,
    panels: Panels,
    columns: usize,
    depth: usize,
    /// Whether panels of which all columns are there are read where they lie.
    in_place: bool,
}

/// Where a panel stands.
struct PanelOf {
    /// Its first column.
    first: usize,
    /// Columns that are there.
    columns: usize,
    vectors: usize,
    /// Its place among the packed ones.
    at: usize,
    /// Whether it is read where it lies in `b`.
    in_place: bool,
}

impl Right<'_> {
    #[inline(always)]
    fn panel<L: Lanes>(&self, i: usize) -> PanelOf {
        let (first, vectors) = self.panels.at::<L>(i);
        let (first, width) = (first * L::COUNT, vectors * L::COUNT);
        let columns = width.min(self.columns.saturating_sub(first));
        PanelOf {
            first,
            columns,
            vectors,
            at: first * self.depth + i * APART,
            in_place: self.in_place && columns == width,
        }
    }

    /// Packs the panels that are not read where they lie.
    #[inline(always)]
    fn pack<L: Lanes>(&self, lanes: L, buffer: &mut Scratch<f32>) -> *const f32 {
        let panels = (0..self.panels.count()).map(|i| self.panel::<L>(i)).filter(|panel| !panel.in_place);
        let last = self.panel::<L>(self.panels.count() - 1);
        let packed = buffer.of(last.at + last.vectors * L::COUNT * self.depth);
        if self.b.column == 1 {
            // a few rows at a time, as all of a row is one piece of memory
            pack::clear(&mut packed[last.at..], (last.columns, last.vectors * L::COUNT));
            const TOGETHER: usize = 4;
            for first in (0..self.depth).step_by(TOGETHER) {
                for panel in panels.clone() {
                    let width = panel.vectors * L::COUNT;
                    for k in first..self.depth.min(first + TOGETHER) {
                        let row = &self.b.data[k * self.b.row as usize + panel.first..][..panel.columns];
                        pack::copy(lanes, row, &mut packed[panel.at + k * width..][..panel.columns]);
                    }
                }
            }
        } else {
            for panel in panels {
                let (into, width) = (&mut packed[panel.at..], panel.vectors * L::COUNT);
                pack::panel(lanes, into, from(self.b, 0, panel.first), (self.depth, panel.columns, width));
            }
        }
        packed.as_ptr()
    }

    /// A block of rows times all panels. `left` has their place, and what the panels have in common.
    ///
    /// # Safety
    /// As for [`Panel::all`]; `packed` is what [`Right::pack`] gave.
    #[inline(always)]
    unsafe fn multiply<L: Lanes>(&self, lanes: L, packed: *const f32, left: Panel) {
        for i in 0..self.panels.count() {
            let PanelOf { first, columns, vectors, at, in_place } = self.panel::<L>(i);
            let (b, step) = match in_place {
                true => (self.b.data[first..].as_ptr(), self.b.row as usize),
                // SAFETY: the panel's place.
                false => (unsafe { packed.add(at) }, vectors * L::COUNT),
            };
            let start = match left.start {
                Init::Bias(bias) => Init::Bias(&bias[first..]),
                start => start,
            };
            // SAFETY: the caller's promise.
            unsafe { lanes.multiply(Panel { b, step, y: left.y.add(first), columns, start, ..left }, vectors) };
        }
    }
}
