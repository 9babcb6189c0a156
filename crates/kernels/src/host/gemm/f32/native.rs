//! Vector instructions of the host processor, by pulp: eight f32 with AVX2, sixteen with AVX-512,
//! four with NEON.

use super::blocks::{run, Buffers, Product};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use super::lanes::transpose_scalar;
use super::lanes::Lanes;
use super::pack;
use super::panel::Panel;
use pulp::{NullaryFnOnce, Simd, WithSimd};

/// [`Lanes`] by the instruction set `S`. With 32 registers, tiles of 8 x 3 vectors leave enough
/// registers for the factors of a step; with 16 registers, tiles of 6 x 2 do.
#[derive(Clone, Copy)]
struct Native<S>(S);

impl<S: Simd> Lanes for Native<S> {
    type V = S::f32s;
    const COUNT: usize = S::F32_LANES;
    const WIDEST: usize = if S::REGISTER_COUNT >= 32 { 3 } else { 2 };
    const BLOCK: usize = if S::F32_LANES >= 8 { 8 } else { 4 };

    #[inline(always)]
    fn splat(self, x: f32) -> S::f32s {
        self.0.splat_f32s(x)
    }

    #[inline(always)]
    fn mul_add(self, a: S::f32s, b: S::f32s, c: S::f32s) -> S::f32s {
        self.0.mul_add_e_f32s(a, b, c)
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> S::f32s {
        // SAFETY: the caller guarantees that a vector is readable there; any bits are valid f32.
        unsafe { from.cast::<S::f32s>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(self, v: S::f32s, to: *mut f32) {
        // SAFETY: the caller guarantees that a vector is writable there.
        unsafe { to.cast::<S::f32s>().write_unaligned(v) }
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn prefetch(self, at: *const f32) {
        use core::arch::x86_64::{_mm_prefetch, _MM_HINT_T0};
        // SAFETY: a prefetch is a hint and is valid for any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
    }

    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    unsafe fn transpose(
        self,
        from: *const f32,
        from_stride: usize,
        to: *mut f32,
        to_stride: usize,
    ) {
        // SAFETY: the caller guarantees that the block is in bounds; processors with vectors of
        // eight f32 have AVX.
        unsafe {
            if S::F32_LANES >= 8 {
                transpose_8x8(from, from_stride, to, to_stride);
            } else {
                transpose_scalar(Self::BLOCK, from, from_stride, to, to_stride);
            }
        }
    }

    #[cfg(target_arch = "aarch64")]
    #[inline(always)]
    unsafe fn transpose(
        self,
        from: *const f32,
        from_stride: usize,
        to: *mut f32,
        to_stride: usize,
    ) {
        // SAFETY: the caller guarantees that the block is in bounds; vectors of four f32 are those
        // of NEON.
        unsafe {
            if S::F32_LANES == 4 {
                transpose_4x4(from, from_stride, to, to_stride);
            } else {
                transpose_scalar(Self::BLOCK, from, from_stride, to, to_stride);
            }
        }
    }

    #[inline(always)]
    unsafe fn multiply(self, panel: Panel, vectors: usize) {
        // SAFETY: the caller guarantees the conditions of `Panel::multiply_rows`.
        unsafe {
            match (S::REGISTER_COUNT >= 32, vectors) {
                (true, 3) => multiply_rows::<S, 8, 3>(self.0, panel),
                (true, 2) => multiply_rows::<S, 8, 2>(self.0, panel),
                (true, _) => multiply_rows::<S, 8, 1>(self.0, panel),
                (false, 2) => multiply_rows::<S, 6, 2>(self.0, panel),
                (false, _) => multiply_rows::<S, 6, 1>(self.0, panel),
            }
        }
    }
}

/// Multiplies all rows with a panel. It is not inlined: in a function of its own, each tile size
/// has all registers.
///
/// # Safety
/// As for [`Panel::multiply_rows`].
#[inline(never)]
unsafe fn multiply_rows<S: Simd, const M: usize, const N: usize>(simd: S, panel: Panel) {
    simd.vectorize(MultiplyRows::<S, M, N>(simd, panel));
}

/// The body of [`multiply_rows`], which pulp compiles for the instruction set. Only
/// [`multiply_rows`] creates it, so the conditions of [`Panel::multiply_rows`] hold.
struct MultiplyRows<'a, S, const M: usize, const N: usize>(S, Panel<'a>);

impl<S: Simd, const M: usize, const N: usize> NullaryFnOnce for MultiplyRows<'_, S, M, N> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        // SAFETY: only `multiply_rows` creates this value, and its caller guarantees the
        // conditions.
        unsafe { self.1.multiply_rows::<Native<S>, M, N>(Native(self.0)) };
    }
}

/// Transposes 8 x 8 elements: pairs, then groups of four, then halves.
///
/// # Safety
/// As for [`Lanes::transpose`]; the processor must have AVX.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx")]
unsafe fn transpose_8x8(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    use core::arch::x86_64::*;
    // SAFETY: the caller guarantees that the block is in bounds; loads and stores need no
    // alignment.
    let half = |row: usize, at: usize| unsafe { _mm_loadu_ps(from.add(row * from_stride + at)) };
    for at in [0, 4] {
        // rows 0 to 3 are in the lower halves, rows 4 to 7 in the upper ones
        let [a, b, c, d] =
            [0, 1, 2, 3].map(|row| _mm256_set_m128(half(row + 4, at), half(row, at)));
        let (ab, ab2) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
        let (cd, cd2) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
        let columns = [
            _mm256_shuffle_ps::<0b01_00_01_00>(ab, cd),
            _mm256_shuffle_ps::<0b11_10_11_10>(ab, cd),
            _mm256_shuffle_ps::<0b01_00_01_00>(ab2, cd2),
            _mm256_shuffle_ps::<0b11_10_11_10>(ab2, cd2),
        ];
        for (k, column) in columns.into_iter().enumerate() {
            // SAFETY: as above.
            unsafe { _mm256_storeu_ps(to.add((at + k) * to_stride), column) };
        }
    }
}

/// Transposes 4 x 4 elements: pairs, then halves.
///
/// # Safety
/// As for [`Lanes::transpose`].
#[cfg(target_arch = "aarch64")]
#[inline]
#[target_feature(enable = "neon")]
unsafe fn transpose_4x4(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    use core::arch::aarch64::*;
    // SAFETY: the caller guarantees that the block is in bounds; loads and stores need no
    // alignment.
    let [a, b, c, d] = [0, 1, 2, 3].map(|row| unsafe { vld1q_f32(from.add(row * from_stride)) });
    let pairs = |a, b| (vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b));
    let (even, even2) = pairs(vtrn1q_f32(a, b), vtrn1q_f32(c, d));
    let (odd, odd2) = pairs(vtrn2q_f32(a, b), vtrn2q_f32(c, d));
    let columns = [
        vtrn1q_f64(even, even2),
        vtrn1q_f64(odd, odd2),
        vtrn2q_f64(even, even2),
        vtrn2q_f64(odd, odd2),
    ];
    for (k, column) in columns.into_iter().enumerate() {
        // SAFETY: as above.
        unsafe { vst1q_f32(to.add(k * to_stride), vreinterpretq_f32_f64(column)) };
    }
}

/// A product, to be computed with the vector instructions that pulp selects.
pub struct NativeProduct<'a> {
    product: Product<'a>,
    buffers: &'a mut Buffers,
}

impl<'a> NativeProduct<'a> {
    /// Creates the job.
    ///
    /// # Safety
    /// As for [`super::product`].
    pub unsafe fn new(product: Product<'a>, buffers: &'a mut Buffers) -> Self {
        Self { product, buffers }
    }
}

impl WithSimd for NativeProduct<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // SAFETY: the caller of `NativeProduct::new` guarantees the conditions of `run`.
        unsafe { run(Native(simd), self.product, self.buffers) };
    }
}

/// Arguments of [`super::transpose`], with the vector instructions that pulp selects.
pub struct Transpose<'a> {
    /// The output.
    pub into: &'a mut [f32],
    /// Row stride of the output, in elements.
    pub into_stride: usize,
    /// The input.
    pub from: &'a [f32],
    /// Row stride of the input, in elements.
    pub from_stride: usize,
    /// Rows of the input, and elements of each.
    pub size: (usize, usize),
}

impl WithSimd for Transpose<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        pack::transposed(
            Native(simd),
            self.into,
            self.into_stride,
            self.from,
            self.from_stride,
            self.size,
        );
    }
}
