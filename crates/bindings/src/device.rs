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
    Device::cuda(index).map_err(|error| Error::Unsupported(error.to_string()))
}
