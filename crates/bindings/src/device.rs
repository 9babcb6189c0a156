//! Names of devices.

use crate::{Error, Result};
use xt_core::Device;

/// Parses a device name: `cpu`, `cuda` or `cuda:N`.
pub fn parse_device(name: &str) -> Result<Device> {
    if name == "cpu" {
        return Ok(Device::Cpu);
    }
    let index = match name.strip_prefix("cuda") {
        Some("") => Some(0),
        Some(rest) => rest.strip_prefix(':').and_then(|n| n.parse().ok()),
        None => None,
    };
    let Some(index) = index else {
        return Err(Error::Shape(format!("`{name}` is no device; allowed: cpu, cuda, cuda:N")));
    };
    if !cfg!(feature = "cuda") {
        let build = if cfg!(target_family = "wasm") {
            "WebAssembly runs"
        } else {
            "this build of the addon runs"
        };
        return Err(Error::NotAvailable(format!("cuda: {build} on the CPU only, so the device")));
    }
    Device::cuda(index).map_err(|e| Error::Shape(format!("{name} cannot be used: {e}")))
}
