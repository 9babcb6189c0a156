//! A second output of a matrix product.

use crate::host::gemm::jobs::SendPtr;
use crate::host::Real;
use crate::memory::alloc;
use crate::Result;
use std::mem::MaybeUninit;

/// Reinterprets initialised numbers as uninitialised memory to write to.
pub(super) fn as_uninit<T: Real>(y: &mut [T]) -> &mut [MaybeUninit<T>] {
    // SAFETY: `MaybeUninit<T>` has the layout of `T`, and the functions that get the slice only
    // write initialised numbers.
    unsafe { std::slice::from_raw_parts_mut(y.as_mut_ptr().cast(), y.len()) }
}

/// A second output of a matrix product, written by its
/// [`Epilogue`](crate::host::gemm::view::Epilogue).
pub(super) struct SecondOutput<T> {
    values: Vec<T>,
    count: usize,
    width: usize,
}

impl<T: Real> SecondOutput<T> {
    /// Allocates (rows, width), uninitialised.
    pub(super) fn new(rows: usize, width: usize) -> Result<Self> {
        alloc::check(&[rows, width], T::DTYPE)?;
        Ok(Self { values: alloc::with_capacity::<T>(rows * width)?, count: rows * width, width })
    }

    /// A pointer to the rows, for the epilogue.
    pub(super) fn rows(&mut self) -> OutputRows<T> {
        OutputRows { first: SendPtr(self.values.as_mut_ptr()), width: self.width }
    }

    /// Returns the values.
    ///
    /// # Safety
    /// All elements must have been written.
    pub(super) unsafe fn written(mut self) -> Vec<T> {
        // SAFETY: the caller guarantees that all `count` elements were written.
        unsafe { self.values.set_len(self.count) };
        self.values
    }
}

/// Rows of an output that several threads write, each thread different elements.
#[derive(Clone, Copy)]
pub(super) struct OutputRows<T> {
    first: SendPtr<T>,
    width: usize,
}

impl<T: Real> OutputRows<T> {
    /// `count` elements of row `row` from column `column` on.
    ///
    /// # Safety
    /// The elements must be inside of the allocation, which must live for `'a`, and nothing else
    /// may access them during that time.
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn at<'a>(
        &self,
        row: usize,
        column: usize,
        count: usize,
    ) -> &'a mut [MaybeUninit<T>] {
        // SAFETY: guaranteed by the caller.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.first.0.add(row * self.width + column).cast(),
                count,
            )
        }
    }
}
