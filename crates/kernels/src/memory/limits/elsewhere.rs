//! Memory limits on systems other than Linux.

use super::{left_of, AllocatorState, MEMORY_RESERVE};

/// Bytes that can still be allocated.
pub(crate) fn left(state: AllocatorState) -> u64 {
    // only the total is known, so only the memory of this library is subtracted
    total().map_or(u64::MAX, |total| left_of(total, state.in_use, MEMORY_RESERVE))
}

/// The memory of the machine, in bytes.
#[cfg(target_vendor = "apple")]
fn total() -> Option<u64> {
    let (mut bytes, mut size) = (0u64, size_of::<u64>());
    // SAFETY: the name ends with NUL, and `bytes` has the size that `size` says.
    let done = unsafe {
        libc::sysctlbyname(
            c"hw.memsize".as_ptr(),
            std::ptr::from_mut(&mut bytes).cast(),
            &mut size,
            std::ptr::null_mut(),
            0,
        )
    };
    (done == 0 && bytes > 0).then_some(bytes)
}

/// The limit of memory and page files for this process, in bytes.
#[cfg(windows)]
fn total() -> Option<u64> {
    /// The structure MEMORYSTATUSEX of Windows.
    #[repr(C)]
    #[derive(Default)]
    struct Status {
        length: u32,
        load: u32,
        numbers: [u64; 7],
    }
    #[link(name = "kernel32")]
    extern "system" {
        fn GlobalMemoryStatusEx(status: *mut Status) -> i32;
    }
    let mut status = Status { length: size_of::<Status>() as u32, ..Status::default() };
    // SAFETY: `length` is the size of the structure.
    let known = unsafe { GlobalMemoryStatusEx(&mut status) } != 0;
    // the numbers are total and available memory, then total and available memory with page files
    known.then_some(status.numbers[2]).filter(|bytes| *bytes > 0)
}

#[cfg(not(any(target_vendor = "apple", windows)))]
fn total() -> Option<u64> {
    None
}
