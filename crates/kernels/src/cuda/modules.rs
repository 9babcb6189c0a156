//! The compiled kernels: one module for each `.cu` file, loaded at its first use.

use super::failure::failed;
use crate::error::bail;
use crate::{DType, Result};
use cudarc::driver::{result, sys};
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

/// The reason where the build could not compile the kernels.
pub(super) const NO_KERNELS: &str = "this build has no CUDA kernels: use a released package, or \
    build it where Python 3 with pip can fetch their compiler";

/// The compute capability for which there is machine code.
const CUBIN_CAPABILITY: (i32, i32) = (9, 0);

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
        names.extend(entries(&decompressed(embedded.name, embedded.ptx)?));
    }
    Ok(names)
}

/// The names of the kernels in PTX.
fn entries(ptx: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(ptx);
    let entries = text.split(".entry ").skip(1).filter_map(|entry| entry.split('(').next());
    entries.map(|name| name.trim().to_string()).collect()
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

    /// The kernel `name`, for the GPU whose context is current; it has this index and compute
    /// capability.
    pub fn function(
        &self,
        (index, capability): (usize, (i32, i32)),
        name: Name,
    ) -> Result<sys::CUfunction> {
        let mut loaded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = loaded.functions.get(&name) {
            return Ok(*function as sys::CUfunction);
        }
        let handle = match loaded.modules.get(name.module) {
            Some(handle) => *handle as sys::CUmodule,
            None => {
                let handle = load(index, capability, name.module)?;
                loaded.modules.insert(name.module, handle as usize);
                handle
            }
        };
        let Ok(text) = CString::new(name.to_string()) else {
            bail!("{name} is no name of a kernel")
        };
        // SAFETY: the module is loaded and is never unloaded.
        let function = unsafe { result::module::get_function(handle, text) }
            .map_err(|error| failed(index, &format!("there is no kernel {name}"), error))?;
        loaded.functions.insert(name, function as usize);
        Ok(function)
    }
}

fn load(index: usize, capability: (i32, i32), name: &str) -> Result<sys::CUmodule> {
    let Some(embedded) = EMBEDDED.iter().find(|embedded| embedded.name == name) else {
        bail!("{NO_KERNELS} ({name})");
    };
    let load = |image: &[u8]| {
        let image = decompressed(name, image)?;
        // SAFETY: PTX ends with a zero, machine code contains its size; the driver copies either.
        let loaded = unsafe { result::module::load_data(image.as_ptr().cast()) };
        let what = || format!("the kernels of {name} cannot be loaded");
        loaded.map_err(|error| failed(index, &what(), error))
    };
    match capability {
        // a driver that refuses the machine code still compiles PTX
        CUBIN_CAPABILITY => load(embedded.cubin).or_else(|_| load(embedded.ptx)),
        _ => load(embedded.ptx),
    }
}

fn decompressed(name: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    match miniz_oxide::inflate::decompress_to_vec_zlib(bytes) {
        Ok(bytes) => Ok(bytes),
        Err(_) => bail!("the CUDA kernels of {name} are damaged"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::device;
    use crate::Device;

    /// The emulated driver knows PTX only: this looks at the machine code itself.
    #[test]
    fn machine_code_has_the_kernels_of_the_ptx() {
        assert!(are_embedded() || matches!(device(), Device::Cpu));
        for Embedded { name, ptx, cubin } in EMBEDDED {
            let (ptx, cubin) =
                (decompressed(name, ptx).unwrap(), decompressed(name, cubin).unwrap());
            assert!(cubin.starts_with(b"\x7fELF"), "{name}");
            // the least byte of e_flags is the compute capability
            assert_eq!(cubin[48], 90, "{name}");
            let kernels = entries(&ptx);
            assert!(!kernels.is_empty(), "{name}");
            for kernel in kernels {
                let section = format!(".text.{kernel}\0");
                let found = cubin.windows(section.len()).any(|bytes| bytes == section.as_bytes());
                assert!(found, "{name}: no machine code of {kernel}");
            }
        }
    }
}
