//! What happens when an environment (Node's main thread, or a worker) loads the library.
//!
//! Workers come and go, and the library's own threads outlive them: it is loaded once and stays.

use napi::bindgen_prelude::{retain_current_module_for_unload_safety, Object};
use napi_derive::napi;

/// Runs once for each environment, on its thread.
#[napi(module_exports)]
pub fn load(_exports: Object) -> napi::Result<()> {
    // where the linker's `nodelete` does the same, this costs nothing
    retain_current_module_for_unload_safety();
    #[cfg(all(unix, not(target_os = "macos")))]
    first_thread::release();
    #[cfg(unix)]
    process_end::expect();
    Ok(())
}

/// `process.exit()` ends no environment of the main thread. What C's `exit` takes down (the
/// allocator is among it) must not be in use meanwhile. (Elsewhere than on Unix the system has
/// ended all other threads by then.)
#[cfg(unix)]
#[allow(unsafe_code)]
mod process_end {
    use std::ffi::c_int;
    use std::process;
    use std::sync::OnceLock;

    extern "C" {
        fn atexit(run: extern "C" fn()) -> c_int;
    }

    /// Which process it is: a copy that another library makes of it has none of its threads.
    static PROCESS: OnceLock<u32> = OnceLock::new();

    /// Has the calls ended first.
    pub fn expect() {
        PROCESS.get_or_init(|| {
            // SAFETY: the function is there until the process ends, as the library stays loaded,
            // and does not panic.
            unsafe { atexit(comes) };
            process::id()
        });
    }

    extern "C" fn comes() {
        if PROCESS.get() == Some(&process::id()) {
            crate::threads::end_all();
        }
    }
}

/// mimalloc 3.3 takes the thread that loads it for one that lives as long as the process, and gives
/// it a heap of its own kind. Where that is a worker, the heap is taken apart when the worker ends;
/// the system then gives the next thread the same id, mimalloc gives it the heap that is no more,
/// and its first allocation ends the process. (Later versions of mimalloc are right: then this can
/// go. macOS has version 2, which does not take it apart.)
#[cfg(all(unix, not(target_os = "macos")))]
#[allow(unsafe_code)]
mod first_thread {
    /// What begins mimalloc's data of a thread.
    #[repr(C)]
    struct ThreadData {
        id: usize,
    }

    /// What begins mimalloc's heap of a thread.
    #[repr(C)]
    struct Heap {
        thread: *mut ThreadData,
    }

    extern "C" {
        #[link_name = "theap_main"]
        static FIRST: Heap;
        fn _mi_thread_id() -> usize;
        fn mi_thread_done();
    }

    /// No thread's id, as these are addresses.
    const NOBODY: usize = 1;

    /// Makes the calling thread one like any other, if mimalloc takes it for the first: it gets
    /// another heap with its next allocation.
    pub fn release() {
        // SAFETY: the version of mimalloc is fixed (`=` in Cargo.toml), and these are the first
        // fields of its structs. The pointer is null or that of a static; only the thread with that
        // id writes there, and that is this one. It allocates nothing between the two lines that
        // end its heap and forget its id.
        unsafe {
            let thread = (&raw const FIRST.thread).read_volatile();
            if thread.is_null() || (*thread).id != _mi_thread_id() {
                return;
            }
            mi_thread_done();
            (&raw mut (*thread).id).write_volatile(NOBODY);
        }
    }
}
