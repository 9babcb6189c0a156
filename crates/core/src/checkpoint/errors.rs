//! Errors about the content of files.

use crate::Error;

/// An error about invalid content of a file.
pub(super) fn damaged(message: String) -> Error {
    Error::Checkpoint(message)
}

/// An error about valid content that cannot be read or written.
pub(super) fn unsupported(message: String) -> Error {
    Error::Unsupported(message)
}

/// A name from a file for messages: escaped, and cut to the length of a line.
pub(super) fn shown(name: &str) -> String {
    match name.char_indices().nth(120) {
        Some((end, _)) => format!("{}...", name[..end].escape_debug()),
        None => name.escape_debug().to_string(),
    }
}
