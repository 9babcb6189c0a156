//! Embeds the compiled CUDA kernels, which `scripts/cuda/kernels.mjs` has put into the folder that
//! `XT_CUDA_KERNELS` names; none where it is not set.

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return Ok(());
    }
    println!("cargo:rerun-if-env-changed=XT_CUDA_KERNELS");
    let mut modules = String::from("&[\n");
    if let Some(folder) = env::var_os("XT_CUDA_KERNELS").filter(|folder| !folder.is_empty()) {
        let folder = fs::canonicalize(Path::new(&folder))?;
        println!("cargo:rerun-if-changed={}", folder.display());
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            names.extend(name.strip_suffix(".ptx.z").map(str::to_string));
        }
        names.sort();
        for name in names {
            let bytes = |kind: &str| {
                format!("include_bytes!({:?})", folder.join(format!("{name}.{kind}.z")))
            };
            let (ptx, cubin) = (bytes("ptx"), bytes("cubin"));
            modules += &format!("    Embedded {{ name: {name:?}, ptx: {ptx}, cubin: {cubin} }},\n");
        }
    }
    modules += "]\n";
    let out = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    fs::write(Path::new(&out).join("cuda_modules.rs"), modules)
}
