//! Arrays in the memory of a GPU.

use super::buffer::Buffer;
use super::gpu::Gpu;
use crate::array::HostArray;
use crate::error::bail;
use crate::host;
use crate::{DType, Result, Shape};
use candle_core::Layout;
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
        let buffer = host::with_bytes(array, |bytes| Buffer::upload(gpu, bytes))?;
        let layout = Layout::contiguous(array.dims());
        let bounds = match array.dtype() {
            DType::I64 => bounds(array)?,
            _ => None,
        };
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

    /// Copies the values to the host, in row-major order, after all earlier work.
    ///
    /// # Errors
    /// If the copy fails, or a kernel before it has failed.
    pub fn download(&self) -> Result<HostArray> {
        let size = self.dtype.size_in_bytes();
        let dims = self.layout.dims();
        if self.layout.shape().elem_count() == 0 {
            return Ok(HostArray::from_raw_buffer(
                &[],
                self.dtype,
                dims,
                &candle_core::Device::Cpu,
            )?);
        }
        // from the first element of the view to its last one
        let start = self.layout.start_offset();
        let steps = dims.iter().zip(self.layout.stride()).map(|(n, stride)| (n - 1) * stride);
        let end = start + steps.sum::<usize>() + 1;
        let bytes = self.buffer.download(start * size..end * size)?;
        let bytes = match self.layout.is_contiguous() {
            true => bytes,
            false => {
                let elements = offsets(&self.layout).into_iter().map(|offset| offset * size);
                elements.flat_map(|at| &bytes[at..at + size]).copied().collect()
            }
        };
        Ok(HostArray::from_raw_buffer(&bytes, self.dtype, dims, &candle_core::Device::Cpu)?)
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

/// The least and the greatest integer of a host array.
fn bounds(array: &HostArray) -> Result<Option<(i64, i64)>> {
    let values: Vec<i64> = array.flatten_all()?.to_vec1()?;
    let least = values.iter().copied().min();
    Ok(least.zip(values.iter().copied().max()))
}

/// The offset of each element from the first one, in row-major order.
fn offsets(layout: &Layout) -> Vec<usize> {
    layout.dims().iter().zip(layout.stride()).fold(vec![0], |starts, (size, stride)| {
        starts.iter().flat_map(|start| (0..*size).map(move |i| start + i * stride)).collect()
    })
}
