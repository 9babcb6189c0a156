//! Memory of a GPU.

use super::gpu::Gpu;
use crate::array::Element;
use crate::memory::alloc::with_capacity;
use crate::Result;
use cudarc::driver::{result, sys, CudaSlice, DevicePtr};
use std::sync::Arc;

/// Bytes in the memory of a GPU, which are freed with the last array that has them, after the work
/// that was started before.
pub(super) struct Buffer {
    gpu: Arc<Gpu>,
    /// `None` without any bytes: the driver allocates no empty blocks.
    bytes: Option<CudaSlice<u8>>,
}

impl Buffer {
    /// Bytes that are still to be written.
    ///
    /// # Errors
    /// If the GPU's memory does not suffice.
    pub fn uninit(gpu: &Arc<Gpu>, bytes: usize) -> Result<Self> {
        if bytes == 0 {
            return Ok(Self { gpu: gpu.clone(), bytes: None });
        }
        // SAFETY: who asks for them writes the bytes before anything reads them.
        let alloc = || unsafe { gpu.stream().alloc::<u8>(bytes) };
        // once more without what the pool keeps in other sizes
        let slice = alloc().or_else(|_| gpu.trim().and_then(|()| alloc()));
        let slice = slice.map_err(|error| match error.0 {
            sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => gpu.out_of_memory("an array", bytes as u64),
            _ => gpu.failed("memory cannot be allocated", error),
        })?;
        gpu.count(bytes as u64);
        Ok(Self { gpu: gpu.clone(), bytes: Some(slice) })
    }

    /// A copy of bytes of the host.
    ///
    /// # Errors
    /// If the GPU's memory does not suffice.
    pub fn upload(gpu: &Arc<Gpu>, bytes: &[u8]) -> Result<Self> {
        let buffer = Self::uninit(gpu, bytes.len())?;
        let Some(own) = &buffer.bytes else { return Ok(buffer) };
        let stream = gpu.stream();
        let failed = |error| gpu.failed("a copy to the GPU failed", error);
        stream.context().bind_to_thread().map_err(failed)?;
        // SAFETY: the block has as many bytes, and both live until the stream has done its work,
        // which is awaited: the driver need not have read pageable memory when the call returns.
        let copied = unsafe {
            result::memcpy_htod_async(own.device_ptr(stream).0, bytes, stream.cu_stream())
        };
        copied.and_then(|()| stream.synchronize()).map_err(failed)?;
        Ok(buffer)
    }

    /// The address of the first byte; `None` without any.
    pub fn address(&self) -> Option<u64> {
        self.bytes.as_ref().map(|bytes| bytes.device_ptr(self.gpu.stream()).0)
    }

    /// The number of bytes.
    pub fn size(&self) -> usize {
        self.bytes.as_ref().map_or(0, CudaSlice::len)
    }

    /// Copies the values in `range`, as elements of the type `T`, to the host after all earlier
    /// work.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`] if the host's memory does not suffice; if the copy fails, or a
    /// kernel before it has failed.
    pub fn download<T: Element>(&self, range: std::ops::Range<usize>) -> Result<Vec<T>> {
        let (Some(bytes), false) = (&self.bytes, range.is_empty()) else { return Ok(Vec::new()) };
        let mut values = with_capacity::<T>(range.len())?;
        let stream = self.gpu.stream();
        let failed = |error| self.gpu.failed("a copy from the GPU failed", error);
        stream.context().bind_to_thread().map_err(failed)?;
        let from = bytes.device_ptr(stream).0 + (range.start * size_of::<T>()) as u64;
        let to = &mut values.spare_capacity_mut()[..range.len()];
        // SAFETY: both places have the bytes of the range, and live until the stream has done its
        // work, which is awaited; they are written then, and any bytes are a number.
        unsafe {
            result::memcpy_dtoh_async(to, from, stream.cu_stream()).map_err(failed)?;
            self.gpu.synchronize()?;
            values.set_len(range.len());
        }
        Ok(values)
    }

    /// The GPU that has the bytes.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(bytes) = self.bytes.take() {
            self.gpu.uncount(bytes.len() as u64);
            // cudarc frees it without this; an error is that of the next call
            let context = self.gpu.stream().context();
            context.record_err(context.bind_to_thread());
        }
    }
}
