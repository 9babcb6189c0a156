//! Values in the memory of a GPU.

use crate::array::HostArray;
use crate::cuda::Gpu;
use crate::error::bail;
use crate::{DType, Result};
use candle_core::Layout;
use std::sync::Arc;

/// A view of values in the memory of a GPU. Cheap to clone.
#[derive(Clone)]
pub struct Array {
    gpu: Arc<Gpu>,
    dtype: DType,
    layout: Layout,
}

impl Array {
    /// Copies values of the host.
    pub fn upload(array: &HostArray, gpu: &Arc<Gpu>) -> Result<Self> {
        bail!("{:?} to cuda:{}: this version cannot compute on GPUs yet", array.dims(), gpu.index())
    }

    /// Copies the values to the host, in row-major order.
    pub fn download(&self) -> Result<HostArray> {
        bail!("{:?} from cuda:{}: this version cannot compute on GPUs yet", self.layout.dims(), self.gpu.index())
    }

    /// Where it is.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// The type of the values.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// How the values lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Another view of the same values.
    pub fn with_layout(&self, layout: Layout) -> Self {
        Self { layout, ..self.clone() }
    }

    /// Whether both are the same view of the same values.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.gpu, &other.gpu) && self.layout == other.layout
    }
}
