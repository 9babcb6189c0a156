//! Checkpoints: safetensors with the reference's names; class, options and version stand in the metadata, so that the bytes
//! alone rebuild the model. Weights of the Python package are read from safetensors and from PyTorch's zip format. Files are the
//! business of others: a [`Reader`] says which bytes it wants next.

mod assemble;
mod choose;
mod data;
mod element;
mod float8;
mod global;
mod header;
mod layout;
mod local;
mod optimizer;
mod paths;
mod pickle;
mod pieces;
mod reader;
mod salvage;
#[cfg(test)]
mod tests;
mod torch;
mod value;
mod write;
mod write_optimizer;
mod write_pickle;
mod write_zip;
mod zip;

pub use reader::Reader;
pub use write::{write, write_tensors};
pub use write_optimizer::write_optimizer;

use crate::{Array, Device, Error, Model, Result, Tensor, VERSION};
use layout::Layout;
use serde_json::{json, Value as Json};
use std::collections::HashMap;
use std::sync::Arc;

/// The key of the metadata that describes the model.
const KEY: &str = "x-transformers";

/// Most bytes that are asked for at once.
const CHUNK: u64 = 4 << 20;

/// Bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub offset: u64,
    pub length: u64,
}

/// How the tensors are read.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Of the file, where it is known.
    pub size: Option<u64>,
    /// Which of several state dicts in a file of PyTorch.
    pub key: Option<String>,
    /// Whether the state of an optimizer is wanted of such a file, instead of weights.
    pub optimizer: bool,
    /// Whether values of half precision become f32.
    pub widen: bool,
}

/// How a tensor is made of what is read.
struct Plan {
    name: String,
    /// The number of the sink with its values.
    sink: usize,
    shape: Vec<usize>,
    /// Which of them it has; none: all, in their order.
    view: Option<Layout>,
}

/// What a file holds.
pub struct File {
    /// By name: of safetensors in the order of the names, of PyTorch in that of the dict.
    pub tensors: Vec<(String, Tensor)>,
    /// Of safetensors.
    pub metadata: HashMap<String, String>,
}

/// An error about the content of a file.
fn damaged(message: String) -> Error {
    Error::Checkpoint(message)
}

/// An error about what is whole, and cannot be read or written here.
fn unsupported(message: String) -> Error {
    Error::Unsupported(message)
}

/// How many values a shape has; none where they, or a part of the axes, are more than can be addressed.
fn count_of(shape: &[usize]) -> Option<usize> {
    let product = shape.iter().try_fold(1usize, |n, d| n.checked_mul((*d).max(1)))?;
    Some(if shape.contains(&0) { 0 } else { product })
}

/// A name from a file, for messages: not longer than a line.
fn shown(name: &str) -> String {
    match name.char_indices().nth(120) {
        Some((end, _)) => format!("{}...", name[..end].escape_debug()),
        None => name.escape_debug().to_string(),
    }
}

/// The bytes of a checkpoint.
pub fn save(model: &Model) -> Result<Vec<u8>> {
    model.check_memory()?;
    let tensors =
        model.entries().iter().map(|e| Ok((e.name.clone(), e.param.values()?))).collect::<Result<Vec<_>>>()?;
    let mut description = model.spec();
    if let Some(map) = description.as_object_mut() {
        map.insert("version".into(), json!(VERSION));
    }
    write(tensors, HashMap::from([(KEY.to_string(), description.to_string())]))
}

/// A model from the bytes of a checkpoint.
pub fn load(bytes: &[u8], device: &Device) -> Result<Arc<Model>> {
    rebuild(read_file(bytes, true)?, device)
}

/// The model that a file describes, with the weights in it.
pub fn rebuild(file: File, device: &Device) -> Result<Arc<Model>> {
    let description = file.metadata.get(KEY).ok_or_else(|| {
        Error::Checkpoint(
            "this file does not say which model it is for: build the model with its constructor, then use loadWeights"
                .into(),
        )
    })?;
    let spec: Json = serde_json::from_str(description)
        .map_err(|e| Error::Checkpoint(format!("the description of the model is damaged: {e}")))?;
    let model = Model::from_spec(&spec, 0)?;
    model.load_state(&arrays(file.tensors)?, true)?;
    model.move_to(device)?;
    Ok(model)
}

fn arrays(tensors: Vec<(String, Tensor)>) -> Result<Tensors> {
    tensors.into_iter().map(|(name, tensor)| Ok((name, tensor.array()?))).collect()
}

/// Named arrays.
pub type Tensors = Vec<(String, Array)>;

/// The named arrays in the bytes of a file, and the metadata.
pub fn read(bytes: &[u8]) -> Result<(Tensors, HashMap<String, String>)> {
    let file = read_file(bytes, false)?;
    Ok((arrays(file.tensors)?, file.metadata))
}

/// Reads a file that is in memory.
pub fn read_file(bytes: &[u8], widen: bool) -> Result<File> {
    read_with(bytes, Settings { size: Some(bytes.len() as u64), widen, ..Settings::default() })
}

/// Reads a file that is in memory, as `settings` say.
pub fn read_with(bytes: &[u8], settings: Settings) -> Result<File> {
    let mut reader = Reader::new(settings);
    loop {
        if reader.needs_size() {
            reader.set_size(bytes.len() as u64);
        }
        let Some(Range { offset, length }) = reader.next() else { return reader.finish() };
        let end = (offset + length).min(bytes.len() as u64);
        reader.feed(bytes.get(offset as usize..end as usize).unwrap_or_default())?;
    }
}
