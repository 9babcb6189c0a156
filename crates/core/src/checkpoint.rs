//! Checkpoints: safetensors with the reference's names; class, options and version stand in the metadata, so that the bytes
//! alone rebuild the model. Files are the business of others.

use crate::{Array, Device, Error, Model, Result, Tensor, VERSION};
use safetensors::SafeTensors;
use serde_json::{json, Value as Json};
use std::collections::HashMap;
use std::sync::Arc;
use xt_autograd::DType;

/// The key of the metadata that describes the model.
const KEY: &str = "x-transformers";

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
    let (tensors, metadata) = read(bytes)?;
    let description = metadata.get(KEY).ok_or_else(|| {
        Error::Checkpoint(
            "this safetensors file does not say which model it is for: build the model with its constructor, then use loadStateDict".into(),
        )
    })?;
    let spec: Json = serde_json::from_str(description)
        .map_err(|e| Error::Checkpoint(format!("the description of the model is damaged: {e}")))?;
    let model = Model::from_spec(&spec, 0)?;
    model.load_state(&tensors, true)?;
    model.move_to(device)?;
    Ok(model)
}

/// Safetensors bytes of named arrays.
pub fn write(tensors: Vec<(String, Array)>, metadata: HashMap<String, String>) -> Result<Vec<u8>> {
    let plain = tensors
        .into_iter()
        .map(|(name, array)| Ok((name, array.contiguous()?.to_device(&Device::Cpu)?)))
        .collect::<Result<Vec<_>>>()?;
    safetensors::serialize(plain, Some(metadata))
        .map_err(|e| Error::Checkpoint(format!("cannot write the checkpoint: {e}")))
}

/// Named arrays.
pub type Tensors = Vec<(String, Array)>;

/// The named arrays in safetensors bytes, and the metadata.
pub fn read(bytes: &[u8]) -> Result<(Tensors, HashMap<String, String>)> {
    let damaged =
        |e: safetensors::SafeTensorError| Error::Checkpoint(format!("this is no whole safetensors file: {e}"));
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
    let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let array = |name: &str| -> Result<Array> {
        let view = file.tensor(name).map_err(damaged)?;
        let dtype = DType::try_from(view.dtype()).map_err(|_| {
            Error::Checkpoint(format!("tensor `{name}` has the type {:?}, which is not supported", view.dtype()))
        })?;
        Ok(Array::from_raw_buffer(view.data(), dtype, view.shape(), &Device::Cpu)?)
    };
    let mut names: Vec<String> = file.names().into_iter().map(str::to_string).collect();
    names.sort();
    let tensors = names.into_iter().map(|name| Ok((name.clone(), array(&name)?))).collect::<Result<_>>()?;
    Ok((tensors, header.metadata().clone().unwrap_or_default()))
}

/// The same for tensors, with the mark of truth values kept out: safetensors has u8 for both.
pub fn write_tensors(named: Vec<(String, Tensor)>, metadata: HashMap<String, String>) -> Result<Vec<u8>> {
    let arrays = named.into_iter().map(|(name, t)| Ok((name, t.array()?))).collect::<Result<_>>()?;
    write(arrays, metadata)
}
