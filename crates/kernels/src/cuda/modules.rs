//! The compiled kernels: one module for each `.cu` file, loaded at its first use.

use crate::error::bail;
use crate::{DType, Error, Result};
use cudarc::driver::{result, sys, DriverError};
use std::collections::HashMap;
use std::ffi::CString;
use std::sync::{Mutex, PoisonError};

/// A kernel of a `.cu` file, for one dtype.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Name {
    /// The file, without its extension.
    pub module: &'static str,
    /// The kernel, without the dtype.
    pub kernel: &'static str,
    /// The dtype, which follows the name of the kernel.
    pub dtype: DType,
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}_{}", self.kernel, self.dtype.as_str())
    }
}

/// The compiled form of a `.cu` file, compressed by zlib.
pub(super) struct Embedded {
    name: &'static str,
    /// PTX for compute capability 8.0, which the driver compiles for any later one.
    ptx: &'static [u8],
    /// Machine code for compute capability 9.0.
    cubin: &'static [u8],
}

static EMBEDDED: &[Embedded] = include!(concat!(env!("OUT_DIR"), "/cuda_modules.rs"));

/// Whether this build has kernels.
pub(super) fn are_embedded() -> bool {
    !EMBEDDED.is_empty()
}

/// The names of all kernels of this build.
///
/// # Errors
/// If the embedded files are damaged.
pub fn kernels() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for embedded in EMBEDDED {
        let ptx = decompressed(embedded.name, embedded.ptx)?;
        let text = String::from_utf8_lossy(&ptx);
        let entries = text.split(".entry ").skip(1).filter_map(|entry| entry.split('(').next());
        names.extend(entries.map(|name| name.trim().to_string()));
    }
    Ok(names)
}

/// The kernels of a GPU that have been used, by name. They stay loaded until the process ends.
#[derive(Default)]
pub(super) struct Modules(Mutex<Loaded>);

#[derive(Default)]
struct Loaded {
    modules: HashMap<&'static str, usize>,
    functions: HashMap<Name, usize>,
}

impl std::fmt::Debug for Modules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Modules")
    }
}

impl Modules {
    /// The names of the kernels that have been used.
    pub fn used(&self) -> Vec<String> {
        let loaded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.functions.keys().map(Name::to_string).collect()
    }

    /// The kernel `name`, for a GPU of this compute capability, whose context must be current.
    pub fn function(&self, capability: (i32, i32), name: Name) -> Result<sys::CUfunction> {
        let mut loaded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = loaded.functions.get(&name) {
            return Ok(*function as sys::CUfunction);
        }
        let handle = match loaded.modules.get(name.module) {
            Some(handle) => *handle as sys::CUmodule,
            None => {
                let handle = load(capability, name.module)?;
                loaded.modules.insert(name.module, handle as usize);
                handle
            }
        };
        let Ok(text) = CString::new(name.to_string()) else {
            bail!("{name} is no name of a kernel")
        };
        // SAFETY: the module is loaded and is never unloaded.
        let function = unsafe { result::module::get_function(handle, text) }
            .map_err(|error| failed(&format!("there is no kernel {name}"), error))?;
        loaded.functions.insert(name, function as usize);
        Ok(function)
    }
}

fn load(capability: (i32, i32), name: &str) -> Result<sys::CUmodule> {
    let Some(embedded) = EMBEDDED.iter().find(|embedded| embedded.name == name) else {
        bail!("this build has no CUDA kernels ({name})");
    };
    let exact = capability == (9, 0);
    let image = decompressed(name, if exact { embedded.cubin } else { embedded.ptx })?;
    // SAFETY: PTX ends with a zero, machine code contains its size; the driver copies either.
    unsafe { result::module::load_data(image.as_ptr().cast()) }
        .map_err(|error| failed(&format!("the kernels of {name} cannot be loaded"), error))
}

fn decompressed(name: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    match miniz_oxide::inflate::decompress_to_vec_zlib(bytes) {
        Ok(bytes) => Ok(bytes),
        Err(_) => bail!("the CUDA kernels of {name} are damaged"),
    }
}

fn failed(what: &str, error: DriverError) -> Error {
    Error::Invalid(format!("{what}: {error:?}"))
}
