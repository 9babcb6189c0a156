//! Four numbers as WebAssembly has them.

use core::arch::wasm32::*;

pub type V = v128;

#[inline(always)]
pub fn splat(x: f32) -> V {
    f32x4_splat(x)
}

/// `a b + c`
#[inline(always)]
pub fn mul_add(a: V, b: V, c: V) -> V {
    #[cfg(target_feature = "relaxed-simd")]
    return f32x4_relaxed_madd(a, b, c);
    #[cfg(not(target_feature = "relaxed-simd"))]
    f32x4_add(f32x4_mul(a, b), c)
}

/// Rows become columns.
#[inline(always)]
pub fn transpose([a, b, c, d]: [V; 4]) -> [V; 4] {
    let (ab, ab2) = (i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<2, 6, 3, 7>(a, b));
    let (cd, cd2) = (i32x4_shuffle::<0, 4, 1, 5>(c, d), i32x4_shuffle::<2, 6, 3, 7>(c, d));
    [
        i64x2_shuffle::<0, 2>(ab, cd),
        i64x2_shuffle::<1, 3>(ab, cd),
        i64x2_shuffle::<0, 2>(ab2, cd2),
        i64x2_shuffle::<1, 3>(ab2, cd2),
    ]
}

/// Puts four numbers into `xs`, from `at` on.
#[inline(always)]
pub fn store(v: V, xs: &mut [f32], at: usize) {
    let four = &mut xs[at..at + 4];
    // SAFETY: the slice has four numbers; v128_store needs no alignment.
    unsafe { v128_store(four.as_mut_ptr().cast(), v) }
}

/// Four numbers of `xs`, from `at` on.
#[inline(always)]
pub fn load(xs: &[f32], at: usize) -> V {
    let four = &xs[at..at + 4];
    // SAFETY: the slice has four numbers; v128_load needs no alignment.
    unsafe { v128_load(four.as_ptr().cast()) }
}

/// The four numbers.
#[inline(always)]
pub fn numbers(v: V) -> [f32; 4] {
    // SAFETY: both are sixteen bytes, of which any are numbers.
    unsafe { std::mem::transmute(v) }
}
