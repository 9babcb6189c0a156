//! Arrays in the memory of a GPU.

use crate::array::HostArray;
use crate::cuda::Gpu;
use crate::error::bail;
use crate::{DType, Result};
use candle_core::Layout;
use std::sync::Arc;

/// A view of values in the memory of a GPU. A clone is cheap and shares them.
#[derive(Clone)]
pub struct Array {
    gpu: Arc<Gpu>,
    dtype: DType,
    layout: Layout,
}

impl Array {
    /// Copies a host array to the GPU.
    ///
    /// # Errors
    /// Always in this version.
    pub fn upload(array: &HostArray, gpu: &Arc<Gpu>) -> Result<Self> {
        bail!("{:?} to cuda:{}: this version cannot compute on GPUs yet", array.dims(), gpu.index())
    }

    /// Copies the values to the host, in row-major order.
    ///
    /// # Errors
    /// Always in this version.
    pub fn download(&self) -> Result<HostArray> {
        bail!(
            "{:?} from cuda:{}: this version cannot compute on GPUs yet",
            self.layout.dims(),
            self.gpu.index()
        )
    }

    /// The GPU that has the values.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// The dtype of the values.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The shape, strides and offset of the view.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Returns another view of the same values.
    pub fn with_layout(&self, layout: Layout) -> Self {
        Self { layout, ..self.clone() }
    }

    /// Whether both are the same view of the same values.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.gpu, &other.gpu) && self.layout == other.layout
    }
}
