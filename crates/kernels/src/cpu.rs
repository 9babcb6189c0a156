//! Access to the values of CPU arrays, and the element types that the CPU kernels know.

use crate::jobs::{Finish, Start, View};
use crate::layout::contiguous;
use crate::product::Product;
use crate::skinny::{products_reference, weighted_sum_reference, Many};
use crate::{alloc, Array, DType, Device, Result, Shape};
use candle_core::{CpuStorage, Storage, StorageRef, WithDType};
use std::ops::{Deref, Range};

/// An element type of the CPU kernels: f32 or f64.
pub trait Real:
    WithDType
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
    const ZERO: Self;
    const ONE: Self;
    /// The lowest finite value: what masked scores are filled with, as in PyTorch.
    const LOWEST: Self;
    /// A whole number in its place: it has the order of `total_cmp`, and is compared in less time.
    type Key: Ord + Copy + Send;
    fn key(self) -> Self::Key;
    fn of_key(key: Self::Key) -> Self;
    fn of(x: f64) -> Self;
    /// The exponential, with one instruction for a product and a sum where there is one (`FMA`, see [`crate::simd::has_fma`]).
    fn exp<const FMA: bool>(self) -> Self;
    /// The exponential of a number that is not above 0.
    fn exp_down<const FMA: bool>(self) -> Self;
    fn erf<const FMA: bool>(self) -> Self;
    fn ln(self) -> Self;
    fn sqrt(self) -> Self;
    fn abs(self) -> Self;
    fn tanh(self) -> Self;
    fn wide(self) -> f64;
    /// The values of a storage of this type.
    fn values_mut(storage: &mut CpuStorage) -> Option<&mut [Self]>;
    /// Products of the few rows of `x`, (m, width), with the many of `w`: `y` is (many, m).
    fn products(x: &[Self], w: Many<Self>, y: &mut [Self]) {
        products_reference(x, w, y);
    }
    /// The sum of `rows`, each with its weight, into `y`, (width).
    fn weighted_sum(weights: &[Self], rows: Many<Self>, y: &mut [Self]) {
        weighted_sum_reference(weights, rows, y);
    }
    /// Writes lines as columns: number k of line i goes to `into[k · step + i]`. Lines, each of `length` numbers, begin `across` numbers after each other.
    fn turn(into: &mut [Self], step: usize, from: &[Self], across: usize, (lines, length): (usize, usize)) {
        for i in 0..lines {
            let line = &from[i * across..][..length];
            line.iter().enumerate().for_each(|(k, x)| into[k * step + i] = *x);
        }
    }
    /// Writes a product by a kernel of our own, where there is one for this type: whether it was done. Sizes are (m, n, k).
    ///
    /// # Safety
    /// All elements of `a`, `b` and `y` are there, and nobody else uses those of `y` meanwhile; with [`Start::Own`] they hold numbers.
    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    unsafe fn own_product(
        _y: *mut Self,
        _stride: usize,
        _size: (usize, usize, usize),
        _a: View<Self>,
        _b: View<Self>,
        _alpha: Self,
        _start: Start<Self>,
        _finish: Option<Finish<Self>>,
    ) -> bool {
        false
    }
}

impl Real for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const LOWEST: Self = f32::MIN;
    type Key = i32;
    #[inline(always)]
    fn key(self) -> i32 {
        let bits = self.to_bits() as i32;
        // of negative numbers the larger bits are the lower number
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
        crate::simd::exp::<FMA>(self)
    }
    #[inline(always)]
    fn exp_down<const FMA: bool>(self) -> Self {
        crate::simd::exp_down::<FMA>(self)
    }
    #[inline(always)]
    fn erf<const FMA: bool>(self) -> Self {
        crate::simd::erf::<FMA>(self)
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
    fn wide(self) -> f64 {
        f64::from(self)
    }
    fn products(x: &[f32], w: Many<f32>, y: &mut [f32]) {
        crate::skinny::products_f32(x, w, y);
    }
    fn weighted_sum(weights: &[f32], rows: Many<f32>, y: &mut [f32]) {
        crate::skinny::weighted_sum_f32(weights, rows, y);
    }
    fn turn(into: &mut [f32], step: usize, from: &[f32], across: usize, size: (usize, usize)) {
        crate::product::turn(into, step, from, across, size);
    }
    unsafe fn own_product(
        y: *mut f32,
        stride: usize,
        size: (usize, usize, usize),
        a: View<f32>,
        b: View<f32>,
        alpha: f32,
        start: Start<f32>,
        finish: Option<Finish<f32>>,
    ) -> bool {
        // it is made for vectors of columns
        if size.0 < 4 || size.1 < 4 {
            return false;
        }
        // SAFETY: the caller's promise.
        unsafe { crate::product::product(Product { y, stride, size, a, b, alpha, start, finish }) };
        true
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
    fn wide(self) -> f64 {
        self
    }
}

/// The values of a contiguous CPU array, borrowed.
pub struct Slice<'a, T> {
    storage: StorageRef<'a>,
    range: Range<usize>,
    element: std::marker::PhantomData<T>,
}

impl<T: WithDType> Deref for Slice<'_, T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        cpu_values(&self.storage).get(self.range.clone()).unwrap_or_default()
    }
}

fn cpu_values<T: WithDType>(storage: &Storage) -> &[T] {
    match storage {
        Storage::Cpu(cpu) => cpu.as_slice::<T>().unwrap_or_default(),
        _ => &[],
    }
}

/// Borrows the values of `array`, which must be contiguous, on the CPU, and of type `T`.
pub fn slice<T: WithDType>(array: &Array) -> Result<Slice<'_, T>> {
    let (storage, layout) = array.storage_and_layout();
    let Some((start, end)) = layout.contiguous_offsets() else {
        candle_core::bail!("a contiguous array is needed here, got strides {:?}", layout.stride());
    };
    if array.dtype() != T::DTYPE || !array.device().is_cpu() {
        candle_core::bail!("expected {:?} on the CPU, got {:?} on {:?}", T::DTYPE, array.dtype(), array.device());
    }
    Ok(Slice { storage, range: start..end, element: std::marker::PhantomData })
}

/// The whole storage behind a CPU array, for kernels that follow strides themselves, with the offset of the first element.
pub fn strided<T: WithDType>(array: &Array) -> Result<(Slice<'_, T>, usize)> {
    let (storage, layout) = array.storage_and_layout();
    let start = layout.start_offset();
    let length = cpu_values::<T>(&storage).len();
    Ok((Slice { storage, range: 0..length, element: std::marker::PhantomData }, start))
}

/// The values in row-major order, in a vector of their own.
pub fn vector<T: WithDType>(array: &Array) -> Result<Vec<T>> {
    if array.elem_count() == 0 {
        // candle would begin past the end of the storage
        return Ok(vec![]);
    }
    alloc::check_like(array, T::DTYPE, if array.is_contiguous() { 1 } else { 2 })?;
    array.flatten_all()?.to_vec1()
}

/// The values of a CPU array in row-major order, each as the bytes that `bytes` makes of it.
pub fn bytes<T: WithDType, const N: usize>(array: &Array, bytes: impl Fn(T) -> [u8; N]) -> Result<Vec<u8>> {
    let array = contiguous(array)?;
    let values = slice::<T>(&array)?;
    let mut all = alloc::filled(0u8, values.len().saturating_mul(N))?;
    all.chunks_exact_mut(N).zip(values.iter()).for_each(|(to, x)| to.copy_from_slice(&bytes(*x)));
    Ok(all)
}

/// An array from values in row-major order.
pub fn array<T: WithDType>(values: Vec<T>, shape: impl Into<Shape>) -> Result<Array> {
    Array::from_vec(values, shape.into(), &Device::Cpu)
}

/// Runs `$fast` with `$T` as the element type where the CPU kernels take `$array`, else `$slow`.
macro_rules! dispatch {
    ($array:expr, $T:ident => $fast:expr, else $slow:expr) => {
        match $array.dtype() {
            $crate::DType::F32 if $array.device().is_cpu() => {
                type $T = f32;
                $fast
            }
            $crate::DType::F64 if $array.device().is_cpu() => {
                type $T = f64;
                $fast
            }
            _ => {
                // candle does not look whether there is room: for a copy in row-major order, and for the result
                $crate::alloc::check_like(&$array, $array.dtype(), 2)?;
                $slow
            }
        }
    };
}
pub(crate) use dispatch;

/// [`dispatch`] for every type of number that tensors have.
macro_rules! dispatch_all {
    ($array:expr, $T:ident => $fast:expr, else $slow:expr) => {{
        use $crate::DType;
        macro_rules! run {
            ($type:ty) => {{
                type $T = $type;
                $fast
            }};
        }
        match $array.dtype() {
            _ if !$array.device().is_cpu() => $slow,
            DType::U8 => run!(u8),
            DType::U32 => run!(u32),
            DType::I64 => run!(i64),
            DType::F16 => run!(half::f16),
            DType::BF16 => run!(half::bf16),
            DType::F32 => run!(f32),
            DType::F64 => run!(f64),
            _ => $slow,
        }
    }};
}
pub(crate) use dispatch_all;

/// The type that sums of `dtype` are taken in: half precision would soon stop growing.
pub fn wide(dtype: DType) -> DType {
    match dtype {
        DType::F16 | DType::BF16 => DType::F32,
        _ => dtype,
    }
}

/// `run` of `x` as f32, back in the type of `x`; `None` where that is wide enough for sums.
pub fn widened(x: &Array, run: impl Fn(&Array) -> Result<Array>) -> Option<Result<Array>> {
    let through = || {
        alloc::check_like(x, DType::F32, 2)?;
        run(&x.to_dtype(DType::F32)?)?.to_dtype(x.dtype())
    };
    (wide(x.dtype()) != x.dtype()).then(through)
}

/// An error where one of them has another shape than `x`.
pub fn check_like<'a>(x: &Array, others: impl IntoIterator<Item = Option<&'a Array>>) -> Result<()> {
    match others.into_iter().flatten().find(|other| other.dims() != x.dims()) {
        Some(other) => candle_core::bail!("{:?} beside {:?}", other.dims(), x.dims()),
        None => Ok(()),
    }
}

/// The last axis of a shape and the number of rows before it.
pub fn rows_and_width(array: &Array) -> (usize, usize) {
    let width = array.dims().last().copied().unwrap_or(1);
    (array.elem_count() / width.max(1), width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_order_of_their_numbers_and_give_them_back() {
        let x = [f32::NEG_INFINITY, f32::MIN, -1.5, -1e-40, -0.0, 0.0, 1e-40, 2.0, f32::MAX, f32::INFINITY, f32::NAN];
        assert!(x.is_sorted_by_key(|x| x.key()) && x.is_sorted_by_key(|x| f64::from(*x).key()));
        assert!(x.iter().all(|x| f32::of_key(x.key()).to_bits() == x.to_bits()));
        assert!(x.iter().all(|x| f64::of_key(f64::from(*x).key()).to_bits() == f64::from(*x).to_bits()));
    }
}
