//! Bad values that kernels find, such as an index that is out of range. A kernel cannot return an
//! error, so it reports the value here, and the next download fails with it.

use crate::{Error, Result};
use cudarc::driver::{result, sys, DriverError};
use std::ffi::c_void;
use std::ptr::NonNull;

/// What kernels report, as in their `.cu` files; 0 stands for nothing.
mod bad {
    /// An index of an embedding.
    pub const EMBEDDING_INDEX: u32 = 1;
    /// A target of a cross-entropy.
    pub const TARGET: u32 = 2;
    /// An index of `gather`, `index_select` or `scatter_add`.
    pub const INDEX: u32 = 3;
    /// A number that has no 64-bit integer.
    pub const INTEGER: u32 = 4;
}

/// `Flag` in common.cuh.
#[repr(C)]
#[derive(Clone, Copy)]
struct Report {
    kind: u32,
    value: i64,
    limit: i64,
}

/// The first bad value since the last download, in memory of the host that kernels can write to:
/// reading it takes no copy.
#[derive(Debug)]
pub(super) struct Flag {
    report: NonNull<Report>,
    address: u64,
}

// SAFETY: `report` is only accessed by volatile reads and writes, after the stream has finished.
unsafe impl Send for Flag {}
// SAFETY: as for `Send`.
unsafe impl Sync for Flag {}

impl Flag {
    /// Allocates the memory, which lives until the process ends. The context must be current.
    pub fn new() -> std::result::Result<Self, DriverError> {
        let options = sys::CU_MEMHOSTALLOC_DEVICEMAP | sys::CU_MEMHOSTALLOC_PORTABLE;
        // SAFETY: the memory has the size of a report, and is written before it is read.
        unsafe {
            let memory = result::malloc_host(size_of::<Report>(), options)?;
            let report = NonNull::new(memory.cast::<Report>())
                .ok_or(DriverError(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY))?;
            report.write_volatile(Report { kind: 0, value: 0, limit: 0 });
            let mut address = 0;
            sys::cuMemHostGetDevicePointer_v2(&mut address, memory.cast::<c_void>(), 0).result()?;
            Ok(Self { report, address })
        }
    }

    /// The address for kernels.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// The error of what kernels have reported, which is forgotten then. All work on the GPU must
    /// have finished.
    pub fn check(&self) -> Result<()> {
        // SAFETY: the memory lives as long as the process, and no kernel writes to it now.
        let Report { kind, value, limit } = unsafe { self.report.read_volatile() };
        if kind == 0 {
            return Ok(());
        }
        // SAFETY: as above.
        unsafe { self.report.write_volatile(Report { kind: 0, value: 0, limit: 0 }) };
        Err(Error::Invalid(message(kind, value, limit)))
    }
}

fn message(kind: u32, value: i64, limit: i64) -> String {
    match kind {
        bad::EMBEDDING_INDEX => format!(
            "embedding: index {value} is out of range: there are {limit} rows (0 to {})",
            limit - 1
        ),
        bad::TARGET => format!(
            "cross-entropy: target {value} is out of range: the logits have {limit} classes, from 0"
        ),
        bad::INDEX => format!("gather: index {value} is out of range for an axis of size {limit}"),
        bad::INTEGER => {
            "a number has no whole number of 64 bits: replace such values before the cast".into()
        }
        other => format!("a kernel has reported a bad value ({other})"),
    }
}
