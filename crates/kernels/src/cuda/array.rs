//! Arrays in the memory of a GPU.

use super::buffer::Buffer;
use super::gpu::Gpu;
use crate::array::{Element, HostArray};
use crate::error::bail;
use crate::host;
use crate::{DType, Result, Shape};
use candle_core::Layout;
use half::{bf16, f16};
use std::sync::Arc;

/// A view of values in the memory of a GPU. A clone is cheap and shares them.
#[derive(Clone)]
pub struct Array {
    buffer: Arc<Buffer>,
    dtype: DType,
    layout: Layout,
    /// The least and the greatest of the integers that were uploaded, of which this may be a part;
    /// `None` for other dtypes, for computed values, and without any.
    bounds: Option<(i64, i64)>,
}

impl Array {
    /// Copies a host array to the GPU.
    ///
    /// # Errors
    /// If the GPU's memory does not suffice.
    pub fn upload(array: &HostArray, gpu: &Arc<Gpu>) -> Result<Self> {
        let is_integer = array.dtype() == DType::I64;
        let (buffer, bounds) = host::with_bytes(array, |bytes| {
            Ok((Buffer::upload(gpu, bytes)?, is_integer.then(|| bounds(bytes)).flatten()))
        })?;
        let layout = Layout::contiguous(array.dims());
        Ok(Self { buffer: Arc::new(buffer), dtype: array.dtype(), layout, bounds })
    }

    /// An array whose values are still to be written by a kernel.
    ///
    /// # Errors
    /// If the GPU's memory does not suffice.
    pub fn uninit(gpu: &Arc<Gpu>, dtype: DType, shape: impl Into<Shape>) -> Result<Self> {
        let layout = Layout::contiguous(shape);
        let Some(bytes) = layout.shape().elem_count().checked_mul(dtype.size_in_bytes()) else {
            bail!("an array of shape {:?} is too large", layout.dims());
        };
        let buffer = Arc::new(Buffer::uninit(gpu, bytes)?);
        Ok(Self { buffer, dtype, layout, bounds: None })
    }

    /// The address of the first value of the view, for arguments of kernels; 0 without any.
    pub(crate) fn address(&self) -> u64 {
        let start = self.layout.start_offset() * self.dtype.size_in_bytes();
        self.buffer.address().map_or(0, |address| address + start as u64)
    }

    /// Copies the values of a contiguous view to the host, after all earlier work.
    ///
    /// # Errors
    /// [`crate::Error::OutOfMemory`] if the host's memory does not suffice; if the copy fails, or a
    /// kernel before it has failed.
    pub fn download(&self) -> Result<HostArray> {
        match self.dtype {
            DType::U8 => self.read::<u8>(),
            DType::U32 => self.read::<u32>(),
            DType::I64 => self.read::<i64>(),
            DType::F16 => self.read::<f16>(),
            DType::BF16 => self.read::<bf16>(),
            DType::F32 => self.read::<f32>(),
            DType::F64 => self.read::<f64>(),
            other => bail!("arrays of type {other:?} stay on the CPU"),
        }
    }

    fn read<T: Element>(&self) -> Result<HostArray> {
        let Some((start, end)) = self.layout.contiguous_offsets() else {
            bail!("a contiguous array is needed here, got strides {:?}", self.layout.stride());
        };
        let values = self.buffer.download::<T>(start..end)?;
        Ok(HostArray::from_vec(values, self.layout.shape(), &candle_core::Device::Cpu)?)
    }

    /// The GPU that has the values.
    pub fn gpu(&self) -> &Arc<Gpu> {
        self.buffer.gpu()
    }

    /// The dtype of the values.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The least and the greatest integer of the uploaded array of which this is a view; `None` if
    /// they are not known.
    pub fn bounds(&self) -> Option<(i64, i64)> {
        self.bounds
    }

    /// The same array, of whose integers these bounds are known.
    pub fn with_bounds(self, bounds: Option<(i64, i64)>) -> Self {
        Self { bounds, ..self }
    }

    /// The shape, strides and offset of the view.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Returns another view of the same values.
    pub fn with_layout(&self, layout: Layout) -> Self {
        Self { layout, ..self.clone() }
    }

    /// Whether the view is contiguous and has all values of its storage.
    pub(crate) fn is_whole(&self) -> bool {
        let size = self.layout.shape().elem_count() * self.dtype.size_in_bytes();
        self.layout.is_contiguous() && size == self.buffer.size()
    }

    /// Whether both are the same view of the same values.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.buffer, &other.buffer) && self.layout == other.layout
    }
}

/// The least and the greatest of the 64-bit integers with these bytes.
fn bounds(bytes: &[u8]) -> Option<(i64, i64)> {
    let (values, _) = bytes.as_chunks();
    let values = values.iter().copied().map(i64::from_ne_bytes);
    values.clone().min().zip(values.max())
}
