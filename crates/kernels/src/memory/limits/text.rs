//! Small files of the system.

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The text of a small file; nothing where it cannot be read. Takes no memory but that on the
/// stack.
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
    // what was cut off in the middle of a letter
    let text = std::str::from_utf8(text).or_else(|e| std::str::from_utf8(&text[..e.valid_up_to()]));
    f(text.ok()?)
}
