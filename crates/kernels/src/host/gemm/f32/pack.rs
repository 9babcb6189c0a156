//! Copies of blocks, in the order in which tiles read them.

use super::lanes::Lanes;
use crate::host::gemm::view::View;

/// Makes columns that are not there 0.
#[inline(always)]
pub fn clear(panel: &mut [f32], (columns, width): (usize, usize)) {
    if columns < width {
        panel.fill(0.0);
    }
}

/// Columns of `b`, (depth, columns), as a panel: `width` numbers for each step.
#[inline(always)]
pub fn panel<L: Lanes>(lanes: L, into: &mut [f32], b: View<f32>, (depth, columns, width): (usize, usize, usize)) {
    let into = &mut into[..depth * width];
    clear(into, (columns, width));
    match (b.row as usize, b.column as usize) {
        (1, column) => transposed(lanes, into, width, b.data, column, (columns, depth)),
        (row, column) => {
            for (k, place) in into.chunks_exact_mut(width).enumerate() {
                place[..columns].iter_mut().enumerate().for_each(|(c, place)| *place = b.data[k * row + c * column]);
            }
        }
    }
}

/// Copies by vectors, without a call for each few numbers.
#[inline(always)]
pub fn copy<L: Lanes>(lanes: L, from: &[f32], to: &mut [f32]) {
    let to = &mut to[..from.len()];
    if from.len() == L::WIDEST * L::COUNT {
        for c in 0..L::WIDEST {
            // SAFETY: as below.
            unsafe { lanes.store(lanes.load(from.as_ptr().add(c * L::COUNT)), to.as_mut_ptr().add(c * L::COUNT)) };
        }
        return;
    }
    let whole = from.len() - from.len() % L::COUNT;
    for at in (0..whole).step_by(L::COUNT) {
        // SAFETY: a vector stands there, on both sides.
        unsafe { lanes.store(lanes.load(from.as_ptr().add(at)), to.as_mut_ptr().add(at)) };
    }
    to[whole..].copy_from_slice(&from[whole..]);
}

/// Rows of `a`, (rows, depth), whose columns or single numbers lie apart, as one piece of memory each, `across` apart.
#[inline(always)]
pub fn rows<L: Lanes>(lanes: L, into: &mut [f32], across: usize, a: View<f32>, (rows, depth): (usize, usize)) {
    match (a.row as usize, a.column as usize) {
        (1, column) => transposed(lanes, into, across, a.data, column, (depth, rows)),
        (row, column) => {
            for (r, into) in into.chunks_mut(across).enumerate().take(rows) {
                into[..depth].iter_mut().enumerate().for_each(|(k, place)| *place = a.data[r * row + k * column]);
            }
        }
    }
}

/// Writes lines as columns: number k of line i goes to `into[k · step + i]`. Lines begin `across` numbers after each other.
#[inline(always)]
pub fn transposed<L: Lanes>(
    lanes: L,
    into: &mut [f32],
    step: usize,
    from: &[f32],
    across: usize,
    (lines, length): (usize, usize),
) {
    if lines == 0 || length == 0 {
        return;
    }
    assert!(
        (lines - 1) * across + length <= from.len() && (length - 1) * step + lines <= into.len(),
        "block too large"
    );
    let (whole_lines, whole) = (lines - lines % L::BLOCK, length - length % L::BLOCK);
    for i in (0..whole_lines).step_by(L::BLOCK) {
        for k in (0..whole).step_by(L::BLOCK) {
            // SAFETY: the block is inside, as the assertion shows.
            unsafe {
                let to = into.as_mut_ptr().add(k * step + i);
                lanes.transpose(from.as_ptr().add(i * across + k), across, to, step);
            }
        }
        for k in whole..length {
            (i..i + L::BLOCK).for_each(|i| into[k * step + i] = from[i * across + k]);
        }
    }
    for i in whole_lines..lines {
        let line = &from[i * across..][..length];
        line.iter().enumerate().for_each(|(k, x)| into[k * step + i] = *x);
    }
}
