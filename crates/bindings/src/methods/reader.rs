//! Files of tensors (safetensors, PyTorch's zip format) on their way into memory: a file requests
//! bytes, and the caller supplies them.

use super::{Heavy, Reply};
use crate::{Error, Result};
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};
use xt_core::checkpoint::{self, rebuild, File, Settings};
use xt_core::{Device, Model, Tensor};

/// A file that is being read, until its tensors are taken.
pub struct Reader(Mutex<Option<checkpoint::Reader>>);

impl Reader {
    /// A file that is read in this way.
    pub(super) fn new(settings: Settings) -> Self {
        Self(Mutex::new(Some(checkpoint::Reader::new(settings))))
    }

    /// Runs `f` on the reader. A poisoned lock does no harm, since a reader that has failed returns
    /// errors itself.
    fn with<T>(&self, f: impl FnOnce(&mut checkpoint::Reader) -> Result<T>) -> Result<T> {
        let mut reader = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        f(reader.as_mut().ok_or(Error::Disposed("this file"))?)
    }

    /// Takes the reader and returns what it has read.
    fn finish(&self) -> Result<File> {
        let reader = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        reader.ok_or(Error::Disposed("this file"))?.finish()
    }
}

/// Offset and length of the bytes to read next; null once all have been read, and while
/// `needsSize()`.
pub fn next(reader: &Reader) -> Result<Option<Vec<f64>>> {
    reader.with(|reader| {
        Ok(reader.next().map(|range| vec![range.offset as f64, range.length as f64]))
    })
}

/// Whether reading continues only after `setSize()`, since the directory of the file is at its end.
/// From then on bytes are requested in any order.
pub fn needs_size(reader: &Reader) -> Result<bool> {
    reader.with(|reader| Ok(reader.needs_size()))
}

/// Sets the size of the file in bytes.
pub fn set_size(reader: &Reader, size: f64) -> Result<()> {
    reader.with(|reader| {
        reader.set_size(size as u64);
        Ok(())
    })
}

/// Takes the bytes that `next()` has requested; fewer if the file ends before. They must not change
/// until this resolves.
pub fn feed(reader: &Reader, bytes: &[u8]) -> Heavy<()> {
    reader.with(|reader| reader.feed(bytes))
}

/// The tensors, once; JSON `{ "metadata": {...}, "names": [...] }`, one name for each tensor.
pub fn tensors(reader: &Reader) -> Heavy<Reply> {
    let file = reader.finish()?;
    let (names, tensors): (Vec<String>, Vec<Tensor>) = file.tensors.into_iter().unzip();
    let json = json!({ "metadata": file.metadata, "names": names }).to_string();
    Ok(Reply { json, tensors })
}

/// The model that the file, a checkpoint, describes, in place of the tensors.
pub fn model(reader: &Reader, device: &Device) -> Heavy<Arc<Model>> {
    rebuild(reader.finish()?, device)
}
