//! What is generated from the native methods, which `crates/bindings/src/methods` declares.

mod node;
mod read;
mod text;
mod types;
mod typescript;
mod wasm;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// The generated files: names and contents.
pub fn files(root: &Path) -> Result<Vec<(&'static str, String)>, String> {
    let files = read::files(root)?;
    Ok(vec![
        ("crates/node/src/methods.rs", formatted(root, node::file(&files))?),
        ("crates/wasm/src/methods.rs", formatted(root, wasm::file(&files))?),
        ("ts/native/methods.gen.ts", typescript::interfaces(&files)),
        ("ts/wasm/glue.gen.ts", typescript::glue(&files)),
        ("ts/wasm/methods.gen.ts", typescript::classes(&files)),
    ])
}

/// Rust code as `cargo fmt` leaves it.
fn formatted(root: &Path, code: String) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("rustfmt cannot be run: {error}");
    let mut child = Command::new("rustfmt")
        .args(["--edition", "2021", "--emit", "stdout", "--config-path"])
        .arg(root.join("rustfmt.toml"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    // all of it is read before anything is written back
    if let Some(mut input) = child.stdin.take() {
        input.write_all(code.as_bytes()).map_err(failed)?;
    }
    let output = child.wait_with_output().map_err(failed)?;
    if !output.status.success() {
        return Err(format!("rustfmt refuses what was generated:\n{code}"));
    }
    String::from_utf8(output.stdout).map_err(|error| error.to_string())
}
