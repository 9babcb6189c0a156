//! The element types of the CPU kernels.

use crate::array::Element;
use candle_core::CpuStorage;

/// An element type of the CPU kernels: f32 or f64.
pub trait Real:
    Element
    + Copy
    + Default
    + PartialOrd
    + Send
    + Sync
    + std::ops::Neg<Output = Self>
    + std::ops::Add<Output = Self>
    + std::ops::Sub<Output = Self>
    + std::ops::Mul<Output = Self>
    + std::ops::Div<Output = Self>
    + std::ops::AddAssign
    + std::ops::SubAssign
    + std::ops::MulAssign
    + std::ops::DivAssign
{
    /// Zero.
    const ZERO: Self;
    /// One.
    const ONE: Self;
    /// The lowest finite value, which replaces masked attention scores, as in PyTorch.
    const LOWEST: Self;
    /// An integer that has the order of `total_cmp` and is compared faster.
    type Key: Ord + Copy + Send;
    /// The integer key of the number.
    fn key(self) -> Self::Key;
    /// The number with this key: the inverse of [`Real::key`].
    fn of_key(key: Self::Key) -> Self;
    /// Converts from f64, with rounding.
    fn of(x: f64) -> Self;
    /// The exponential. `FMA` says whether to use a fused multiply-add instruction; see `has_fma!`.
    fn exp<const FMA: bool>(self) -> Self;
    /// The exponential of a number that is not above 0.
    fn exp_down<const FMA: bool>(self) -> Self;
    /// The error function; `FMA` as for [`Real::exp`].
    fn erf<const FMA: bool>(self) -> Self;
    /// The natural logarithm.
    fn ln(self) -> Self;
    /// The square root.
    fn sqrt(self) -> Self;
    /// The absolute value.
    fn abs(self) -> Self;
    /// The hyperbolic tangent.
    fn tanh(self) -> Self;
    /// The sine.
    fn sin(self) -> Self;
    /// The cosine.
    fn cos(self) -> Self;
    /// The nearest integer; of two, the even one.
    fn round(self) -> Self;
    /// The greatest integer that is not greater.
    fn floor(self) -> Self;
    /// The least integer that is not less.
    fn ceil(self) -> Self;
    /// Converts to f64.
    fn as_f64(self) -> f64;
    /// The values of a storage, or `None` if it has another dtype.
    fn values_mut(storage: &mut CpuStorage) -> Option<&mut [Self]>;
}

impl Real for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const LOWEST: Self = f32::MIN;
    type Key = i32;
    #[inline(always)]
    fn key(self) -> i32 {
        let bits = self.to_bits() as i32;
        // among negative numbers, a larger bit pattern is a lower number: invert the other bits
        bits ^ ((bits >> 31) & i32::MAX)
    }
    #[inline(always)]
    fn of_key(key: i32) -> Self {
        f32::from_bits((key ^ ((key >> 31) & i32::MAX)) as u32)
    }
    fn values_mut(storage: &mut CpuStorage) -> Option<&mut [f32]> {
        match storage {
            CpuStorage::F32(values) => Some(values),
            _ => None,
        }
    }
    #[inline(always)]
    fn of(x: f64) -> Self {
        x as f32
    }
    #[inline(always)]
    fn exp<const FMA: bool>(self) -> Self {
        crate::host::math::exp::<FMA>(self)
    }
    #[inline(always)]
    fn exp_down<const FMA: bool>(self) -> Self {
        crate::host::math::exp_down::<FMA>(self)
    }
    #[inline(always)]
    fn erf<const FMA: bool>(self) -> Self {
        crate::host::math::erf::<FMA>(self)
    }
    #[inline(always)]
    fn ln(self) -> Self {
        f32::ln(self)
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        f32::sqrt(self)
    }
    #[inline(always)]
    fn abs(self) -> Self {
        f32::abs(self)
    }
    #[inline(always)]
    fn tanh(self) -> Self {
        f32::tanh(self)
    }
    #[inline(always)]
    fn sin(self) -> Self {
        f32::sin(self)
    }
    #[inline(always)]
    fn cos(self) -> Self {
        f32::cos(self)
    }
    #[inline(always)]
    fn round(self) -> Self {
        f32::round_ties_even(self)
    }
    #[inline(always)]
    fn floor(self) -> Self {
        f32::floor(self)
    }
    #[inline(always)]
    fn ceil(self) -> Self {
        f32::ceil(self)
    }
    #[inline(always)]
    fn as_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const LOWEST: Self = f64::MIN;
    type Key = i64;
    #[inline(always)]
    fn key(self) -> i64 {
        let bits = self.to_bits() as i64;
        bits ^ ((bits >> 63) & i64::MAX)
    }
    #[inline(always)]
    fn of_key(key: i64) -> Self {
        f64::from_bits((key ^ ((key >> 63) & i64::MAX)) as u64)
    }
    fn values_mut(storage: &mut CpuStorage) -> Option<&mut [f64]> {
        match storage {
            CpuStorage::F64(values) => Some(values),
            _ => None,
        }
    }
    #[inline(always)]
    fn of(x: f64) -> Self {
        x
    }
    #[inline(always)]
    fn exp<const FMA: bool>(self) -> Self {
        f64::exp(self)
    }
    #[inline(always)]
    fn exp_down<const FMA: bool>(self) -> Self {
        f64::exp(self)
    }
    #[inline(always)]
    fn erf<const FMA: bool>(self) -> Self {
        libm::erf(self)
    }
    #[inline(always)]
    fn ln(self) -> Self {
        f64::ln(self)
    }
    #[inline(always)]
    fn sqrt(self) -> Self {
        f64::sqrt(self)
    }
    #[inline(always)]
    fn abs(self) -> Self {
        f64::abs(self)
    }
    #[inline(always)]
    fn tanh(self) -> Self {
        f64::tanh(self)
    }
    #[inline(always)]
    fn sin(self) -> Self {
        f64::sin(self)
    }
    #[inline(always)]
    fn cos(self) -> Self {
        f64::cos(self)
    }
    #[inline(always)]
    fn round(self) -> Self {
        f64::round_ties_even(self)
    }
    #[inline(always)]
    fn floor(self) -> Self {
        f64::floor(self)
    }
    #[inline(always)]
    fn ceil(self) -> Self {
        f64::ceil(self)
    }
    #[inline(always)]
    fn as_f64(self) -> f64 {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_order_of_their_numbers_and_give_them_back() {
        let x = [
            f32::NEG_INFINITY,
            f32::MIN,
            -1.5,
            -1e-40,
            -0.0,
            0.0,
            1e-40,
            2.0,
            f32::MAX,
            f32::INFINITY,
            f32::NAN,
        ];
        assert!(x.is_sorted_by_key(|x| x.key()) && x.is_sorted_by_key(|x| f64::from(*x).key()));
        assert!(x.iter().all(|x| f32::of_key(x.key()).to_bits() == x.to_bits()));
        assert!(x
            .iter()
            .all(|x| f64::of_key(f64::from(*x).key()).to_bits() == f64::from(*x).to_bits()));
    }
}
