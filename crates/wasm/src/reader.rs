//! Files that are read, by handle.

use crate::errors::{now, Thrown};
use crate::handles::reply;
use crate::handles::{Handle, MODELS, READERS};
use js_sys::Array;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use xt_bindings as bindings;

#[wasm_bindgen]
pub fn reader(settings: &str) -> Thrown<Handle> {
    now(|| bindings::reader(settings)).map(|reading| READERS.insert(Rc::new(reading)))
}

/// Offset and length; none once all bytes have come.
#[wasm_bindgen]
pub fn reader_next(reader: Handle) -> Thrown<Option<Vec<f64>>> {
    let reader = READERS.get(reader)?;
    now(|| reader.next())
}

#[wasm_bindgen]
pub fn reader_needs_size(reader: Handle) -> Thrown<bool> {
    let reader = READERS.get(reader)?;
    now(|| reader.needs_size())
}

#[wasm_bindgen]
pub fn reader_set_size(reader: Handle, size: f64) -> Thrown<()> {
    let reader = READERS.get(reader)?;
    now(|| reader.set_size(size))
}

#[wasm_bindgen]
pub fn reader_feed(reader: Handle, bytes: &[u8]) -> Thrown<()> {
    let reader = READERS.get(reader)?;
    now(|| reader.feed(bytes))
}

#[wasm_bindgen]
pub fn reader_tensors(reader: Handle) -> Thrown<Array> {
    let reader = READERS.get(reader)?;
    now(|| reader.tensors()).map(reply)
}

#[wasm_bindgen]
pub fn reader_model(reader: Handle, device: &str) -> Thrown<Handle> {
    let reader = READERS.get(reader)?;
    now(|| reader.model(device)).map(|model| MODELS.insert(model))
}

#[wasm_bindgen]
pub fn reader_free(reader: Handle) {
    READERS.remove(reader);
}
