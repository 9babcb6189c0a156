//! Products of an element type: by kernels of our own where there are any for it.

use crate::host::gemm::f32::{self, Product};
use crate::host::gemm::view::{Epilogue, Init, View};
use crate::host::gemv::kernel::{gemv_f32, gemv_reference, weighted_sum_f32, weighted_sum_reference, StridedRows};
use crate::host::Real;

/// Products, the sums they consist of, and transposed copies.
pub(crate) trait Blas: Real {
    /// Products of the few rows of `x`, (m, width), with the many of `w`: `y` is (many, m).
    fn gemv(x: &[Self], w: StridedRows<Self>, y: &mut [Self]) {
        gemv_reference(x, w, y);
    }
    /// The sum of `rows`, each with its weight, into `y`, (width).
    fn weighted_sum(weights: &[Self], rows: StridedRows<Self>, y: &mut [Self]) {
        weighted_sum_reference(weights, rows, y);
    }
    /// Writes lines as columns: number k of line i goes to `into[k · step + i]`. Lines, each of `length` numbers, begin `across` numbers after each other.
    fn transpose(into: &mut [Self], step: usize, from: &[Self], across: usize, (lines, length): (usize, usize)) {
        for i in 0..lines {
            let line = &from[i * across..][..length];
            line.iter().enumerate().for_each(|(k, x)| into[k * step + i] = *x);
        }
    }
    /// Writes a product by a kernel of our own, where there is one for this type: whether it was done. Sizes are (m, n, k).
    ///
    /// # Safety
    /// All elements of `a`, `b` and `y` are there, and nobody else uses those of `y` meanwhile; with [`Init::Output`] they hold numbers.
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
    fn transpose(into: &mut [f32], step: usize, from: &[f32], across: usize, size: (usize, usize)) {
        f32::transpose(into, step, from, across, size);
    }
    unsafe fn gemm(
        y: *mut f32,
        stride: usize,
        size: (usize, usize, usize),
        a: View<f32>,
        b: View<f32>,
        alpha: f32,
        start: Init<f32>,
        finish: Option<Epilogue<f32>>,
    ) -> bool {
        // it is made for vectors of columns
        if size.0 < 4 || size.1 < 4 {
            return false;
        }
        // SAFETY: the caller's promise.
        unsafe { f32::product(Product { y, stride, size, a, b, alpha, start, finish }) };
        true
    }
}

impl Blas for f64 {}
