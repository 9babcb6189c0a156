//! What a tile is computed of.

use crate::host::gemm::view::Init;

/// Rows of `a` times a panel of `b`.
#[derive(Clone, Copy)]
pub struct Panel<'a> {
    /// The first number of the first row; rows are one piece of memory each.
    pub a: *const f32,
    /// From row to row.
    pub across: usize,
    pub rows: usize,
    /// The numbers of `b` that the first step needs; those of the next one stand `step` after them.
    pub b: *const f32,
    pub step: usize,
    pub depth: usize,
    /// Where the result of the first row and column goes.
    pub y: *mut f32,
    /// From row to row of the result.
    pub stride: usize,
    /// Columns of the result: at most those of the vectors.
    pub columns: usize,
    pub alpha: f32,
    /// Begins at the first column.
    pub start: Init<'a, f32>,
}
