//! Files that are being read, by handle.

use crate::errors::{now, Thrown};
use crate::handles::reply;
use crate::handles::{Handle, MODELS, READERS};
use js_sys::Array;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use xt_bindings as bindings;

/// Starts to read a file, see [`bindings::reader`].
#[wasm_bindgen]
pub fn reader(settings: &str) -> Thrown<Handle> {
    now(|| bindings::reader(settings)).map(|reading| READERS.insert(Rc::new(reading)))
}

/// Offset and length of the bytes to read next; `None` once all have been read.
#[wasm_bindgen]
pub fn reader_next(reader: Handle) -> Thrown<Option<Vec<f64>>> {
    let reader = READERS.get(reader)?;
    now(|| reader.next())
}

/// Whether reading continues only after `reader_set_size`.
#[wasm_bindgen]
pub fn reader_needs_size(reader: Handle) -> Thrown<bool> {
    let reader = READERS.get(reader)?;
    now(|| reader.needs_size())
}

/// Sets the size of the file in bytes.
#[wasm_bindgen]
pub fn reader_set_size(reader: Handle, size: f64) -> Thrown<()> {
    let reader = READERS.get(reader)?;
    now(|| reader.set_size(size))
}

/// Takes the requested bytes.
#[wasm_bindgen]
pub fn reader_feed(reader: Handle, bytes: &[u8]) -> Thrown<()> {
    let reader = READERS.get(reader)?;
    now(|| reader.feed(bytes))
}

/// The tensors of the file. Returns `[json, handles]`.
#[wasm_bindgen]
pub fn reader_tensors(reader: Handle) -> Thrown<Array> {
    let reader = READERS.get(reader)?;
    now(|| reader.tensors()).map(reply)
}

/// The model that the file describes, on a device.
#[wasm_bindgen]
pub fn reader_model(reader: Handle, device: &str) -> Thrown<Handle> {
    let reader = READERS.get(reader)?;
    now(|| reader.model(device)).map(|model| MODELS.insert(model))
}

/// Releases the handle of a file.
#[wasm_bindgen]
pub fn reader_free(reader: Handle) {
    READERS.remove(reader);
}
