//! Initialisation when an environment (Node's main thread, or a worker) loads the library.
//!
//! Workers end while the library's own threads are still running, so the library is loaded once and
//! never unloaded.

use napi::bindgen_prelude::{retain_current_module_for_unload_safety, Object};
use napi_derive::napi;

/// Runs once per environment, on its thread.
#[napi(module_exports)]
pub fn load(_exports: Object) -> napi::Result<()> {
    // has no cost where the linker flag `nodelete` already has this effect
    retain_current_module_for_unload_safety();
    #[cfg(all(unix, not(target_os = "macos")))]
    first_thread::release();
    #[cfg(unix)]
    process_end::expect();
    Ok(())
}

/// `process.exit()` does not tear down the environment of the main thread. C's `exit` destroys,
/// among others, the allocator, which must not be in use at that time. (On other systems than Unix,
/// the system has ended all other threads by then.)
#[cfg(unix)]
#[allow(unsafe_code)]
mod process_end {
    use std::ffi::c_int;
    use std::process;
    use std::sync::OnceLock;

    extern "C" {
        fn atexit(run: extern "C" fn()) -> c_int;
    }

    /// The id of the process that loaded the library: a fork by another library has none of its
    /// threads.
    static PROCESS: OnceLock<u32> = OnceLock::new();

    /// Registers a handler that ends all calls before the process ends.
    pub fn expect() {
        PROCESS.get_or_init(|| {
            // SAFETY: the function is valid until the process ends, as the library is never
            // unloaded, and it does not panic.
            unsafe { atexit(comes) };
            process::id()
        });
    }

    /// Called by `exit`.
    extern "C" fn comes() {
        if PROCESS.get() == Some(&process::id()) {
            crate::threads::end_all();
        }
    }
}

/// mimalloc 3.3 assumes that the thread which loads it lives as long as the process, and gives it a
/// special heap. If that thread is a worker, its heap is destroyed when it ends. When the system
/// then reuses its id for a new thread, mimalloc gives that thread the destroyed heap, and its
/// first allocation crashes. (Fixed in later versions of mimalloc, with which this module can be
/// removed. macOS has version 2, which does not destroy the heap.)
#[cfg(all(unix, not(target_os = "macos")))]
#[allow(unsafe_code)]
mod first_thread {
    /// The first field of mimalloc's thread data.
    #[repr(C)]
    struct ThreadData {
        id: usize,
    }

    /// The first field of mimalloc's thread heap.
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

    /// Not a valid thread id, as these are addresses.
    const NOBODY: usize = 1;

    /// If mimalloc regards the calling thread as the first one, makes it an ordinary thread, which
    /// gets a new heap at its next allocation.
    pub fn release() {
        // SAFETY: the version of mimalloc is pinned (`=` in Cargo.toml), and the structs above
        // match the first fields of its structs. The pointer is null or points to a static. Only
        // the thread with that id writes to it, which is the calling thread. Nothing is allocated
        // between the two calls that end its heap and clear its id.
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
