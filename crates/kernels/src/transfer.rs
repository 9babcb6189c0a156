//! Copies of arrays between the host and other devices.

use crate::array::{Element, HostArray};
#[cfg(feature = "cuda")]
use crate::cuda;
#[cfg(feature = "cuda")]
use crate::ops::layout::contiguous;
use crate::{Array, DType, Device, Result, Shape};
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of the copies between the host and other devices. Each copy waits until the device has
/// finished all earlier work.
static DOWNLOADS: AtomicU64 = AtomicU64::new(0);
static UPLOADS: AtomicU64 = AtomicU64::new(0);

/// Number of copies between the host and other devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transfers {
    /// Copies from a device to the host.
    pub downloads: u64,
    /// Copies from the host to a device.
    pub uploads: u64,
}

/// Returns the number of transfers since the start of the program.
pub fn transfers() -> Transfers {
    Transfers {
        downloads: DOWNLOADS.load(Ordering::Relaxed),
        uploads: UPLOADS.load(Ordering::Relaxed),
    }
}

impl Array {
    /// Creates an array from values in row-major order.
    ///
    /// # Errors
    /// If `values` does not have as many elements as `shape`.
    pub fn from_vec<T: Element>(
        values: Vec<T>,
        shape: impl Into<Shape>,
        device: &Device,
    ) -> Result<Self> {
        Self::upload(HostArray::from_vec(values, shape.into(), &candle_core::Device::Cpu)?, device)
    }

    /// Creates an array from a copy of values in row-major order.
    ///
    /// # Errors
    /// As for [`Array::from_vec`].
    pub fn from_slice<T: Element>(
        values: &[T],
        shape: impl Into<Shape>,
        device: &Device,
    ) -> Result<Self> {
        Self::upload(
            HostArray::from_slice(values, shape.into(), &candle_core::Device::Cpu)?,
            device,
        )
    }

    /// Creates a vector, an array of rank 1, from a copy of `values`.
    ///
    /// # Errors
    /// If memory on the device cannot be allocated.
    pub fn new<T: Element>(values: &[T], device: &Device) -> Result<Self> {
        Self::from_slice(values, values.len(), device)
    }

    /// Creates an array from the bytes of its values in row-major order and native byte order.
    ///
    /// # Errors
    /// As for [`Array::from_vec`].
    pub fn from_raw_buffer(
        bytes: &[u8],
        dtype: DType,
        shape: &[usize],
        device: &Device,
    ) -> Result<Self> {
        Self::upload(
            HostArray::from_raw_buffer(bytes, dtype, shape, &candle_core::Device::Cpu)?,
            device,
        )
    }

    /// Moves a host array to `device`. All uploads go through this function, so that they are
    /// counted.
    pub(crate) fn upload(array: HostArray, device: &Device) -> Result<Self> {
        match device {
            Device::Cpu => Ok(array.into()),
            #[cfg(feature = "cuda")]
            Device::Cuda(gpu) => {
                UPLOADS.fetch_add(1, Ordering::Relaxed);
                Ok(cuda::Array::upload(&array, gpu)?.into())
            }
        }
    }

    /// Copies the array to the host; a host array is returned without a copy. All downloads go
    /// through this function, so that they are counted.
    pub(crate) fn download(&self) -> Result<HostArray> {
        match self.device() {
            Device::Cpu => Ok(self.host()?.clone()),
            #[cfg(feature = "cuda")]
            Device::Cuda(_) => {
                // the GPU puts the elements of a view together: the copy has no others
                let x = contiguous(self)?;
                DOWNLOADS.fetch_add(1, Ordering::Relaxed);
                x.cuda()?.download()
            }
        }
    }

    /// Copies the array to `device`. Returns a clone if it is already there.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        if self.device().same_device(device) {
            return Ok(self.clone());
        }
        Self::upload(self.download()?, device)
    }

    /// Copies a vector to the host.
    ///
    /// # Errors
    /// If the rank is not 1, or the dtype is not that of `T`.
    pub fn to_vec1<T: Element>(&self) -> Result<Vec<T>> {
        Ok(self.download()?.to_vec1()?)
    }

    /// Copies the rows of a matrix to the host; errors as for [`Array::to_vec1`].
    pub fn to_vec2<T: Element>(&self) -> Result<Vec<Vec<T>>> {
        Ok(self.download()?.to_vec2()?)
    }

    /// Copies an array of rank 3 to the host; errors as for [`Array::to_vec1`].
    pub fn to_vec3<T: Element>(&self) -> Result<Vec<Vec<Vec<T>>>> {
        Ok(self.download()?.to_vec3()?)
    }

    /// Copies the value of a scalar (rank 0) to the host; errors as for [`Array::to_vec1`].
    pub fn to_scalar<T: Element>(&self) -> Result<T> {
        Ok(self.download()?.to_scalar()?)
    }
}
