//! Operands of products, and what becomes of the results.

/// A strided matrix that starts at the first element of `data`.
#[derive(Clone, Copy)]
pub(crate) struct View<'a, T> {
    pub data: &'a [T],
    pub row: isize,
    pub column: isize,
}

impl<'a, T> View<'a, T> {
    /// Rows of `width` numbers, one after the other.
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

/// The initial value of the sums that a product is: what it is added to.
#[derive(Clone, Copy)]
pub(crate) enum Init<'a, T> {
    /// Zero: what `y` held before is not read.
    Zero,
    /// A number for each column.
    Bias(&'a [T]),
    /// What `y` holds.
    Output,
}

/// A product of (m, k) and (k, n).
#[derive(Clone, Copy)]
pub(crate) struct Term<'a, T> {
    pub k: usize,
    pub a: View<'a, T>,
    pub b: View<'a, T>,
}

impl<T> Term<'_, T> {
    /// Panics where an element would be outside of its slice.
    pub fn check(&self, (m, n): (usize, usize)) {
        let Self { k, a, b } = self;
        let last =
            |v: &View<T>, rows: usize, columns: usize| (rows as isize - 1) * v.row + (columns as isize - 1) * v.column;
        assert!(a.row >= 0 && a.column >= 0 && b.row >= 0 && b.column >= 0, "negative strides");
        assert!(
            (last(a, m, *k) as usize) < a.data.len() && (last(b, *k, n) as usize) < b.data.len(),
            "operand too short"
        );
    }
}

/// What is done with numbers of a row that are complete, while they are in a cache: the row, the first of their columns, and the numbers. It gets each
/// number once.
pub(crate) type Epilogue<'a, T> = &'a (dyn Fn(usize, usize, &mut [T]) + Sync);

/// Hands the rows of a block to `finish`.
///
/// # Safety
/// They hold numbers, which nobody else uses meanwhile.
#[inline]
pub(crate) unsafe fn apply_epilogue<T>(
    finish: Epilogue<T>,
    y: *mut T,
    stride: usize,
    (row, column): (usize, usize),
    (rows, columns): (usize, usize),
) {
    for r in row..row + rows {
        // SAFETY: the caller's promise.
        finish(r, column, unsafe { std::slice::from_raw_parts_mut(y.add(r * stride + column), columns) });
    }
}
