//! What the processor can do at most, measured: what kernels are compared with.

use pulp::{Arch, Simd, WithSimd};
use std::hint::black_box;
use std::time::Instant;

/// Of all threads together.
#[derive(Clone, Copy)]
pub struct Peak {
    /// Floating-point operations per second, f32, multiply-adds within registers.
    pub flops: f64,
    /// Bytes per second that are read from memory beyond the caches.
    pub bytes: f64,
}

impl Peak {
    pub fn measure() -> Self {
        let numbers = vec![1.0_f32; NUMBERS];
        Self {
            flops: best(STEPS as f64, || Arch::new().dispatch(MultiplyAdd)),
            bytes: best((4 * NUMBERS) as f64, || Arch::new().dispatch(Sum(&numbers))),
        }
    }
}

/// 256 MB: more than the caches hold.
const NUMBERS: usize = 64 << 20;

/// Floating-point operations of one measurement.
const STEPS: usize = 1 << 31;

/// Independent sums: as many as it takes to have a multiply-add ready in every cycle, and few
/// enough for the registers.
const SUMS: usize = 12;

/// What all threads do in a second, in the best of some tries; each does `amount` in one.
fn best(amount: f64, f: impl Fn() -> f32 + Sync) -> f64 {
    let threads = xt_kernels::host::parallel::threads();
    let once = || {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| black_box(f()));
            }
        });
        threads as f64 * amount / start.elapsed().as_secs_f64()
    };
    (0..7).map(|_| once()).fold(0.0, f64::max)
}

struct MultiplyAdd;

impl WithSimd for MultiplyAdd {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        let (factor, term) = (simd.splat_f32s(black_box(0.999)), simd.splat_f32s(black_box(0.001)));
        let mut sums = [simd.splat_f32s(black_box(1.0)); SUMS];
        let lanes = size_of::<S::f32s>() / size_of::<f32>();
        for _ in 0..STEPS / (2 * lanes * SUMS) {
            sums.iter_mut().for_each(|sum| *sum = simd.mul_add_f32s(*sum, factor, term));
        }
        sums.into_iter().map(|sum| simd.reduce_sum_f32s(sum)).sum()
    }
}

struct Sum<'a>(&'a [f32]);

impl WithSimd for Sum<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        let mut sums = [simd.splat_f32s(0.0); SUMS];
        for vectors in S::as_simd_f32s(self.0).0.chunks_exact(SUMS) {
            sums.iter_mut()
                .zip(vectors)
                .for_each(|(sum, vector)| *sum = simd.add_f32s(*sum, *vector));
        }
        sums.into_iter().map(|sum| simd.reduce_sum_f32s(sum)).sum()
    }
}
