//! Chores of the project: `cargo run -p xtask -- generate [--check]`.

mod methods;
#[cfg(test)]
mod modules;
mod table;
mod typescript;
mod worker;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

const HELP: &str = "\
Usage: cargo run -p xtask -- generate [--check]

  generate          writes what follows from declarations in the crates: ts/**/*.gen.ts, the native
                    methods of both addons, and the option tables in docs/options.md
  generate --check  writes nothing; fails where one of them is stale, and names it";

fn main() -> ExitCode {
    match arguments()
        .map_err(|error| format!("{error}\n\n{HELP}"))
        .and_then(|check| run(&root(), check))
    {
        Ok(code) => code,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// Whether to check only.
fn arguments() -> Result<bool, lexopt::Error> {
    use lexopt::prelude::*;
    let (mut command, mut check) = (None, false);
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("check") => check = true,
            Value(name) if command.is_none() && name == "generate" => command = Some(name),
            other => return Err(other.unexpected()),
        }
    }
    command.map(|_| check).ok_or_else(|| "what to do is missing".into())
}

/// Where this runs, not where it was built: clones may share what cargo has built.
fn root() -> PathBuf {
    let here =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&here).join("../..")
}

fn run(root: &Path, check: bool) -> Result<ExitCode, String> {
    let mut code = ExitCode::SUCCESS;
    for File { name, content } in stale(root)? {
        if check {
            eprintln!("{name} is stale: run `cargo run -p xtask -- generate`");
            code = ExitCode::FAILURE;
        } else {
            fs::write(root.join(name), content).map_err(|error| format!("{name}: {error}"))?;
            println!("wrote {name}");
        }
    }
    Ok(code)
}

struct File {
    name: &'static str,
    content: String,
}

/// The generated files that are not what they should be, with what they should be.
fn stale(root: &Path) -> Result<Vec<File>, String> {
    let read = |name: &str| match fs::read_to_string(root.join(name)) {
        // a checkout on Windows may have other line ends
        Ok(text) => Ok(Some(text.replace("\r\n", "\n"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{name}: {error}")),
    };
    let mut stale = vec![];
    let mut files = vec![
        ("ts/models/options.gen.ts", typescript::file()),
        ("ts/models/tensor-options.gen.ts", typescript::tensor_options()),
        ("ts/worker/models.gen.ts", worker::file()),
        ("ts/worker/model-types.gen.ts", worker::types()),
    ];
    files.extend(methods::files(root)?);
    for (name, content) in files {
        if read(name)?.as_ref() != Some(&content) {
            stale.push(File { name, content });
        }
    }
    let page = read("docs/options.md")?;
    match page.as_deref().and_then(table::splice) {
        None => println!("docs/options.md: skipped, it has no {} and {}", table::START, table::END),
        Some(content) if page.as_ref() != Some(&content) => {
            stale.push(File { name: "docs/options.md", content })
        }
        Some(_) => {}
    }
    Ok(stale)
}

#[cfg(test)]
mod tests {
    #[test]
    fn generated_files_are_up_to_date() {
        let stale: Vec<_> =
            super::stale(&super::root()).unwrap().into_iter().map(|file| file.name).collect();
        assert!(stale.is_empty(), "{stale:?}: run `cargo run -p xtask -- generate`");
    }
}
