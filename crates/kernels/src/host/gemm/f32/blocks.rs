//! The loops over cache blocks of both operands, which are packed in the order in which tiles read
//! them.

use super::lanes::Lanes;
use super::pack;
use super::panel::Panel;
use crate::host::gemm::view::{apply_epilogue, Epilogue, Init, View};
use crate::host::scratch::{is_padded, Scratch};
use std::hint::black_box;

/// Cache block size along m. A block of `a`, MC x KC, fits in the L2 cache. MC is a multiple of the
/// number of rows of all tiles.
const MC: usize = 96;
/// Cache block size along k. The rows of a tile with KC steps fit in the L1 cache; in WebAssembly,
/// a panel of `b` fits there too.
const KC: usize = if cfg!(target_family = "wasm") { 256 } else { 512 };
/// Cache block size along n.
const NC: usize = 1024;

/// Up to this number of rows, `b` is read in place: packing would not pay.
const IN_PLACE: usize = 24;
/// A block of `b` with up to this number of elements is read in place too: it fits in the L1 cache.
const SMALL: usize = 8 * 1024;
/// The same for the L2 cache, if the row stride of `b` maps rows to different sets of the L1 cache.
const MEDIUM: usize = 128 * 1024;

/// Padding between rows of a copy and between packed panels, in elements. With a stride of a power
/// of two, all would map to the same cache set.
const PADDING: usize = 16;

/// The product `y = init + alpha · a b` of f32 matrices.
#[derive(Clone, Copy)]
pub struct Product<'a> {
    /// The output, (m, n) with row stride `stride`.
    pub y: *mut f32,
    /// Row stride of `y`, in elements.
    pub stride: usize,
    /// The sizes (m, n, k).
    pub size: (usize, usize, usize),
    /// The left operand, (m, k).
    pub a: View<'a, f32>,
    /// The right operand, (k, n).
    pub b: View<'a, f32>,
    /// The factor of the product.
    pub alpha: f32,
    /// The initial value, to which the product is added.
    pub init: Init<'a, f32>,
    /// The epilogue for finished elements.
    pub epilogue: Option<Epilogue<'a, f32>>,
}

/// Buffers for a packed block of each operand.
#[derive(Default)]
pub struct Buffers {
    /// A copy of a block of `a`.
    pub rows: Scratch<f32>,
    /// A packed block of `b`.
    pub columns: Scratch<f32>,
}

/// The division of a block of `b` into panels: first those of the greatest width, then narrower
/// ones. The last panel may extend beyond the columns of `b`.
#[derive(Clone, Copy)]
struct Panels {
    /// Number of panels of the greatest width.
    wide: usize,
    /// Number of narrower panels.
    narrow: usize,
    /// Width of a narrower panel, in vectors.
    vectors: usize,
}

impl Panels {
    /// Divides a block of `b` with `columns` columns, for a product with `rows` rows.
    #[inline(always)]
    fn new<L: Lanes>(rows: usize, columns: usize) -> Self {
        let all = columns.div_ceil(L::COUNT);
        if rows.min(columns) < L::NARROW_BELOW {
            return Self { wide: 0, narrow: all.div_ceil(2), vectors: 2 };
        }
        match (all / L::WIDEST, all % L::WIDEST) {
            (wide, 0) => Self { wide, narrow: 0, vectors: 0 },
            // two panels of two vectors use the processor better than one of three and one of one
            (wide, 1) if L::WIDEST == 3 && wide > 0 => {
                Self { wide: wide - 1, narrow: 2, vectors: 2 }
            }
            (wide, vectors) => Self { wide, narrow: 1, vectors },
        }
    }

    /// Number of panels.
    fn count(self) -> usize {
        self.wide + self.narrow
    }

    /// The first vector of panel `i`, and its width in vectors.
    #[inline(always)]
    fn at<L: Lanes>(self, i: usize) -> (usize, usize) {
        match i.checked_sub(self.wide) {
            None => (i * L::WIDEST, L::WIDEST),
            Some(narrow) => (self.wide * L::WIDEST + narrow * self.vectors, self.vectors),
        }
    }
}

/// Computes a product with the vector instructions of `L`.
///
/// # Safety
/// As for [`product`](super::product).
#[inline(always)]
pub(super) unsafe fn run<L: Lanes>(lanes: L, of: Product, buffers: &mut Buffers) {
    let (m, n, k) = of.size;
    // divides k into blocks of equal depth
    let block_depth = k.div_ceil(k.div_ceil(KC).max(1)).next_multiple_of(L::BLOCK);
    for j in (0..n).step_by(NC) {
        let columns = (n - j).min(NC);
        let panels = Panels::new::<L>(m, columns);
        for l in (0..k).step_by(block_depth) {
            // black_box: otherwise the compiler recomputes the minimum in every step of a tile
            let depth = black_box((k - l).min(block_depth));
            let init = match of.init {
                _ if l > 0 => Init::Output,
                Init::Bias(bias) => Init::Bias(&bias[j..]),
                init => init,
            };
            let right = RightBlock {
                b: submatrix(of.b, l, j),
                panels,
                columns,
                depth,
                in_place: of.b.column == 1
                    && (m <= IN_PLACE || fits_cache(of.b.row as usize, depth)),
            };
            let packed = right.pack(lanes, &mut buffers.columns);
            for i in (0..m).step_by(MC) {
                let rows = (m - i).min(MC);
                let a = submatrix(of.a, i, l);
                let (a, a_stride) = contiguous_rows(lanes, a, (rows, depth), &mut buffers.rows);
                // SAFETY: the first row and column of the block are inside `y`.
                let y = unsafe { of.y.add(i * of.stride + j) };
                let left = Panel {
                    a,
                    a_stride,
                    rows,
                    b: packed,
                    b_stride: 0,
                    depth,
                    y,
                    y_stride: of.stride,
                    columns,
                    alpha: of.alpha,
                    init,
                };
                // SAFETY: the caller guarantees that all operands are in bounds, and that `y` is
                // initialised with `Init::Output`. From the second block of `k` on, the first block
                // has written `y`.
                unsafe { right.multiply(lanes, packed, left) };
                if let Some(epilogue) = of.epilogue.filter(|_| l + depth == k) {
                    // SAFETY: the last block of `k` is done, so all elements of the block are
                    // written.
                    unsafe { apply_epilogue(epilogue, of.y, of.stride, (i, j), (rows, columns)) };
                }
            }
        }
    }
}

/// Whether a block of `b` stays in a cache without packing, by its row stride and depth.
fn fits_cache(row: usize, depth: usize) -> bool {
    row * depth <= SMALL || (is_padded(row) && row * depth <= MEDIUM)
}

/// The submatrix from (row, column) on.
#[inline(always)]
fn submatrix<T>(view: View<T>, row: usize, column: usize) -> View<T> {
    View { data: &view.data[row * view.row as usize + column * view.column as usize..], ..view }
}

/// Returns the first element and the row stride of a block of `a` whose rows are contiguous: in
/// place, or copied to `buffer`.
#[inline(always)]
fn contiguous_rows<L: Lanes>(
    lanes: L,
    a: View<f32>,
    (rows, depth): (usize, usize),
    buffer: &mut Scratch<f32>,
) -> (*const f32, usize) {
    if a.column == 1 || depth == 1 {
        return (a.data.as_ptr(), a.row as usize);
    }
    let stride = depth + PADDING;
    let copy = buffer.get(rows * stride);
    pack::rows(lanes, copy, stride, a, (rows, depth));
    (copy.as_ptr(), stride)
}

/// A block of `b`, (depth, columns), and its division into panels.
#[derive(Clone, Copy)]
struct RightBlock<'a> {
    b: View<'a, f32>,
    panels: Panels,
    columns: usize,
    depth: usize,
    /// Whether panels whose columns are all inside `b` are read in place.
    in_place: bool,
}

/// The position of a panel.
struct PanelPosition {
    /// Its first column.
    first: usize,
    /// Number of columns that are inside `b`.
    columns: usize,
    /// Width in vectors.
    vectors: usize,
    /// Offset in the buffer of packed panels.
    at: usize,
    /// Whether it is read in place from `b`.
    in_place: bool,
}

impl RightBlock<'_> {
    /// The position of panel `i`.
    #[inline(always)]
    fn panel<L: Lanes>(&self, i: usize) -> PanelPosition {
        let (first, vectors) = self.panels.at::<L>(i);
        let (first, width) = (first * L::COUNT, vectors * L::COUNT);
        let columns = width.min(self.columns.saturating_sub(first));
        PanelPosition {
            first,
            columns,
            vectors,
            at: first * self.depth + i * PADDING,
            in_place: self.in_place && columns == width,
        }
    }

    /// Packs the panels that are not read in place. Returns the start of the packed panels.
    #[inline(always)]
    fn pack<L: Lanes>(&self, lanes: L, buffer: &mut Scratch<f32>) -> *const f32 {
        let panels =
            (0..self.panels.count()).map(|i| self.panel::<L>(i)).filter(|panel| !panel.in_place);
        let last = self.panel::<L>(self.panels.count() - 1);
        let packed = buffer.get(last.at + last.vectors * L::COUNT * self.depth);
        if self.b.column == 1 {
            // rows of `b` are contiguous: copy a few at a time to all panels
            pack::clear(&mut packed[last.at..], (last.columns, last.vectors * L::COUNT));
            const ROWS: usize = 4;
            for first in (0..self.depth).step_by(ROWS) {
                for panel in panels.clone() {
                    let width = panel.vectors * L::COUNT;
                    for k in first..self.depth.min(first + ROWS) {
                        let row =
                            &self.b.data[k * self.b.row as usize + panel.first..][..panel.columns];
                        pack::copy(
                            lanes,
                            row,
                            &mut packed[panel.at + k * width..][..panel.columns],
                        );
                    }
                }
            }
        } else {
            for panel in panels {
                let (into, width) = (&mut packed[panel.at..], panel.vectors * L::COUNT);
                pack::panel(
                    lanes,
                    into,
                    submatrix(self.b, 0, panel.first),
                    (self.depth, panel.columns, width),
                );
            }
        }
        packed.as_ptr()
    }

    /// Multiplies a block of rows with all panels. `left` has the operands and output of the first
    /// panel.
    ///
    /// # Safety
    /// As for [`Panel::multiply_rows`]; `packed` must be the result of [`RightBlock::pack`].
    #[inline(always)]
    unsafe fn multiply<L: Lanes>(&self, lanes: L, packed: *const f32, left: Panel) {
        for i in 0..self.panels.count() {
            let PanelPosition { first, columns, vectors, at, in_place } = self.panel::<L>(i);
            let (b, b_stride) = match in_place {
                true => (self.b.data[first..].as_ptr(), self.b.row as usize),
                // SAFETY: `at` is the offset of the panel inside the packed buffer.
                false => (unsafe { packed.add(at) }, vectors * L::COUNT),
            };
            let init = match left.init {
                Init::Bias(bias) => Init::Bias(&bias[first..]),
                init => init,
            };
            // SAFETY: the caller guarantees the conditions for all columns, of which the panel is a
            // part.
            unsafe {
                lanes.multiply(
                    Panel { b, b_stride, y: left.y.add(first), columns, init, ..left },
                    vectors,
                )
            };
        }
    }
}
