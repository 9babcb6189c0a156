//! The operands of a panel product.

use crate::host::gemm::view::Init;

/// A product of rows of `a`, (rows, depth), and a panel of `b`, (depth, columns).
#[derive(Clone, Copy)]
pub struct Panel<'a> {
    /// The first element of `a`; its rows are contiguous.
    pub a: *const f32,
    /// Row stride of `a`, in elements.
    pub a_stride: usize,
    /// Number of rows of `a`.
    pub rows: usize,
    /// The elements of `b` for the first step of k; those of each next step are `b_stride` elements
    /// further.
    pub b: *const f32,
    /// Distance between the steps of `b`, in elements.
    pub b_stride: usize,
    /// Number of steps of k.
    pub depth: usize,
    /// The first element of the output.
    pub y: *mut f32,
    /// Row stride of the output, in elements.
    pub y_stride: usize,
    /// Columns of the output: at most those of the panel's vectors.
    pub columns: usize,
    /// The factor of the product.
    pub alpha: f32,
    /// The initial value; a bias starts at the first column of the panel.
    pub init: Init<'a, f32>,
}
