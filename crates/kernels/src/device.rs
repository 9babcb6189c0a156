//! Devices, and the registry that gives each of them once.

#[cfg(feature = "cuda")]
use crate::cuda::{self, Gpu};
use crate::Result;
#[cfg(feature = "cuda")]
use std::sync::Arc;

/// Where arrays live and are computed with. Cheap to clone: a clone is the same device.
#[derive(Clone, Debug)]
pub enum Device {
    /// The processor and its memory: the host.
    Cpu,
    /// A GPU of NVIDIA.
    #[cfg(feature = "cuda")]
    Cuda(Arc<Gpu>),
}

impl Device {
    /// The GPU with this index, always the same device for the same index.
    ///
    /// # Errors
    /// Where there is no such GPU, or this build knows none.
    #[cfg(feature = "cuda")]
    pub fn cuda(index: usize) -> Result<Self> {
        Ok(Self::Cuda(cuda::gpu(index)?))
    }

    /// The GPU with this index: this build knows none, so that it is always an error.
    #[cfg(not(feature = "cuda"))]
    pub fn cuda(index: usize) -> Result<Self> {
        crate::error::bail!("cuda:{index}: this build computes on the CPU only")
    }

    /// Whether this is the host.
    pub fn is_cpu(&self) -> bool {
        matches!(self, Self::Cpu)
    }

    /// Whether arrays of both can be operands of one operation.
    pub fn same_device(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Cpu, Self::Cpu) => true,
            #[cfg(feature = "cuda")]
            (Self::Cuda(a), Self::Cuda(b)) => Arc::ptr_eq(a, b),
            #[cfg(feature = "cuda")]
            _ => false,
        }
    }

    /// `cpu`, or `cuda:` and the index.
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
    fn a_build_without_gpus_says_so() {
        let message = Device::cuda(0).unwrap_err().to_string();
        assert!(message.contains("cuda:0"), "{message}");
        assert!(Device::Cpu.same_device(&Device::Cpu) && Device::Cpu.name() == "cpu");
    }
}
