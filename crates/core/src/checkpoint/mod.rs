//! Checkpoints: safetensors files with the names of the reference. The metadata contains class,
//! options and version, so that the bytes suffice to rebuild the model. Weights of the Python
//! package are read from safetensors and from PyTorch's zip format. This module does no file
//! access: a [`Reader`] requests the bytes that it needs next.

mod assemble;
mod dict;
mod element;
mod errors;
mod file;
mod float8;
mod global;
mod header;
mod layout;
mod optimizer;
mod paths;
mod pickle;
mod py_value;
mod reader;
mod record_reader;
mod segments;
mod select;
mod sink;
#[cfg(test)]
mod tests;
mod torch;
mod truncated;
mod write;
mod write_optimizer;
mod write_pickle;
mod write_zip;
mod zip;

pub use file::{File, Range, Settings};
pub use reader::Reader;
pub use write::{write, write_tensors};
pub use write_optimizer::write_optimizer;

use crate::models::LoraLayers;
use crate::{Array, Device, Error, Model, Result, Rng, Tensor, VERSION};
use serde_json::{json, Value as Json};
use std::collections::HashMap;
use std::sync::Arc;

/// The metadata key of the description of the model.
const KEY: &str = "x-transformers";

/// The key of the low-rank updates in that description.
const LORA: &str = "lora";

/// Serialises a model to the bytes of a checkpoint.
pub fn save(model: &Model) -> Result<Vec<u8>> {
    model.check_memory()?;
    let tensors = model
        .all_entries()
        .iter()
        .map(|e| Ok((e.name.clone(), e.param.values()?)))
        .collect::<Result<Vec<_>>>()?;
    let mut description = model.spec();
    if let Some(map) = description.as_object_mut() {
        map.insert("version".into(), json!(VERSION));
        let lora = model.lora();
        if !lora.is_empty() {
            map.insert(LORA.into(), json!(lora));
        }
    }
    write(tensors, HashMap::from([(KEY.to_string(), description.to_string())]))
}

/// Rebuilds a model from the bytes of a checkpoint.
pub fn load(bytes: &[u8], device: &Device) -> Result<Arc<Model>> {
    rebuild(read_file(bytes, true)?, device)
}

/// Rebuilds the model that a file describes, with its weights.
pub fn rebuild(file: File, device: &Device) -> Result<Arc<Model>> {
    let description = file.metadata.get(KEY).ok_or_else(|| {
        Error::Checkpoint(
            "this file does not say which model it is for: build the model with its constructor, then use loadWeights"
                .into(),
        )
    })?;
    let damaged = |e| Error::Checkpoint(format!("the description of the model is damaged: {e}"));
    let spec: Json = serde_json::from_str(description).map_err(damaged)?;
    let model = Model::from_spec(&spec, 0)?;
    if let Some(lora) = spec.get(LORA) {
        let all: Vec<LoraLayers> = serde_json::from_value(lora.clone()).map_err(damaged)?;
        all.iter().try_for_each(|layers| model.add_lora(layers, &Rng::new(0, 0)))?;
    }
    model.load_state(&arrays(file.tensors)?, true)?;
    model.move_to(device)?;
    Ok(model)
}

/// The arrays of named tensors.
fn arrays(tensors: Vec<(String, Tensor)>) -> Result<Tensors> {
    tensors.into_iter().map(|(name, tensor)| Ok((name, tensor.array()?))).collect()
}

/// Named arrays.
pub type Tensors = Vec<(String, Array)>;

/// The named arrays and the metadata of a file in memory.
pub fn read(bytes: &[u8]) -> Result<(Tensors, HashMap<String, String>)> {
    let file = read_file(bytes, false)?;
    Ok((arrays(file.tensors)?, file.metadata))
}

/// Reads a file in memory. `widen`: half precision becomes f32.
pub fn read_file(bytes: &[u8], widen: bool) -> Result<File> {
    read_with(bytes, Settings { size: Some(bytes.len() as u64), widen, ..Settings::default() })
}

/// Reads a file in memory with these settings.
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
