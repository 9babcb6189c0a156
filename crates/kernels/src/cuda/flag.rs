//! Bad values that kernels find, such as an index that is out of range. A kernel cannot return an
//! error, so it reports the value here, and the next download fails with it.

use crate::{Error, Result};
use cudarc::driver::{result, sys, DriverError};
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// What kernels report, as in their `.cu` files; 0 stands for nothing.
mod kind {
    /// An index of an embedding.
    pub const EMBEDDING_INDEX: u32 = 1;
    /// A target of a cross-entropy.
    pub const TARGET: u32 = 2;
    /// An index of `gather`.
    pub const GATHER_INDEX: u32 = 3;
    /// An index of `index_select`.
    pub const SELECT_INDEX: u32 = 4;
    /// An index of `scatter_add`.
    pub const SCATTER_INDEX: u32 = 5;
    /// A number that has no 64-bit integer.
    pub const INTEGER: u32 = 6;
}

/// `Flag` in common.cuh.
#[repr(C)]
#[derive(Clone, Copy)]
struct Report {
    kind: u32,
    value: i64,
    limit: i64,
}

/// A bad value since the last download, in memory of the host that kernels can write to: reading
/// it takes no copy. Threads share it, as they share the stream: where several compute at once, a
/// bad value of one may be the error of another.
#[derive(Debug)]
pub(super) struct Flag {
    report: NonNull<Report>,
    address: u64,
}

// SAFETY: `report` is only accessed by atomic and volatile reads and writes.
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
        let report = self.report.as_ptr();
        // SAFETY: the memory lives as long as the process. A kernel that another thread has
        // started may write to it now: the exchange keeps what it reports after that.
        let kind = unsafe { AtomicU32::from_ptr(&raw mut (*report).kind) };
        let kind = kind.swap(0, Ordering::AcqRel);
        if kind == 0 {
            return Ok(());
        }
        // SAFETY: as above; kernels write the kind last.
        let (value, limit) = unsafe {
            (
                (&raw const (*report).value).read_volatile(),
                (&raw const (*report).limit).read_volatile(),
            )
        };
        Err(Error::Invalid(message(kind, value, limit)))
    }
}

fn outside(name: &str, index: i64, size: i64) -> String {
    format!("{name}: index {index} is out of range for an axis of size {size}")
}

fn message(kind: u32, value: i64, limit: i64) -> String {
    match kind {
        kind::EMBEDDING_INDEX => format!(
            "embedding: index {value} is out of range: there are {limit} rows (0 to {})",
            limit - 1
        ),
        kind::TARGET => format!(
            "cross-entropy: target {value} is out of range: the logits have {limit} classes, from 0"
        ),
        kind::GATHER_INDEX => outside("gather", value, limit),
        kind::SELECT_INDEX => outside("index_select", value, limit),
        kind::SCATTER_INDEX => outside("scatter_add", value, limit),
        kind::INTEGER => {
            "cast: a number does not fit a 64-bit integer: replace such values before the cast"
                .into()
        }
        other => format!("a kernel has reported a bad value ({other})"),
    }
}
