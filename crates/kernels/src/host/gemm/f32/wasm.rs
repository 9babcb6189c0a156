//! Vector instructions of WebAssembly: four f32.
//!
//! V8 uses fifteen registers. If a tile needs more for its accumulators and factors, it moves
//! accumulators to memory and back in every step. Tiles of 3 x 12 elements come closest to the
//! processor's peak. Tiles of 4 x 8 are used for few rows and for the remaining columns.

use super::lanes::Lanes;
use super::panel::Panel;
use core::arch::wasm32::*;

/// [`Lanes`] by the vectors of WebAssembly.
#[derive(Clone, Copy)]
pub struct Wasm;

impl Lanes for Wasm {
    type V = v128;
    const COUNT: usize = 4;
    const WIDEST: usize = 3;
    const NARROW_BELOW: usize = 24;
    const BLOCK: usize = 4;

    #[inline(always)]
    fn splat(self, x: f32) -> v128 {
        f32x4_splat(x)
    }

    #[inline(always)]
    fn mul_add(self, a: v128, b: v128, c: v128) -> v128 {
        #[cfg(target_feature = "relaxed-simd")]
        return f32x4_relaxed_madd(a, b, c);
        #[cfg(not(target_feature = "relaxed-simd"))]
        f32x4_add(f32x4_mul(a, b), c)
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> v128 {
        // SAFETY: the caller guarantees that a vector is readable there; v128_load needs no
        // alignment.
        unsafe { v128_load(from.cast()) }
    }

    #[inline(always)]
    unsafe fn store(self, v: v128, to: *mut f32) {
        // SAFETY: the caller guarantees that a vector is writable there; v128_store needs no
        // alignment.
        unsafe { v128_store(to.cast(), v) }
    }

    #[inline(always)]
    unsafe fn transpose(
        self,
        from: *const f32,
        from_stride: usize,
        to: *mut f32,
        to_stride: usize,
    ) {
        // SAFETY: the caller guarantees that the block is in bounds.
        let [a, b, c, d] = std::array::from_fn(|i| unsafe { self.load(from.add(i * from_stride)) });
        let (ab, ab2) = (i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<2, 6, 3, 7>(a, b));
        let (cd, cd2) = (i32x4_shuffle::<0, 4, 1, 5>(c, d), i32x4_shuffle::<2, 6, 3, 7>(c, d));
        let columns = [
            i64x2_shuffle::<0, 2>(ab, cd),
            i64x2_shuffle::<1, 3>(ab, cd),
            i64x2_shuffle::<0, 2>(ab2, cd2),
            i64x2_shuffle::<1, 3>(ab2, cd2),
        ];
        for (k, column) in columns.into_iter().enumerate() {
            // SAFETY: the caller guarantees that the block is in bounds.
            unsafe { self.store(column, to.add(k * to_stride)) };
        }
    }

    #[inline(always)]
    unsafe fn multiply(self, panel: Panel, vectors: usize) {
        // SAFETY: the caller guarantees the conditions of `Panel::multiply_rows`.
        unsafe {
            match vectors {
                3 => panel.multiply_rows::<Self, 3, 3>(self),
                2 => panel.multiply_rows::<Self, 4, 2>(self),
                _ => panel.multiply_rows::<Self, 4, 1>(self),
            }
        }
    }
}
