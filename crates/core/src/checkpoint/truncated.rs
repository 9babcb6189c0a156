//! Diagnosis of a zip file that was cut short: its directory is lost with its end, but PyTorch
//! writes the description of the tensors first.

use super::errors::{damaged, shown};
use super::pickle;
use super::select::weights;
use super::torch::PICKLE;
use super::zip::content_of_first;
use crate::Error;
use std::collections::HashSet;

/// How many bytes at the beginning of the file are examined.
pub const HEAD_LENGTH: u64 = 1 << 20;

/// The fewest bytes between two storages: the end of one record, and the header of the next with
/// its name.
const HEADER: u64 = 56;

/// An error that names the first tensor which cannot be complete in a file of `size` bytes that
/// begins with `start`; `None` if that cannot be determined.
pub fn explain(start: &[u8], size: u64, key: Option<&str>) -> Option<Error> {
    let (name, content) = content_of_first(start)?;
    if !name.ends_with(PICKLE) {
        return None;
    }
    let pickle = pickle::read(content).ok()?;
    let tensors = weights(&pickle, key).ok()?;
    // storages follow the pickle in the order of their first use; other records between them only
    // move them further back
    let before = start.len() - content.len() + pickle.length;
    let (mut end, mut seen) = (before as u64, HashSet::new());
    for (name, view) in &tensors {
        if seen.insert(&view.storage.key) {
            let bytes =
                view.stored(name).ok()?.saturating_mul(view.element(name).ok()?.size() as u64);
            end = end.saturating_add(bytes).saturating_add(HEADER);
        }
        if end > size {
            return Some(damaged(format!(
                "this zip file (as torch.save writes) is cut short: it ends after {size} bytes, and tensor `{}`, at the latest, goes on \
                 after that. Copy or save it again",
                shown(name)
            )));
        }
    }
    None
}
