//! A GPU, and the registry of open GPUs.

use super::driver::{status, GpuInfo};
use super::failure::failed;
use super::flag::Flag;
use super::modules::Modules;
use crate::error::{bail, size};
use crate::registry::Registry;
use crate::{Error, Result};
use cudarc::driver::{result, sys, CudaContext, CudaStream, DriverError};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

/// A GPU: one context and one stream, for all threads. There is one value for each index.
#[derive(Debug)]
pub struct Gpu {
    info: GpuInfo,
    stream: Arc<CudaStream>,
    /// Bytes of the buffers in use.
    held: AtomicU64,
    modules: Modules,
    flag: Flag,
}

static GPUS: Registry<Gpu> = Registry::new();

/// Returns the GPU with this index.
///
/// # Errors
/// If there is no such GPU, or it cannot be used; the message says why.
pub fn gpu(index: usize) -> Result<Arc<Gpu>> {
    GPUS.get(index, || Gpu::open(index))
}

/// The GPUs that have been used.
pub fn open_gpus() -> Vec<Arc<Gpu>> {
    GPUS.open()
}

impl Gpu {
    fn open(index: usize) -> Result<Self> {
        let status = status();
        let info = status.gpus.get(index);
        let usable = match (info, &status.reason) {
            (Some(info), _) => info.reason().map_or(Ok(info.clone()), Err),
            (None, Some(reason)) => Err(reason.clone()),
            (None, None) => Err(match status.gpus.len() {
                1 => "this machine has 1 GPU".into(),
                count => format!("this machine has {count} GPUs"),
            }),
        };
        let info = match usable {
            Ok(info) => info,
            Err(reason) => bail!("cuda:{index} cannot be used: {reason}"),
        };
        let opened = CudaContext::new(index).and_then(|context| {
            // SAFETY: no array exists yet, and there is one stream, whose order is enough.
            unsafe { context.disable_event_tracking() };
            keep_freed_memory(&context)?;
            Ok((context.new_stream()?, Flag::new()?))
        });
        match opened {
            Ok((stream, flag)) => {
                let (held, modules) = (AtomicU64::new(0), Modules::default());
                Ok(Self { info, stream, held, modules, flag })
            }
            Err(error) => Err(failed(index, "it cannot be opened", error)),
        }
    }

    /// The index of the GPU in the driver's order.
    pub fn index(&self) -> usize {
        self.info.index
    }

    /// Bytes of the arrays on this GPU.
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// The share of the GPU's memory that its arrays have, from 0 to 1.
    pub fn share_held(&self) -> f64 {
        self.held() as f64 / self.info.bytes.max(1) as f64
    }

    pub(super) fn count(&self, bytes: u64) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn uncount(&self, bytes: u64) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Checks that `bytes` can be allocated for `what`, if they are many; the allocation of few
    /// fails by itself.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] with the bytes that are needed and available.
    pub fn check_memory(&self, what: &str, bytes: u64) -> Result<()> {
        if bytes < MANY || bytes <= self.available() {
            return Ok(());
        }
        // memory that was freed is available once the work before has been done
        if self.stream.synchronize().is_ok() && bytes <= self.available() {
            return Ok(());
        }
        Err(self.out_of_memory(what, bytes))
    }

    /// Bytes that can be allocated: what the driver has, and what the pool has kept.
    pub fn available(&self) -> u64 {
        let context = self.stream.context();
        let free = context.mem_get_info().map_or(0, |(free, _)| free as u64);
        free + kept_bytes(context).unwrap_or(0)
    }

    /// Waits for all work, and returns the memory that the pool has kept to the driver.
    pub(super) fn trim(&self) -> std::result::Result<(), DriverError> {
        self.stream.synchronize()?;
        if !self.stream.context().has_async_alloc() {
            return Ok(());
        }
        let pool = pool(self.stream.context())?;
        // SAFETY: the pool belongs to the device.
        unsafe { sys::cuMemPoolTrimTo(pool, 0) }.result()
    }

    /// The error for `what`, which needs `bytes` that cannot be allocated.
    pub(super) fn out_of_memory(&self, what: &str, bytes: u64) -> Error {
        let (index, available) = (self.index(), self.available());
        Error::OutOfMemory(format!(
            "out of memory: {what} needs {}, and {} are available on cuda:{index}",
            size(bytes),
            size(available)
        ))
    }

    /// The number of multiprocessors.
    pub(super) fn processors(&self) -> u32 {
        self.info.processors
    }

    /// The names of the kernels that have been used.
    pub fn used_kernels(&self) -> Vec<String> {
        self.modules.used()
    }

    /// What is known about the GPU.
    pub fn info(&self) -> &GpuInfo {
        &self.info
    }

    pub(super) fn modules(&self) -> &Modules {
        &self.modules
    }

    /// Where kernels report bad values, for their arguments.
    pub(crate) fn flag(&self) -> u64 {
        self.flag.address()
    }

    /// Waits until all work that was started has finished.
    ///
    /// # Errors
    /// If a kernel has failed, or has found a bad value.
    pub fn synchronize(&self) -> Result<()> {
        let failed = |error| self.failed("a kernel has failed", error);
        self.stream.synchronize().map_err(failed)?;
        self.flag.check()
    }

    pub(super) fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    /// The error of a driver call, in words; `what` is what was to be done.
    pub(super) fn failed(&self, what: &str, error: DriverError) -> Error {
        failed(self.index(), what, error)
    }
}

/// Allocations of more bytes than this are checked beforehand.
const MANY: u64 = 64 << 20;

/// The pool from which arrays are allocated.
fn pool(context: &Arc<CudaContext>) -> std::result::Result<sys::CUmemoryPool, DriverError> {
    // SAFETY: the device is that of the context.
    unsafe { result::device::get_default_mem_pool(context.cu_device()) }
}

/// Bytes that the pool has reserved and that no array uses.
fn kept_bytes(context: &Arc<CudaContext>) -> std::result::Result<u64, DriverError> {
    use sys::CUmemPool_attribute_enum as Attribute;
    let pool = pool(context)?;
    let attribute = |which| {
        let mut bytes = 0u64;
        // SAFETY: the attribute is a 64-bit integer.
        unsafe { sys::cuMemPoolGetAttribute(pool, which, (&raw mut bytes).cast()) }.result()?;
        Ok(bytes)
    };
    let reserved = attribute(Attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT)?;
    Ok(reserved.saturating_sub(attribute(Attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT)?))
}

/// Lets the memory pool keep what is freed for later arrays: by default each synchronisation would
/// return it to the system.
fn keep_freed_memory(context: &Arc<CudaContext>) -> std::result::Result<(), DriverError> {
    if !context.has_async_alloc() {
        return Ok(());
    }
    let mut threshold = u64::MAX;
    // SAFETY: the pool belongs to the device of the context; the attribute is a 64-bit integer.
    unsafe {
        sys::cuMemPoolSetAttribute(
            pool(context)?,
            sys::CUmemPool_attribute_enum::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD,
            (&raw mut threshold).cast(),
        )
        .result()
    }
}
