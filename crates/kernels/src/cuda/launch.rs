//! Starts of kernels.

use super::gpu::Gpu;
use crate::Result;
use cudarc::driver::sys;
use std::ffi::c_void;

/// The argument of a kernel: the struct of the same name in its `.cu` file.
///
/// # Safety
/// The type is `#[repr(C)]` and has the fields of that struct, in its order.
pub(crate) unsafe trait Args: Copy {}

/// Threads of a block in kernels with a loop over elements.
const THREADS: u32 = 256;

/// Blocks for each multiprocessor in such kernels: enough to hide the latency of memory.
const BLOCKS_PER_PROCESSOR: u64 = 8;

impl Gpu {
    /// Starts a kernel that loops over `count` elements with all of its threads.
    pub(crate) fn for_each<A: Args>(
        &self,
        module: &'static str,
        kernel: &str,
        count: usize,
        args: &A,
    ) -> Result<()> {
        let needed = (count as u64).div_ceil(u64::from(THREADS));
        let most = u64::from(self.processors()) * BLOCKS_PER_PROCESSOR;
        self.launch(module, kernel, [needed.min(most) as u32, 1, 1], [THREADS, 1, 1], args)
    }

    /// Starts a kernel. It runs after all work that was started before.
    ///
    /// # Errors
    /// If the kernel cannot be loaded or started; errors of its run appear at the next download.
    pub(crate) fn launch<A: Args>(
        &self,
        module: &'static str,
        kernel: &str,
        blocks: [u32; 3],
        threads: [u32; 3],
        args: &A,
    ) -> Result<()> {
        if blocks.contains(&0) {
            return Ok(());
        }
        let failed = |error| self.failed(&format!("{kernel} could not be started"), error);
        self.stream().context().bind_to_thread().map_err(failed)?;
        let function = self.modules().function(self, module, kernel)?;
        let mut args = *args;
        let mut size = size_of::<A>();
        // with its size, so that the driver can compare it with that of the kernel's parameter
        let mut extra: [*mut c_void; 5] = [
            1 as *mut c_void, // CU_LAUNCH_PARAM_BUFFER_POINTER
            (&raw mut args).cast(),
            2 as *mut c_void, // CU_LAUNCH_PARAM_BUFFER_SIZE
            (&raw mut size).cast(),
            std::ptr::null_mut(), // CU_LAUNCH_PARAM_END
        ];
        let ([x, y, z], [tx, ty, tz]) = (blocks, threads);
        // SAFETY: the function belongs to this GPU's context, and the driver copies the argument,
        // which is the kernel's own struct (`Args`), before it returns.
        let code = unsafe {
            sys::cuLaunchKernel(
                function,
                x,
                y,
                z,
                tx,
                ty,
                tz,
                0,
                self.stream().cu_stream(),
                std::ptr::null_mut(),
                extra.as_mut_ptr(),
            )
        };
        code.result().map_err(failed)
    }
}
