//! Packing: copies of blocks in the order in which tiles read them.

use super::lanes::Lanes;
use crate::host::gemm::view::View;

/// Fills a panel with 0 if it has fewer columns than its width, so that missing columns are 0.
#[inline(always)]
pub fn clear(panel: &mut [f32], (columns, width): (usize, usize)) {
    if columns < width {
        panel.fill(0.0);
    }
}

/// Packs `b`, (depth, columns), as a panel: `width` elements for each of `depth` steps.
#[inline(always)]
pub fn panel<L: Lanes>(
    lanes: L,
    into: &mut [f32],
    b: View<f32>,
    (depth, columns, width): (usize, usize, usize),
) {
    let into = &mut into[..depth * width];
    clear(into, (columns, width));
    match (b.row as usize, b.column as usize) {
        (1, column) => transposed(lanes, into, width, b.data, column, (columns, depth)),
        (row, column) => {
            for (k, place) in into.chunks_exact_mut(width).enumerate() {
                place[..columns]
                    .iter_mut()
                    .enumerate()
                    .for_each(|(c, place)| *place = b.data[k * row + c * column]);
            }
        }
    }
}

/// Copies with vector instructions, without a function call for each short row.
#[inline(always)]
pub fn copy<L: Lanes>(lanes: L, from: &[f32], to: &mut [f32]) {
    let to = &mut to[..from.len()];
    if from.len() == L::WIDEST * L::COUNT {
        for c in 0..L::WIDEST {
            // SAFETY: both slices have WIDEST vectors.
            unsafe {
                lanes.store(
                    lanes.load(from.as_ptr().add(c * L::COUNT)),
                    to.as_mut_ptr().add(c * L::COUNT),
                )
            };
        }
        return;
    }
    let whole = from.len() - from.len() % L::COUNT;
    for at in (0..whole).step_by(L::COUNT) {
        // SAFETY: both slices have a whole vector from `at` on.
        unsafe { lanes.store(lanes.load(from.as_ptr().add(at)), to.as_mut_ptr().add(at)) };
    }
    to[whole..].copy_from_slice(&from[whole..]);
}

/// Copies `a`, (rows, depth), whose rows are not contiguous, to contiguous rows with row stride
/// `into_stride`.
#[inline(always)]
pub fn rows<L: Lanes>(
    lanes: L,
    into: &mut [f32],
    into_stride: usize,
    a: View<f32>,
    (rows, depth): (usize, usize),
) {
    match (a.row as usize, a.column as usize) {
        (1, column) => transposed(lanes, into, into_stride, a.data, column, (depth, rows)),
        (row, column) => {
            for (r, into) in into.chunks_mut(into_stride).enumerate().take(rows) {
                into[..depth]
                    .iter_mut()
                    .enumerate()
                    .for_each(|(k, place)| *place = a.data[r * row + k * column]);
            }
        }
    }
}

/// Writes the transpose of `rows` rows of `length` elements: element `k` of row `i` goes to
/// `into[k · into_stride + i]`. `from_stride` is the row stride of `from`.
///
/// # Panics
/// If the rows do not fit in `from` or `into`.
#[inline(always)]
pub fn transposed<L: Lanes>(
    lanes: L,
    into: &mut [f32],
    into_stride: usize,
    from: &[f32],
    from_stride: usize,
    (rows, length): (usize, usize),
) {
    if rows == 0 || length == 0 {
        return;
    }
    assert!(
        (rows - 1) * from_stride + length <= from.len()
            && (length - 1) * into_stride + rows <= into.len(),
        "block too large"
    );
    let (whole_rows, whole) = (rows - rows % L::BLOCK, length - length % L::BLOCK);
    for i in (0..whole_rows).step_by(L::BLOCK) {
        for k in (0..whole).step_by(L::BLOCK) {
            // SAFETY: the block is in bounds on both sides, by the assertion above.
            unsafe {
                let to = into.as_mut_ptr().add(k * into_stride + i);
                lanes.transpose(
                    from.as_ptr().add(i * from_stride + k),
                    from_stride,
                    to,
                    into_stride,
                );
            }
        }
        for k in whole..length {
            (i..i + L::BLOCK).for_each(|i| into[k * into_stride + i] = from[i * from_stride + k]);
        }
    }
    for i in whole_rows..rows {
        let row = &from[i * from_stride..][..length];
        row.iter().enumerate().for_each(|(k, x)| into[k * into_stride + i] = *x);
    }
}
