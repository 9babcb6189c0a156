//! The driver: whether there is one that this build can use, and which GPUs it has.

use super::modules::{are_embedded, NO_KERNELS};
use cudarc::driver::{result, sys};
use std::sync::OnceLock;

/// The oldest CUDA version that a driver must support: kernels are compiled to PTX 8.4.
const NEEDED: (i32, i32) = (12, 4);

/// The least compute capability: the kernels are compiled to PTX for it.
pub(super) const CAPABILITY: (i32, i32) = (8, 0);

/// What is known about the GPUs of this machine.
#[derive(Clone, Debug)]
pub struct Status {
    /// The CUDA version that the driver supports, as (major, minor); `None` without a driver.
    pub driver: Option<(i32, i32)>,
    /// The GPUs, in the driver's order.
    pub gpus: Vec<GpuInfo>,
    /// Why no GPU can be used; `None` if one can.
    pub reason: Option<String>,
}

/// A GPU, as the driver describes it.
#[derive(Clone, Debug)]
pub struct GpuInfo {
    /// The index, as in `cuda:0`.
    pub index: usize,
    /// The name of the product.
    pub name: String,
    /// The compute capability, as (major, minor).
    pub capability: (i32, i32),
    /// The size of its memory in bytes.
    pub bytes: u64,
    /// The number of multiprocessors.
    pub processors: u32,
}

impl GpuInfo {
    /// Why this GPU cannot be used; `None` if it can.
    pub fn reason(&self) -> Option<String> {
        let (major, minor) = self.capability;
        (self.capability < CAPABILITY).then(|| {
            format!(
                "{} has compute capability {major}.{minor}; {}.{} is needed",
                self.name, CAPABILITY.0, CAPABILITY.1
            )
        })
    }
}

/// The state of driver and GPUs, which is looked up once.
pub fn status() -> &'static Status {
    static STATUS: OnceLock<Status> = OnceLock::new();
    STATUS.get_or_init(|| look_up(are_embedded()))
}

fn look_up(has_kernels: bool) -> Status {
    let none = |driver, reason: String| Status { driver, gpus: Vec::new(), reason: Some(reason) };
    if !has_kernels {
        return none(None, NO_KERNELS.into());
    }
    // SAFETY: only loads and closes the driver's library. Without this question, cudarc panics
    // where there is none.
    if !unsafe { sys::is_culib_present() } {
        return none(
            None,
            "there is no NVIDIA driver on this machine (its library was not found)".into(),
        );
    }
    if let Err(error) = result::init() {
        return none(None, format!("the NVIDIA driver cannot be used: cuInit failed: {error:?}"));
    }
    let version = match version() {
        Ok(version) => version,
        Err(error) => return none(None, format!("the NVIDIA driver gives no version: {error:?}")),
    };
    if version < NEEDED {
        let (major, minor) = version;
        let text = format!(
            "the NVIDIA driver is too old: it supports CUDA {major}.{minor}, and {}.{} is needed \
             (driver 550 or newer)",
            NEEDED.0, NEEDED.1
        );
        return none(Some(version), text);
    }
    match gpus() {
        Err(error) => none(Some(version), format!("the GPUs cannot be listed: {error:?}")),
        Ok(gpus) if gpus.is_empty() => none(Some(version), "there is no NVIDIA GPU".into()),
        Ok(gpus) => {
            // one that is too old does not stand in the way of another
            let reasons = gpus.iter().map(GpuInfo::reason).collect::<Option<Vec<_>>>();
            let reason = reasons.map(|reasons| reasons.join("; "));
            Status { driver: Some(version), gpus, reason }
        }
    }
}

fn version() -> Result<(i32, i32), result::DriverError> {
    let mut version = 0;
    // SAFETY: writes one integer; the library is present and initialised.
    unsafe { sys::cuDriverGetVersion(&mut version) }.result()?;
    Ok((version / 1000, version % 1000 / 10))
}

fn gpus() -> Result<Vec<GpuInfo>, result::DriverError> {
    let count = result::device::get_count()?;
    let info = |index: i32| {
        let device = result::device::get(index)?;
        use sys::CUdevice_attribute_enum as Attribute;
        // SAFETY: `device` is a device of the driver.
        let (major, minor, processors, bytes) = unsafe {
            (
                result::device::get_attribute(
                    device,
                    Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                )?,
                result::device::get_attribute(
                    device,
                    Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
                )?,
                result::device::get_attribute(
                    device,
                    Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT,
                )?,
                result::device::total_mem(device)?,
            )
        };
        Ok(GpuInfo {
            index: index as usize,
            name: result::device::get_name(device)?,
            capability: (major, minor),
            bytes: bytes as u64,
            processors: processors.max(1) as u32,
        })
    };
    (0..count).map(info).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_kernels_says_so() {
        let status = look_up(false);
        assert_eq!(status.reason.as_deref(), Some(NO_KERNELS));
        assert!(status.driver.is_none() && status.gpus.is_empty());
    }
}
