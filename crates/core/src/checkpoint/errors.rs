//! Errors about files, and names in them.

use crate::Error;

/// An error about the content of a file.
pub(super) fn damaged(message: String) -> Error {
    Error::Checkpoint(message)
}

/// An error about what is whole, and cannot be read or written here.
pub(super) fn unsupported(message: String) -> Error {
    Error::Unsupported(message)
}

/// A name from a file, for messages: not longer than a line.
pub(super) fn shown(name: &str) -> String {
    match name.char_indices().nth(120) {
        Some((end, _)) => format!("{}...", name[..end].escape_debug()),
        None => name.escape_debug().to_string(),
    }
}
