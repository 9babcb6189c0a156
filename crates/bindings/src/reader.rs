//! Files of tensors, with bytes supplied by the caller.

use crate::{parse, parse_device, Error, Reply, Result};
use serde::Deserialize;
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};
use xt_core::checkpoint::{rebuild, File, Reader, Settings};
use xt_core::{Model, Tensor};

/// A file that is being read, until its tensors are taken.
pub struct Reading(Mutex<Option<Reader>>);

/// The settings of a file, as the TypeScript layer passes them.
#[derive(Deserialize)]
struct Said {
    size: Option<f64>,
    key: Option<String>,
    widen: bool,
    #[serde(default)]
    optimizer: bool,
}

/// Starts to read a file; `settings` is JSON: `{ "size": number | null, "key": string | null,
/// "widen": boolean, "optimizer": boolean }`.
pub fn reader(settings: &str) -> Result<Reading> {
    let Said { size, key, widen, optimizer } = parse(settings)?;
    let settings = Settings { size: size.map(|size| size as u64), key, widen, optimizer };
    Ok(Reading(Mutex::new(Some(Reader::new(settings)))))
}

impl Reading {
    /// Runs `f` on the reader. A poisoned lock does no harm, since a reader that has failed returns
    /// errors itself.
    fn with<T>(&self, f: impl FnOnce(&mut Reader) -> Result<T>) -> Result<T> {
        let mut reader = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        f(reader.as_mut().ok_or(Error::Disposed("this file"))?)
    }

    /// Takes the reader and returns what it has read.
    fn finish(&self) -> Result<File> {
        let reader = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        reader.ok_or(Error::Disposed("this file"))?.finish()
    }

    /// Offset and length of the bytes to read next; `None` once all have been read.
    pub fn next(&self) -> Result<Option<Vec<f64>>> {
        self.with(|reader| {
            Ok(reader.next().map(|range| vec![range.offset as f64, range.length as f64]))
        })
    }

    /// Whether reading continues only after `set_size`; its bytes are then requested in any order.
    pub fn needs_size(&self) -> Result<bool> {
        self.with(|reader| Ok(reader.needs_size()))
    }

    /// Sets the size of the file in bytes.
    pub fn set_size(&self, size: f64) -> Result<()> {
        self.with(|reader| {
            reader.set_size(size as u64);
            Ok(())
        })
    }

    /// Takes the bytes that `next` has requested; fewer if the file ends before.
    pub fn feed(&self, bytes: &[u8]) -> Result<()> {
        self.with(|reader| reader.feed(bytes))
    }

    /// The tensors: JSON `{ "metadata", "names" }`, with the tensors in the order of the names.
    pub fn tensors(&self) -> Result<Reply> {
        let file = self.finish()?;
        let (names, tensors): (Vec<String>, Vec<Tensor>) = file.tensors.into_iter().unzip();
        Ok(Reply {
            json: json!({ "metadata": file.metadata, "names": names }).to_string(),
            tensors,
        })
    }

    /// The model that the file describes, on a device.
    pub fn model(&self, device: &str) -> Result<Arc<Model>> {
        rebuild(self.finish()?, &parse_device(device)?)
    }
}
