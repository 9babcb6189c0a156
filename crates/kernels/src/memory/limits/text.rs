//! Reads small system files.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Calls `f` with the text of a small file, up to 8 KiB. Returns `None` if it cannot be read.
/// Allocates nothing on the heap.
pub(super) fn with_text<T>(path: &Path, f: impl FnOnce(&str) -> Option<T>) -> Option<T> {
    let mut buffer = [0u8; 8192];
    let mut file = File::open(path).ok()?;
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..]).ok()? {
            0 => break,
            more => length += more,
        }
    }
    let text = buffer.get(..length)?;
    // drop a character that is cut off at the end of the buffer
    let text = std::str::from_utf8(text).or_else(|e| std::str::from_utf8(&text[..e.valid_up_to()]));
    f(text.ok()?)
}
