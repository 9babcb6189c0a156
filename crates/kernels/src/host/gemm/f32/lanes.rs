//! The vector instructions that the f32 product needs.

use super::panel::Panel;

/// A vector instruction set, and the tile sizes that fit its registers.
///
/// All methods, and all functions that call them, are inlined into one function, which is compiled
/// for the instructions of the processor.
pub trait Lanes: Copy {
    /// A vector of f32.
    type V: Copy;
    /// Elements of a vector: at most [`MAX_COUNT`].
    const COUNT: usize;
    /// Width of the widest panel, in vectors: 2 or 3.
    const WIDEST: usize;
    /// With fewer rows or columns than this, panels of two vectors are faster.
    const NARROW_BELOW: usize = 0;
    /// Block size of [`Lanes::transpose`].
    const BLOCK: usize;

    /// A vector whose elements are all `x`.
    fn splat(self, x: f32) -> Self::V;

    /// `a b + c`, element-wise.
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;

    /// Loads a vector from any address; no alignment is needed.
    ///
    /// # Safety
    /// [`Lanes::COUNT`] elements must be readable there.
    unsafe fn load(self, from: *const f32) -> Self::V;

    /// Stores a vector at any address; no alignment is needed.
    ///
    /// # Safety
    /// [`Lanes::COUNT`] elements must be writable there.
    unsafe fn store(self, v: Self::V, to: *mut f32);

    /// Prefetches the cache line at `at`; does nothing where there is no such instruction.
    #[inline(always)]
    fn prefetch(self, _at: *const f32) {}

    /// Transposes a block of [`Lanes::BLOCK`] x [`Lanes::BLOCK`] elements: element `k` of row `i`
    /// goes to `to + k · to_stride + i`. `from_stride` is the row stride of `from`.
    ///
    /// # Safety
    /// All elements of the block must be in bounds on both sides.
    #[inline(always)]
    unsafe fn transpose(
        self,
        from: *const f32,
        from_stride: usize,
        to: *mut f32,
        to_stride: usize,
    ) {
        // SAFETY: the caller guarantees that the block is in bounds.
        unsafe { transpose_scalar(Self::BLOCK, from, from_stride, to, to_stride) }
    }

    /// Multiplies all rows with a panel of `vectors` vectors, in tiles of as many rows as fit the
    /// registers.
    ///
    /// # Safety
    /// As for [`Panel::multiply_rows`].
    unsafe fn multiply(self, panel: Panel, vectors: usize);
}

/// The largest number of elements in a vector on any processor.
pub const MAX_COUNT: usize = 16;

/// [`Lanes::transpose`] without vector instructions, for blocks of `block` x `block` elements.
///
/// # Safety
/// All elements of the block must be in bounds on both sides.
#[inline(always)]
pub unsafe fn transpose_scalar(
    block: usize,
    from: *const f32,
    from_stride: usize,
    to: *mut f32,
    to_stride: usize,
) {
    for i in 0..block {
        for k in 0..block {
            // SAFETY: the caller guarantees that the block is in bounds.
            unsafe { *to.add(k * to_stride + i) = *from.add(i * from_stride + k) };
        }
    }
}
