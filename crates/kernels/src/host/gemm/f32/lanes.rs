//! What the product needs of a processor.

use super::panel::Panel;

/// Vectors of numbers, and the tiles that fit the registers.
///
/// Everything here and all that calls it is inlined into one function, which is compiled for the processor's instructions.
pub trait Lanes: Copy {
    type V: Copy;
    /// Numbers of a vector: at most [`MOST`].
    const COUNT: usize;
    /// Vectors of the widest panel, 2 or 3.
    const WIDEST: usize;
    /// With fewer rows or columns than these, panels of two vectors do more.
    const NARROW_BELOW: usize = 0;
    /// [`Lanes::turn`] takes as many lines of as many numbers.
    const BLOCK: usize;

    fn splat(self, x: f32) -> Self::V;

    /// `a b + c`
    fn mul_add(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;

    /// A vector from anywhere in memory.
    ///
    /// # Safety
    /// [`Lanes::COUNT`] numbers stand there.
    unsafe fn load(self, from: *const f32) -> Self::V;

    /// # Safety
    /// [`Lanes::COUNT`] numbers have their place there.
    unsafe fn store(self, v: Self::V, to: *mut f32);

    /// Tells the processor that what lies at `at` will be needed prefetch.
    #[inline(always)]
    fn fetch(self, _at: *const f32) {}

    /// Writes lines as columns: number k of line i goes to `to + k · step + i`. Lines begin `across` numbers after each other.
    ///
    /// # Safety
    /// All [`Lanes::BLOCK`]² numbers are there, on both sides.
    #[inline(always)]
    unsafe fn transpose(self, from: *const f32, across: usize, to: *mut f32, step: usize) {
        // SAFETY: the caller's promise.
        unsafe { transpose_scalar(Self::BLOCK, from, across, to, step) }
    }

    /// All rows times a panel of `vectors`, in tiles of as many rows as fit.
    ///
    /// # Safety
    /// As for [`Panel::all`].
    unsafe fn multiply(self, panel: Panel, vectors: usize);
}

/// No processor has more numbers in a vector.
pub const MOST: usize = 16;

/// [`Lanes::turn`] without vectors.
///
/// # Safety
/// All `block`² numbers are there, on both sides.
#[inline(always)]
pub unsafe fn transpose_scalar(block: usize, from: *const f32, across: usize, to: *mut f32, step: usize) {
    for i in 0..block {
        for k in 0..block {
            // SAFETY: the caller's promise.
            unsafe { *to.add(k * step + i) = *from.add(i * across + k) };
        }
    }
}
