//! What a kernel is, and which of its twins runs.
//!
//! A kernel is a value: its operands and settings. It has twins, which compute the same on different devices and types, and
//! a plain reference, which tests compare them with. [`run`] chooses, and is the only place that does.

use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::memory::alloc;
use crate::{Array, DType, Device, Element, Result};
use half::{bf16, f16};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

#[cfg(feature = "cuda")]
use crate::cuda::Gpu;

/// The arrays in a value, in a fixed order.
pub trait Arrays {
    /// Calls `f` with each.
    fn each<'a>(&'a self, f: &mut dyn FnMut(&'a Array));
    /// Calls `f` with each, which may put another one in its place.
    fn each_mut(&mut self, f: &mut dyn FnMut(&mut Array));
}

/// An operation on arrays.
pub(crate) trait Kernel: Arrays + Clone {
    /// The name, by which [`fallbacks`] count.
    const NAME: &'static str;
    /// What it gives.
    type Out: Arrays;

    /// An error where the operands do not fit: their shapes and types, for all devices.
    fn check(&self) -> Result<()>;

    /// By candle's unfused operations, on the host, in every type: what the twins are tested against, and what runs where
    /// there is none.
    fn reference(&self) -> Result<Self::Out>;

    /// On the processor, where the first operand is f32 or f64.
    fn cpu<T: Blas>(&self) -> Result<Self::Out>;

    /// On the processor, where the first operand is of another type; `None` where that is left to the reference.
    fn cpu_other<T: Element>(&self) -> Option<Result<Self::Out>> {
        None
    }

    /// On a GPU of NVIDIA: [`through_host`] where there is no such twin yet.
    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Gpu) -> Result<Self::Out>;

    /// What the twins are tested with, in f64: odd sizes, those that vectors and threads cut in pieces, none. Views of
    /// them are made by the tests.
    #[cfg(test)]
    fn cases() -> Vec<Self>;
}

/// What a kernel gives, by the twin for the device and type of its first operand.
///
/// # Errors
/// Where the operands are on several devices or do not fit, and where memory is short.
pub(crate) fn run<K: Kernel>(kernel: &K) -> Result<K::Out> {
    let mut first = None;
    let mut elsewhere = None;
    kernel.each(&mut |array| match first {
        None => first = Some(array),
        Some(first) if !first.device().same_device(&array.device()) => elsewhere = Some(array),
        Some(_) => {}
    });
    let Some(first) = first else { bail!("{}: there is nothing to compute with", K::NAME) };
    if let Some(other) = elsewhere {
        let (a, b) = (first.device().name(), other.device().name());
        bail!("{}: one tensor is on {a}, another one on {b}: move one of them with `to`", K::NAME);
    }
    kernel.check()?;
    match first.device() {
        Device::Cpu => on_cpu(kernel, first),
        #[cfg(feature = "cuda")]
        Device::Cuda(gpu) => kernel.cuda(&gpu),
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
        note_fallback(K::NAME, "cpu", first.dtype());
        // candle does not look whether there is room: for a copy in row-major order, and for the result
        alloc::check_like(first, first.dtype(), 2)?;
        kernel.reference()
    })
}

/// [`run`] on the host for operands on a GPU: two copies, which is slow, and counted.
#[cfg(feature = "cuda")]
pub(crate) fn through_host<K: Kernel>(kernel: &K) -> Result<K::Out> {
    let (mut on_host, mut device, mut dtype, mut failed) = (kernel.clone(), Device::Cpu, None, None);
    on_host.each_mut(&mut |array| {
        dtype.get_or_insert(array.dtype());
        device = array.device();
        match array.to_device(&Device::Cpu) {
            Ok(copy) => *array = copy,
            Err(error) => failed = Some(error),
        }
    });
    if let Some(dtype) = dtype {
        note_fallback(K::NAME, "cuda", dtype);
    }
    let mut out = match failed {
        Some(error) => return Err(error),
        None => run(&on_host)?,
    };
    let mut failed = None;
    out.each_mut(&mut |array| match array.to_device(&device) {
        Ok(copy) => *array = copy,
        Err(error) => failed = Some(error),
    });
    failed.map_or(Ok(out), Err)
}

/// A kernel that ran without a twin of its own for a device and type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fallback {
    /// The name of the kernel.
    pub kernel: &'static str,
    /// The kind of device.
    pub device: &'static str,
    /// The type of the first operand, such as `f16`.
    pub dtype: &'static str,
}

static FALLBACKS: Mutex<BTreeMap<Fallback, u64>> = Mutex::new(BTreeMap::new());

#[cold]
fn note_fallback(kernel: &'static str, device: &'static str, dtype: DType) {
    let key = Fallback { kernel, device, dtype: dtype.as_str() };
    *FALLBACKS.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default() += 1;
}

/// The kernels that ran without a twin of their own since the program began, and how often.
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

/// Implements [`Arrays`] for structs, by their fields that have arrays.
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

/// The twin for CUDA of kernels that have none yet.
macro_rules! no_cuda {
    () => {
        #[cfg(feature = "cuda")]
        fn cuda(&self, _: &$crate::cuda::Gpu) -> $crate::Result<Self::Out> {
            $crate::kernel::through_host(self)
        }
    };
}
pub(crate) use no_cuda;
