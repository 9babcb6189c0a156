//! Kernel launches.

use super::gpu::Gpu;
use super::modules::Name;
use crate::Result;
use cudarc::driver::sys;
use std::ffi::c_void;
use std::ptr::without_provenance_mut;

/// The argument of a kernel: the struct of the same name in its `.cu` file.
///
/// # Safety
/// The type is `#[repr(C)]` and has the fields of that struct, in its order.
pub(crate) unsafe trait Args: Copy {}

/// Defines the arguments of kernels. The fields are those of the struct of this name in the `.cu`
/// file beside; the driver, also the emulated one, compares its size with that in the PTX.
macro_rules! kernel_args {
    ($($(#[$doc:meta])* $Name:ident { $($field:ident: $type:ty),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy)]
        #[repr(C)]
        struct $Name {
            $($field: $type,)+
        }

        // SAFETY: the fields are those of the struct in the `.cu` file.
        unsafe impl $crate::cuda::Args for $Name {}
    )+};
}
pub(crate) use kernel_args;

/// Threads of a block.
const THREADS: u32 = 256;

/// Blocks for each multiprocessor in kernels with loops: enough to hide the latency of memory.
const BLOCKS_PER_PROCESSOR: u64 = 8;

/// The widest row that a single warp works on.
const WARP_ROW: usize = 1024;

/// Threads of a warp.
const WARP: u32 = 32;

impl Gpu {
    /// Starts a kernel that loops over `count` elements with all of its threads (`FOR_EACH`).
    pub(crate) fn for_each<A: Args>(&self, name: Name, count: usize, args: &A) -> Result<()> {
        self.launch(name, [self.blocks(count, THREADS), 1], [THREADS, 1], args)
    }

    /// Starts a kernel that loops over rows (`FOR_EACH_ROW`): a warp works on a row, or all threads
    /// of a block on a long one.
    pub(crate) fn rows<A: Args>(
        &self,
        name: Name,
        (rows, width): (usize, usize),
        args: &A,
    ) -> Result<()> {
        let threads = match width <= WARP_ROW {
            true => [WARP, THREADS / WARP],
            false => [THREADS, 1],
        };
        self.launch(name, [self.blocks(rows, threads[1]), 1], threads, args)
    }

    /// The number of blocks for `count` units of work, `per_block` of them at a time.
    fn blocks(&self, count: usize, per_block: u32) -> u32 {
        let needed = (count as u64).div_ceil(u64::from(per_block));
        needed.min(u64::from(self.processors()) * BLOCKS_PER_PROCESSOR) as u32
    }

    /// Starts a kernel. It runs after all work that was started before.
    ///
    /// # Errors
    /// If the kernel cannot be loaded or started; errors of its run appear at the next download.
    pub(crate) fn launch<A: Args>(
        &self,
        name: Name,
        blocks: [u32; 2],
        threads: [u32; 2],
        args: &A,
    ) -> Result<()> {
        if blocks.contains(&0) {
            return Ok(());
        }
        let failed = |error| self.failed(&format!("{name} could not be started"), error);
        self.stream().context().bind_to_thread().map_err(failed)?;
        let function = self.modules().function((self.index(), self.info().capability), name)?;
        let mut args = *args;
        let mut size = size_of::<A>();
        // with its size, so that the driver can compare it with that of the kernel's parameter
        let mut extra: [*mut c_void; 5] = [
            without_provenance_mut(1), // CU_LAUNCH_PARAM_BUFFER_POINTER
            (&raw mut args).cast(),
            without_provenance_mut(2), // CU_LAUNCH_PARAM_BUFFER_SIZE
            (&raw mut size).cast(),
            std::ptr::null_mut(), // CU_LAUNCH_PARAM_END
        ];
        let ([x, y], [tx, ty]) = (blocks, threads);
        // SAFETY: the function belongs to this GPU's context, and the driver copies the argument,
        // which is the kernel's own struct (`Args`), before it returns.
        let code = unsafe {
            sys::cuLaunchKernel(
                function,
                x,
                y,
                1,
                tx,
                ty,
                1,
                0,
                self.stream().cu_stream(),
                std::ptr::null_mut(),
                extra.as_mut_ptr(),
            )
        };
        code.result().map_err(failed)
    }
}
