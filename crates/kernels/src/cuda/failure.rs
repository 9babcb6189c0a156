//! Errors of the driver.

use crate::Error;
use cudarc::driver::DriverError;

/// The error of a driver call on the GPU `index`, in words; `what` is what was to be done.
#[cold]
pub(super) fn failed(index: usize, what: &str, error: DriverError) -> Error {
    Error::Device(format!(
        "cuda:{index}: {what}: {error:?}. After such an error this process may not be able to use \
         the GPU: start it again, and see whether `nvidia-smi` shows the GPU as healthy"
    ))
}
