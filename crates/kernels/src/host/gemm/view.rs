//! Operands, initial values and epilogues of matrix products.

/// A strided matrix that starts at the first element of `data`.
#[derive(Clone, Copy)]
pub(crate) struct View<'a, T> {
    /// The elements, from (0, 0) on.
    pub data: &'a [T],
    /// Stride from row to row, in elements.
    pub row: isize,
    /// Stride from column to column, in elements.
    pub column: isize,
}

impl<'a, T> View<'a, T> {
    /// A contiguous row-major matrix with `width` columns.
    pub fn row_major(data: &'a [T], width: usize) -> Self {
        Self { data, row: width as isize, column: 1 }
    }

    /// The transpose of [`View::row_major`].
    pub fn transposed(data: &'a [T], width: usize) -> Self {
        Self::row_major(data, width).t()
    }

    /// The transpose.
    pub fn t(self) -> Self {
        Self { row: self.column, column: self.row, ..self }
    }
}

/// The initial value of the accumulators, to which the product is added.
#[derive(Clone, Copy)]
pub(crate) enum Init<'a, T> {
    /// Zero; the old contents of `y` are not read.
    Zero,
    /// A bias (n), one element for each column.
    Bias(&'a [T]),
    /// The old contents of `y`.
    Output,
}

/// A product of two matrices, (m, k) and (k, n).
#[derive(Clone, Copy)]
pub(crate) struct Term<'a, T> {
    /// The inner dimension.
    pub k: usize,
    /// The left operand, (m, k).
    pub a: View<'a, T>,
    /// The right operand, (k, n).
    pub b: View<'a, T>,
}

impl<T> Term<'_, T> {
    /// Checks that all elements of both operands are inside their slices.
    ///
    /// # Panics
    /// If they are not, or a stride is negative.
    pub fn check(&self, (m, n): (usize, usize)) {
        let Self { k, a, b } = self;
        let last = |v: &View<T>, rows: usize, columns: usize| {
            (rows as isize - 1) * v.row + (columns as isize - 1) * v.column
        };
        assert!(a.row >= 0 && a.column >= 0 && b.row >= 0 && b.column >= 0, "negative strides");
        assert!(
            (last(a, m, *k) as usize) < a.data.len() && (last(b, *k, n) as usize) < b.data.len(),
            "operand too short"
        );
    }
}

/// An epilogue: a function that modifies finished elements of the result while they are in the
/// cache. Its arguments are the row, the first column, and the elements from there on. It receives
/// each element once.
pub(crate) type Epilogue<'a, T> = &'a (dyn Fn(usize, usize, &mut [T]) + Sync);

/// Calls `epilogue` with each row of a block of `y`, which starts at (`row`, `column`) and has
/// `rows` rows and `columns` columns.
///
/// # Safety
/// The elements of the block must be inside `y` and initialised, and nobody else may access them
/// during the call.
#[inline]
pub(crate) unsafe fn apply_epilogue<T>(
    epilogue: Epilogue<T>,
    y: *mut T,
    stride: usize,
    (row, column): (usize, usize),
    (rows, columns): (usize, usize),
) {
    for r in row..row + rows {
        // SAFETY: the caller guarantees that the row is valid, initialised and not accessed
        // elsewhere.
        epilogue(r, column, unsafe {
            std::slice::from_raw_parts_mut(y.add(r * stride + column), columns)
        });
    }
}
