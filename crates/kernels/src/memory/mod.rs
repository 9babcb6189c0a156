//! Accounting of memory: how much is in use and how much is available. The Node addon and the
//! WebAssembly module set [`Counting`] as their global allocator.

pub mod alloc;
#[cfg(target_os = "linux")]
pub mod blocks;
mod counters;
mod counting;
#[cfg(not(target_family = "wasm"))]
mod limits;
#[cfg(target_os = "linux")]
mod pages;
mod shortage;

use crate::error::size;
use crate::{Device, Error, Result};

pub(crate) use counters::count_kept;
pub use counters::{failed, held, in_use, kept};
pub use counting::Counting;
pub use shortage::available;

/// The largest size of one array, in bytes.
pub(crate) fn largest() -> u64 {
    available().min(isize::MAX as u64)
}

/// Checks that `needed` bytes are available for `what`, which is named in the message.
///
/// # Errors
/// [`Error::OutOfMemory`] if they are not.
pub fn check(what: &str, needed: u64) -> Result<()> {
    if shortage::fits(needed) {
        return Ok(());
    }
    Err(out_of_memory(what, needed))
}

/// Bytes of the arrays on all GPUs.
pub fn gpu_held() -> u64 {
    #[cfg(feature = "cuda")]
    let bytes = crate::cuda::open_gpus().iter().map(|gpu| gpu.held()).sum();
    #[cfg(not(feature = "cuda"))]
    let bytes = 0;
    bytes
}

/// What to report to a garbage collector for arrays on GPUs, in bytes: a full GPU counts as much as
/// some GiB of the host. All bytes of a large GPU would have it collect without end.
#[cfg(feature = "cuda")]
pub fn gpu_pressure() -> i64 {
    const FULL: f64 = (4u64 << 30) as f64;
    crate::cuda::open_gpus().iter().map(|gpu| (gpu.share_held() * FULL) as i64).sum()
}

/// No bytes: this build does not support GPUs.
#[cfg(not(feature = "cuda"))]
pub fn gpu_pressure() -> i64 {
    0
}

/// [`check`] for memory of `device`.
///
/// # Errors
/// As for [`check`].
pub fn check_on(device: &Device, what: &str, needed: u64) -> Result<()> {
    match device {
        Device::Cpu => check(what, needed),
        #[cfg(feature = "cuda")]
        Device::Cuda(gpu) => gpu.check_memory(what, needed),
    }
}

/// The error for `what`, which needs `needed` bytes. It also says how many bytes are available.
pub(crate) fn out_of_memory(what: &str, needed: u64) -> Error {
    let left = largest();
    let pieces = if left < needed { "" } else { ", but not in one piece" };
    Error::OutOfMemory(format!(
        "out of memory: {what} needs {}, and {} are available{pieces}",
        size(needed),
        size(left)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_needed() {
        assert!(check("a model", 1 << 20).is_ok());
        let text = out_of_memory("a model", 5 << 30).to_string();
        assert!(
            text.starts_with("out of memory: ") && text.contains("a model needs 5.0 GiB"),
            "{text}"
        );
        assert_eq!(size(1), "1 MiB");
    }
}
