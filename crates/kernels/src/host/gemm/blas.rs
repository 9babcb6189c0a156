//! Matrix operations by element type: f32 has its own kernels, f64 uses general implementations.

use crate::host::gemm::f32::{self, Product};
use crate::host::gemm::view::{Epilogue, Init, View};
use crate::host::gemv::kernel::{
    gemv_f32, gemv_reference, weighted_sum_f32, weighted_sum_reference, StridedRows,
};
use crate::host::Real;

/// Matrix products, weighted sums of rows, and transposed copies.
pub(crate) trait Blas: Real {
    /// Writes `x wᵀ`, transposed, to `y`. `x` is (m, width) with a small m, `w` is (n, width), `y`
    /// is (n, m).
    fn gemv(x: &[Self], w: StridedRows<Self>, y: &mut [Self]) {
        gemv_reference(x, w, y);
    }
    /// Writes the sum of `rows`, (n, width), weighted by `weights`, (n), to `y`, (width).
    fn weighted_sum(weights: &[Self], rows: StridedRows<Self>, y: &mut [Self]) {
        weighted_sum_reference(weights, rows, y);
    }
    /// Writes the transpose of `rows` rows of `length` elements: element `k` of row `i` goes to
    /// `into[k · into_stride + i]`. `from_stride` is the row stride of `from`.
    fn transpose(
        into: &mut [Self],
        into_stride: usize,
        from: &[Self],
        from_stride: usize,
        (rows, length): (usize, usize),
    ) {
        for i in 0..rows {
            let row = &from[i * from_stride..][..length];
            row.iter().enumerate().for_each(|(k, x)| into[k * into_stride + i] = *x);
        }
    }
    /// Writes `init + alpha · a b` to `y` with a kernel for this element type, and applies
    /// `epilogue`. `_size` is (m, n, k), `_stride` the row stride of `y`. Returns `false`, without
    /// a change to `y`, if there is no kernel for this type and size.
    ///
    /// # Safety
    /// All elements of `a`, `b` and `y` must be in bounds. Nobody else may access those of `y`
    /// during the call. With [`Init::Output`], they must be initialised.
    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    unsafe fn gemm(
        _y: *mut Self,
        _stride: usize,
        _size: (usize, usize, usize),
        _a: View<Self>,
        _b: View<Self>,
        _alpha: Self,
        _start: Init<Self>,
        _finish: Option<Epilogue<Self>>,
    ) -> bool {
        false
    }
}

impl Blas for f32 {
    fn gemv(x: &[f32], w: StridedRows<f32>, y: &mut [f32]) {
        gemv_f32(x, w, y);
    }
    fn weighted_sum(weights: &[f32], rows: StridedRows<f32>, y: &mut [f32]) {
        weighted_sum_f32(weights, rows, y);
    }
    fn transpose(
        into: &mut [f32],
        into_stride: usize,
        from: &[f32],
        from_stride: usize,
        size: (usize, usize),
    ) {
        f32::transpose(into, into_stride, from, from_stride, size);
    }
    unsafe fn gemm(
        y: *mut f32,
        stride: usize,
        size: (usize, usize, usize),
        a: View<f32>,
        b: View<f32>,
        alpha: f32,
        init: Init<f32>,
        epilogue: Option<Epilogue<f32>>,
    ) -> bool {
        // the kernel is written for vectors of columns
        if size.0 < 4 || size.1 < 4 {
            return false;
        }
        // SAFETY: the caller guarantees the conditions of `product`, which are the same.
        unsafe { f32::product(Product { y, stride, size, a, b, alpha, init, epilogue }) };
        true
    }
}

impl Blas for f64 {}
