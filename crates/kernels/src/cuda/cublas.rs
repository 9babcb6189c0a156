//! Where cuBLASLt is: a library of the CUDA toolkit, which this library does not need. It is only
//! looked for, not loaded: it has several hundred MB.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Names of the file, the newest version first.
const NAMES: &[&str] = if cfg!(windows) {
    &["cublasLt64_13.dll", "cublasLt64_12.dll"]
} else {
    &["libcublasLt.so.13", "libcublasLt.so.12"]
};

/// The variable that names the file, or a folder that has it.
const VARIABLE: &str = "XT_CUBLAS";

/// The file of cuBLASLt 13 or 12; `None` where it was not found. It is looked for once: in
/// `XT_CUBLAS`, among the libraries that this process has loaded, in the folders of the loader and
/// of the CUDA toolkit (`CUDA_PATH`, `CUDA_HOME`), and in Python environments.
pub fn cublas_lt() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let find = || {
        let variable = |name: &str| env::var_os(name);
        given(&variable).or_else(loaded).or_else(|| first_in(folders(&variable)))
    };
    FOUND.get_or_init(find).as_deref()
}

/// Gives the value of an environment variable.
type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

fn first_in(folders: impl IntoIterator<Item = PathBuf>) -> Option<PathBuf> {
    let file = |folder: &Path| NAMES.iter().map(|name| folder.join(name)).find(|f| f.is_file());
    folders.into_iter().find_map(|folder| file(&folder))
}

/// What the variable names.
fn given(variable: Variables) -> Option<PathBuf> {
    let path = PathBuf::from(variable(VARIABLE)?);
    match path.is_file() {
        true => Some(path),
        false => first_in([path]),
    }
}

/// The file that this process has loaded, for example for another library.
fn loaded() -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let paths = maps.lines().filter_map(|line| line.find('/').map(|at| Path::new(&line[at..])));
    let own = |path: &&Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        NAMES.iter().any(|known| name.starts_with(known))
    };
    paths.into_iter().find(own).map(Path::to_path_buf)
}

/// The folders in which the library usually is, in the order in which they are searched.
fn folders(variable: Variables) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let loader = if cfg!(windows) { "PATH" } else { "LD_LIBRARY_PATH" };
    all.extend(variable(loader).iter().flat_map(env::split_paths));
    let toolkits = ["CUDA_PATH", "CUDA_HOME"].iter().filter_map(|name| variable(name));
    let usual = (!cfg!(windows)).then(|| OsString::from("/usr/local/cuda"));
    for toolkit in toolkits.chain(usual).map(PathBuf::from) {
        all.extend(["lib64", "lib", "bin", "bin/x64"].map(|inner| toolkit.join(inner)));
    }
    if !cfg!(windows) {
        let system =
            ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
        all.extend(system.map(PathBuf::from));
    }
    all.extend(python_folders(variable));
    all
}

/// The folders of NVIDIA's and PyTorch's packages in Python environments.
fn python_folders(variable: Variables) -> Vec<PathBuf> {
    let mut prefixes: Vec<PathBuf> = ["VIRTUAL_ENV", "CONDA_PREFIX"]
        .iter()
        .filter_map(|name| variable(name).map(PathBuf::from))
        .collect();
    if !cfg!(windows) {
        prefixes.extend(variable("HOME").map(|home| Path::new(&home).join(".local")));
        prefixes.extend(["/usr/local", "/usr"].map(PathBuf::from));
    }
    let mut all = Vec::new();
    for prefix in prefixes {
        all.push(prefix.join("lib"));
        let pythons = inside(&prefix.join("lib")).into_iter().filter(|folder| {
            folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python3"))
        });
        // on Windows there is no folder of the version
        let places = pythons.chain([prefix.join("Lib")]);
        for packages in places.flat_map(|python| {
            ["site-packages", "dist-packages"].map(|packages| python.join(packages))
        }) {
            let nvidia = inside(&packages.join("nvidia")).into_iter();
            all.extend(nvidia.flat_map(|package| ["lib", "bin"].map(|lib| package.join(lib))));
            all.push(packages.join("torch/lib"));
        }
    }
    all
}

/// What is in a folder, sorted; nothing where there is none.
fn inside(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A folder of its own, with an empty file at each of these places.
    fn with_files(name: &str, files: &[&str]) -> PathBuf {
        let folder = env::temp_dir().join(format!("xt-cublas-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        for file in files {
            let path = folder.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        folder
    }

    #[test]
    fn the_variable_names_the_file_or_its_folder() {
        let folder = with_files("given", &[NAMES[1], "other"]);
        let found = |path: PathBuf| {
            given(&|name| (name == VARIABLE).then(|| path.clone().into_os_string()))
        };
        assert_eq!(found(folder.clone()), Some(folder.join(NAMES[1])));
        assert_eq!(found(folder.join("other")), Some(folder.join("other")));
        assert_eq!(found(folder.join("missing")), None);
        assert_eq!(given(&|_| None), None);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_toolkit_and_a_python_environment_are_searched_newest_version_first() {
        let python = if cfg!(windows) { "Lib" } else { "lib/python3.12" };
        let wheel = format!("env/{python}/site-packages/nvidia/cublas/lib");
        let files = [0, 1].map(|version| format!("{wheel}/{}", NAMES[version]));
        let toolkit = format!("toolkit/lib64/{}", NAMES[1]);
        let folder = with_files("places", &[&files[0], &files[1], &toolkit]);
        let only = |variable: &'static str, place: &'static str| {
            let value = folder.join(place).into_os_string();
            let all = folders(&move |name| (name == variable).then(|| value.clone()));
            first_in(all.into_iter().filter(|path| path.starts_with(&folder)))
        };
        assert_eq!(only("CUDA_HOME", "toolkit"), Some(folder.join(&toolkit)));
        assert_eq!(only("VIRTUAL_ENV", "env"), Some(folder.join(&files[0])));
        assert_eq!(only("CUDA_PATH", "env"), None);
        fs::remove_dir_all(&folder).unwrap();
    }
}
