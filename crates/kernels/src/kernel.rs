//! The kernel trait, and the dispatch of a kernel to the implementation for a device and dtype.
//!
//! A kernel is a value with operands and settings. It has several implementations, which compute
//! the same result on different devices and dtypes, and a plain reference, against which tests
//! compare them. [`run`] is the only function that selects an implementation.

#[cfg(feature = "cuda")]
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::memory::alloc;
use crate::{Array, DType, Device, Element, Error, Result};
use half::{bf16, f16};
use std::collections::BTreeMap;
#[cfg(feature = "cuda")]
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};

#[cfg(feature = "cuda")]
use crate::cuda::Gpu;

/// A value that contains arrays, which are visited in a fixed order.
pub trait Arrays {
    /// Calls `f` with each array.
    fn each<'a>(&'a self, f: &mut dyn FnMut(&'a Array));
    /// Calls `f` with each array; `f` may replace it.
    fn each_mut(&mut self, f: &mut dyn FnMut(&mut Array));
}

/// An operation on arrays. The fields of the implementing type are the operands and settings.
pub(crate) trait Kernel: Arrays + Clone {
    /// The name, under which [`fallbacks`] counts the kernel.
    const NAME: &'static str;
    /// The result: one or several arrays.
    type Out: Arrays;

    /// Checks the shapes and dtypes of the operands, for all devices.
    ///
    /// # Errors
    /// If the operands do not fit together.
    fn check(&self) -> Result<()>;

    /// The reference: candle's unfused operations on the host, for every dtype. The other
    /// implementations are tested against it, and it runs where there is no other implementation.
    fn reference(&self) -> Result<Self::Out>;

    /// The CPU implementation for a first operand of dtype f32 or f64.
    fn cpu<T: Blas>(&self) -> Result<Self::Out>;

    /// The CPU implementation for a first operand of another dtype. Returns `None` to use the
    /// reference instead.
    fn cpu_other<T: Element>(&self) -> Option<Result<Self::Out>> {
        None
    }

    /// The operands that the kernel changes in place, which tests compare too.
    #[cfg(test)]
    fn changed(&self) -> Vec<&Array> {
        Vec::new()
    }

    /// The implementation for NVIDIA GPUs, for operands of every dtype.
    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Self::Out>;

    /// Test inputs for the implementations, in f64: odd sizes, sizes that are split over vectors
    /// and threads, and arrays without elements. The tests derive non-contiguous views from them.
    #[cfg(test)]
    fn cases() -> Vec<Self>;

    /// Whether the kernel accepts half precision.
    #[cfg(test)]
    const HALF: bool = true;

    /// Called once the operands have the dtype and layout of a test: gives storages of their own to
    /// those that the kernel changes in place, and computes those that follow from others.
    #[cfg(test)]
    fn prepare(&mut self) {}

    /// The arrays that tests compare after the kernel has returned `out`: its arrays, and the
    /// operands that it changes in place.
    #[cfg(test)]
    fn results(&self, out: &Self::Out) -> Vec<Array> {
        let mut all = Vec::new();
        out.each(&mut |array| all.push(array.clone()));
        all.extend(self.changed().into_iter().cloned());
        all
    }
}

/// Runs a kernel with the implementation for the device and dtype of its first operand.
///
/// # Errors
/// If the operands are on several devices or do not fit together, or if memory is short.
pub(crate) fn run<K: Kernel>(kernel: &K) -> Result<K::Out> {
    let mut first = None;
    let mut elsewhere = None;
    kernel.each(&mut |array| match first {
        None => first = Some(array),
        Some(first) if !first.device().same_device(&array.device()) => elsewhere = Some(array),
        Some(_) => {}
    });
    let Some(first) = first else { return Err(no_operands(K::NAME)) };
    if let Some(other) = elsewhere {
        return Err(two_devices(K::NAME, first, other));
    }
    kernel.check()?;
    match first.device() {
        Device::Cpu => on_cpu(kernel, first),
        #[cfg(feature = "cuda")]
        Device::Cuda(gpu) => {
            check_dtypes(kernel)?;
            kernel.cuda(&gpu)
        }
    }
}

// These are not generic, since each kernel would have a copy of them.

#[cold]
fn no_operands(name: &str) -> Error {
    Error::Invalid(format!("{name}: there is nothing to compute with"))
}

#[cold]
fn two_devices(name: &str, first: &Array, other: &Array) -> Error {
    let (a, b) = (first.device().name(), other.device().name());
    Error::Invalid(format!(
        "{name}: one tensor is on {a}, another one on {b}: move one of them with `to`"
    ))
}

/// Checks that all floating-point operands have one dtype: kernels for GPUs read them by the dtype
/// of the first one.
#[cfg(feature = "cuda")]
fn check_dtypes<K: Kernel>(kernel: &K) -> Result<()> {
    let mut dtypes = Vec::new();
    kernel.each(&mut |array| dtypes.extend(Some(array.dtype()).filter(DType::is_float)));
    match dtypes.iter().find(|dtype| **dtype != dtypes[0]) {
        Some(other) => {
            bail!(
                "{}: one tensor is {}, another one {}",
                K::NAME,
                dtypes[0].as_str(),
                other.as_str()
            )
        }
        None => Ok(()),
    }
}

fn on_cpu<K: Kernel>(kernel: &K, first: &Array) -> Result<K::Out> {
    let other = match first.dtype() {
        DType::F32 => return kernel.cpu::<f32>(),
        DType::F64 => return kernel.cpu::<f64>(),
        DType::U8 => kernel.cpu_other::<u8>(),
        DType::U32 => kernel.cpu_other::<u32>(),
        DType::I64 => kernel.cpu_other::<i64>(),
        DType::F16 => kernel.cpu_other::<f16>(),
        DType::BF16 => kernel.cpu_other::<bf16>(),
        _ => None,
    };
    other.unwrap_or_else(|| {
        prepare_reference(K::NAME, first)?;
        kernel.reference()
    })
}

/// Runs the CPU implementation in f32 for operands of the half-precision `dtype`, whose sums would
/// lose too much; `narrow` then selects the arrays of the result that become `dtype` again.
///
/// # Errors
/// If `dtype` is another one.
#[inline(never)] // one copy for all dtypes
pub(crate) fn in_f32<K: Kernel>(
    kernel: &K,
    dtype: DType,
    narrow: impl FnOnce(&mut K::Out, &mut dyn FnMut(&mut Array)),
) -> Result<K::Out> {
    if !matches!(dtype, DType::F16 | DType::BF16) {
        return Err(not_floats(K::NAME));
    }
    let mut wide = kernel.clone();
    convert(dtype, DType::F32, |f| wide.each_mut(f))?;
    let mut out = wide.cpu::<f32>()?;
    convert(DType::F32, dtype, |f| narrow(&mut out, f))?;
    Ok(out)
}

#[cold]
fn not_floats(name: &str) -> Error {
    Error::Invalid(format!("{name}: floating-point numbers are needed"))
}

/// Converts those of the arrays that `each` visits that have the dtype `from`.
fn convert(from: DType, to: DType, each: impl FnOnce(&mut dyn FnMut(&mut Array))) -> Result<()> {
    let mut failed = None;
    each(&mut |array| {
        if array.dtype() == from && failed.is_none() {
            match array.to_dtype(to) {
                Ok(converted) => *array = converted,
                Err(error) => failed = Some(error),
            }
        }
    });
    failed.map_or(Ok(()), Err)
}

/// A kernel that ran without its own implementation for a device and dtype.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fallback {
    /// The name of the kernel.
    pub kernel: &'static str,
    /// The kind of device: `cpu` or `cuda`.
    pub device: &'static str,
    /// The dtype of the first operand, such as `f16`.
    pub dtype: &'static str,
}

static FALLBACKS: Mutex<BTreeMap<Fallback, u64>> = Mutex::new(BTreeMap::new());

/// Counts a kernel that runs by its reference, and checks that memory suffices.
#[cold]
fn prepare_reference(kernel: &'static str, first: &Array) -> Result<()> {
    let key = Fallback { kernel, device: "cpu", dtype: first.dtype().as_str() };
    *FALLBACKS.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += 1;
    // candle does not check the available memory: reserve for a contiguous copy of the operand and
    // for the result
    alloc::check_like(first, first.dtype(), 2)
}

/// The kernels that ran without their own implementation since the start of the program, and how
/// often each did.
pub fn fallbacks() -> Vec<(Fallback, u64)> {
    let all = FALLBACKS.lock().unwrap_or_else(PoisonError::into_inner);
    all.iter().map(|(fallback, count)| (*fallback, *count)).collect()
}

impl Arrays for Array {
    fn each<'a>(&'a self, f: &mut dyn FnMut(&'a Array)) {
        f(self);
    }

    fn each_mut(&mut self, f: &mut dyn FnMut(&mut Array)) {
        f(self);
    }
}

impl Arrays for () {
    fn each<'a>(&'a self, _: &mut dyn FnMut(&'a Array)) {}

    fn each_mut(&mut self, _: &mut dyn FnMut(&mut Array)) {}
}

impl Arrays for f64 {
    fn each<'a>(&'a self, _: &mut dyn FnMut(&'a Array)) {}

    fn each_mut(&mut self, _: &mut dyn FnMut(&mut Array)) {}
}

impl<A: Arrays> Arrays for Option<A> {
    fn each<'a>(&'a self, f: &mut dyn FnMut(&'a Array)) {
        self.iter().for_each(|array| array.each(f));
    }

    fn each_mut(&mut self, f: &mut dyn FnMut(&mut Array)) {
        self.iter_mut().for_each(|array| array.each_mut(f));
    }
}

impl<A: Arrays> Arrays for Vec<A> {
    fn each<'a>(&'a self, f: &mut dyn FnMut(&'a Array)) {
        self.iter().for_each(|array| array.each(f));
    }

    fn each_mut(&mut self, f: &mut dyn FnMut(&mut Array)) {
        self.iter_mut().for_each(|array| array.each_mut(f));
    }
}

impl<A: Arrays, const N: usize> Arrays for [A; N] {
    fn each<'a>(&'a self, f: &mut dyn FnMut(&'a Array)) {
        self.iter().for_each(|array| array.each(f));
    }

    fn each_mut(&mut self, f: &mut dyn FnMut(&mut Array)) {
        self.iter_mut().for_each(|array| array.each_mut(f));
    }
}

impl<A: Arrays, B: Arrays> Arrays for (A, B) {
    fn each<'a>(&'a self, f: &mut dyn FnMut(&'a Array)) {
        self.0.each(f);
        self.1.each(f);
    }

    fn each_mut(&mut self, f: &mut dyn FnMut(&mut Array)) {
        self.0.each_mut(f);
        self.1.each_mut(f);
    }
}

/// Implements [`Arrays`] for structs by visiting the named fields.
macro_rules! arrays {
    ($($Name:ident { $($field:ident),+ })+) => {$(
        impl $crate::kernel::Arrays for $Name {
            fn each<'a>(&'a self, f: &mut dyn FnMut(&'a $crate::Array)) {
                $($crate::kernel::Arrays::each(&self.$field, f);)+
            }

            fn each_mut(&mut self, f: &mut dyn FnMut(&mut $crate::Array)) {
                $($crate::kernel::Arrays::each_mut(&mut self.$field, f);)+
            }
        }
    )+};
}
pub(crate) use arrays;
