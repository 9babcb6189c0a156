//! Devices. A device index always refers to the same device.

#[cfg(feature = "cuda")]
use crate::cuda::{self, Gpu};
use crate::Result;
#[cfg(feature = "cuda")]
use std::sync::Arc;

/// A device that stores arrays and computes with them. A clone is cheap and refers to the same
/// device.
#[derive(Clone, Debug)]
pub enum Device {
    /// The CPU and its memory, the host.
    Cpu,
    /// An NVIDIA GPU.
    #[cfg(feature = "cuda")]
    Cuda(Arc<Gpu>),
}

impl Device {
    /// The GPU with this index. The same index always refers to the same device.
    ///
    /// # Errors
    /// If there is no such GPU, or this build does not support GPUs.
    #[cfg(feature = "cuda")]
    pub fn cuda(index: usize) -> Result<Self> {
        Ok(Self::Cuda(cuda::gpu(index)?))
    }

    /// Always an error: this build has no GPU support.
    #[cfg(not(feature = "cuda"))]
    pub fn cuda(index: usize) -> Result<Self> {
        let build =
            if cfg!(target_family = "wasm") { "WebAssembly" } else { "this build of the addon" };
        crate::error::bail!("cuda:{index} cannot be used: {build} computes on the CPU only")
    }

    /// Whether this is the host.
    pub fn is_cpu(&self) -> bool {
        matches!(self, Self::Cpu)
    }

    /// Whether both are the same device, so that their arrays can be operands of one operation.
    pub fn same_device(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Cpu, Self::Cpu) => true,
            #[cfg(feature = "cuda")]
            (Self::Cuda(a), Self::Cuda(b)) => Arc::ptr_eq(a, b),
            #[cfg(feature = "cuda")]
            _ => false,
        }
    }

    /// The name of the device: `cpu`, or `cuda:` and the index.
    pub fn name(&self) -> String {
        match self {
            Self::Cpu => "cpu".into(),
            #[cfg(feature = "cuda")]
            Self::Cuda(gpu) => format!("cuda:{}", gpu.index()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_is_an_error() {
        let message = Device::cuda(1000).unwrap_err().to_string();
        assert!(message.contains("cuda:1000"), "{message}");
        assert!(Device::Cpu.same_device(&Device::Cpu) && Device::Cpu.name() == "cpu");
    }
}
