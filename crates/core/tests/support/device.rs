//! The device of the tests.

use xt_core::Device;

/// The device that `XT_DEVICE` names: `cpu`, the default, or `cuda`.
///
/// # Panics
/// If there is no such device: a test must not pass without it.
pub fn device() -> Device {
    match std::env::var("XT_DEVICE").as_deref() {
        Err(_) | Ok("cpu") => Device::Cpu,
        Ok("cuda") => Device::cuda(0).unwrap(),
        Ok(other) => panic!("XT_DEVICE is {other:?}, neither \"cpu\" nor \"cuda\""),
    }
}
