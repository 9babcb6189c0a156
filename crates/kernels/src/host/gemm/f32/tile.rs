//! Tiles: the product of a few rows and the vectors of a panel, accumulated in registers.

use super::lanes::{Lanes, MAX_COUNT};
use super::panel::Panel;
use crate::host::gemm::view::Init;

impl Panel<'_> {
    /// Multiplies all rows with the N vectors of the panel, M rows at a time.
    ///
    /// # Safety
    /// `a` must have `rows` rows of `depth` elements, and each step of `b` N whole vectors. All
    /// rows and columns of the output must be in bounds, and nobody else may access them during the
    /// call. With [`Init::Output`], they must be initialised.
    #[inline(always)]
    pub unsafe fn multiply_rows<L: Lanes, const M: usize, const N: usize>(&self, lanes: L) {
        let whole = self.rows - self.rows % M;
        let mut first = 0;
        // SAFETY: the caller guarantees the conditions for all rows, and no tile extends beyond
        // them.
        unsafe {
            while first < whole {
                self.multiply_tile::<L, M, N>(lanes, first);
                first += M;
            }
            // the remaining rows, at most seven
            if M > 4 && self.rows - first >= 4 {
                self.multiply_tile::<L, 4, N>(lanes, first);
                first += 4;
            }
            if M > 2 && self.rows - first >= 2 {
                self.multiply_tile::<L, 2, N>(lanes, first);
                first += 2;
            }
            if first < self.rows {
                self.multiply_tile::<L, 1, N>(lanes, first);
            }
        }
    }

    /// Computes the tile of M rows from `first` on.
    ///
    /// # Safety
    /// As for [`Panel::multiply_rows`].
    #[inline(always)]
    unsafe fn multiply_tile<L: Lanes, const M: usize, const N: usize>(
        &self,
        lanes: L,
        first: usize,
    ) {
        // SAFETY: the caller guarantees that the rows, the steps of `b` and the output are in
        // bounds.
        unsafe {
            let rows: [*const f32; M] =
                std::array::from_fn(|r| self.a.add((first + r) * self.a_stride));
            let mut sums = [[lanes.splat(0.0); N]; M];
            let (mut b, b_stride, depth) = (self.b, self.b_stride, self.depth);
            let y = self.y.add(first * self.y_stride);
            (0..M).for_each(|r| lanes.prefetch(y.wrapping_add(r * self.y_stride)));
            for k in 0..depth {
                let mut columns = [lanes.splat(0.0); N];
                for (c, column) in columns.iter_mut().enumerate() {
                    *column = lanes.load(b.add(c * L::COUNT));
                }
                b = b.wrapping_add(b_stride);
                for (sums, row) in sums.iter_mut().zip(rows) {
                    let x = lanes.splat(*row.add(k));
                    for (sum, column) in sums.iter_mut().zip(columns) {
                        *sum = lanes.mul_add(x, column, *sum);
                    }
                }
            }
            let alpha = lanes.splat(self.alpha);
            if self.columns == N * L::COUNT {
                self.write(lanes, y, sums, alpha);
            } else {
                self.write_partial(lanes, y, sums, alpha);
            }
        }
    }

    /// Writes a tile whose columns are all inside the output.
    ///
    /// # Safety
    /// As for [`Panel::multiply_rows`].
    #[inline(always)]
    unsafe fn write<L: Lanes, const M: usize, const N: usize>(
        &self,
        lanes: L,
        y: *mut f32,
        sums: [[L::V; N]; M],
        alpha: L::V,
    ) {
        for (r, sums) in sums.into_iter().enumerate() {
            for (c, sum) in sums.into_iter().enumerate() {
                // SAFETY: the caller guarantees that the tile is in bounds; a bias has an element
                // for each column.
                unsafe {
                    let y = y.add(r * self.y_stride + c * L::COUNT);
                    let before = match self.init {
                        Init::Zero => lanes.splat(0.0),
                        Init::Bias(bias) => lanes.load(bias.as_ptr().add(c * L::COUNT)),
                        Init::Output => lanes.load(y),
                    };
                    lanes.store(lanes.mul_add(sum, alpha, before), y);
                }
            }
        }
    }

    /// Writes those columns of a tile that are inside the output.
    ///
    /// # Safety
    /// As for [`Panel::multiply_rows`].
    #[inline(always)]
    unsafe fn write_partial<L: Lanes, const M: usize, const N: usize>(
        &self,
        lanes: L,
        y: *mut f32,
        sums: [[L::V; N]; M],
        alpha: L::V,
    ) {
        for (r, sums) in sums.into_iter().enumerate() {
            for (c, sum) in sums.into_iter().enumerate() {
                let first = c * L::COUNT;
                let count = self.columns.saturating_sub(first).min(L::COUNT);
                let (mut before, mut after) = ([0.0; MAX_COUNT], [0.0; MAX_COUNT]);
                // SAFETY: the caller guarantees that all columns before `columns` are in bounds;
                // vectors have at most MOST elements.
                unsafe {
                    let y = y.add(r * self.y_stride + first.min(self.columns));
                    match self.init {
                        Init::Zero => {}
                        Init::Bias(bias) => before[..count]
                            .copy_from_slice(&bias[first.min(self.columns)..][..count]),
                        Init::Output => y.copy_to_nonoverlapping(before.as_mut_ptr(), count),
                    }
                    // the same instruction as in `write`, so that a result does not depend on where
                    // its tile ends
                    lanes.store(
                        lanes.mul_add(sum, alpha, lanes.load(before.as_ptr())),
                        after.as_mut_ptr(),
                    );
                    y.copy_from_nonoverlapping(after.as_ptr(), count);
                }
            }
        }
    }
}
