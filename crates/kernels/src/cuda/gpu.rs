//! The device.

use crate::error::bail;
use crate::registry::Registry;
use crate::Result;
use std::sync::Arc;

/// A GPU, of which there is one value for each index.
#[derive(Debug)]
pub struct Gpu {
    index: usize,
}

static GPUS: Registry<Gpu> = Registry::new();

/// The GPU with this index.
pub fn gpu(index: usize) -> Result<Arc<Gpu>> {
    GPUS.get(index, || Gpu::open(index))
}

impl Gpu {
    fn open(index: usize) -> Result<Self> {
        let gpu = Self { index };
        bail!("cuda:{}: this version cannot compute on GPUs yet", gpu.index)
    }

    /// Its number, as the driver counts them.
    pub fn index(&self) -> usize {
        self.index
    }
}
