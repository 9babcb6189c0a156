//! A GPU, and the registry of open GPUs.

use crate::error::bail;
use crate::registry::Registry;
use crate::Result;
use std::sync::Arc;

/// A GPU. There is one value for each index.
#[derive(Debug)]
pub struct Gpu {
    index: usize,
}

static GPUS: Registry<Gpu> = Registry::new();

/// Returns the GPU with this index.
///
/// # Errors
/// If the GPU cannot be opened.
pub fn gpu(index: usize) -> Result<Arc<Gpu>> {
    GPUS.get(index, || Gpu::open(index))
}

impl Gpu {
    /// Opens a GPU: always an error in this version.
    fn open(index: usize) -> Result<Self> {
        let gpu = Self { index };
        bail!("cuda:{}: this version cannot compute on GPUs yet", gpu.index)
    }

    /// The index of the GPU in the driver's order.
    pub fn index(&self) -> usize {
        self.index
    }
}
