//! Serialises named tensors to safetensors. The result is deterministic.

use super::errors::shown;
use super::header::{LONGEST, METADATA};
use super::layout::count_of;
use crate::{Array, DType, Device, Error, Result, Tensor};
use safetensors::Dtype;
use serde_json::{json, Map, Value as Json};
use std::collections::{HashMap, HashSet};
use xt_kernels::memory;

/// The alignment of the end of the header, and so of the values behind it.
const ALIGNMENT: usize = 8;

/// A tensor that is ready to be written.
struct Line {
    name: String,
    /// A contiguous array in main memory.
    array: Array,
    dtype: Dtype,
}

impl Line {
    /// `boolean`: the u8 values are booleans.
    fn new(name: String, array: Array, boolean: bool) -> Result<Self> {
        if name == METADATA {
            return Err(Error::Shape(format!(
                "a tensor cannot have the name `{METADATA}`: in a safetensors file the metadata has it"
            )));
        }
        if count_of(array.dims()).is_none() {
            return Err(Error::Shape(format!(
                "the shape of tensor `{}` is too large for a file",
                shown(&name)
            )));
        }
        let array = xt_kernels::ops::layout::contiguous(&array)?.to_device(&Device::Cpu)?;
        let dtype = if boolean { Dtype::BOOL } else { type_of(&array)? };
        Ok(Self { name, array, dtype })
    }

    /// The number of bytes of the values.
    fn size(&self) -> usize {
        self.array.elem_count() * self.array.dtype().size_in_bytes()
    }
}

/// Serialises named arrays to safetensors.
///
/// # Errors
/// Two names are equal, a name or shape is not allowed, the header would be too long, or memory
/// does not suffice.
pub fn write(tensors: Vec<(String, Array)>, metadata: HashMap<String, String>) -> Result<Vec<u8>> {
    write_lines(tensors.into_iter().map(|(name, array)| Line::new(name, array, false)), metadata)
}

/// As [`write()`] for tensors, some of which may be boolean.
pub fn write_tensors(
    named: Vec<(String, Tensor)>,
    metadata: HashMap<String, String>,
) -> Result<Vec<u8>> {
    write_lines(
        named.into_iter().map(|(name, t)| Line::new(name, t.array()?, t.is_boolean())),
        metadata,
    )
}

/// Serialises the tensors.
fn write_lines(
    lines: impl Iterator<Item = Result<Line>>,
    metadata: HashMap<String, String>,
) -> Result<Vec<u8>> {
    let mut lines = lines.collect::<Result<Vec<_>>>()?;
    check_names(&lines)?;
    // types with more bytes first, so that all values are aligned
    lines.sort_by(|a, b| b.dtype.cmp(&a.dtype).then_with(|| a.name.cmp(&b.name)));
    let header = header(&lines, metadata)?;
    let size = lines.iter().fold(8 + header.len(), |sum, line| sum.saturating_add(line.size()));
    let mut bytes = with_capacity(size)?;
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header);
    for Line { array, .. } in &lines {
        array.with_bytes(|values| bytes.extend_from_slice(values))?;
    }
    Ok(bytes)
}

/// The type of an array in safetensors.
fn type_of(array: &Array) -> Result<Dtype> {
    Ok(match array.dtype() {
        DType::U8 => Dtype::U8,
        DType::U32 => Dtype::U32,
        DType::I64 => Dtype::I64,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::F32 => Dtype::F32,
        DType::F64 => Dtype::F64,
        other => return Err(Error::Internal(format!("a tensor of type {other:?} in a file"))),
    })
}

/// Returns an error if two tensors have the same name.
fn check_names(lines: &[Line]) -> Result<()> {
    let mut names = HashSet::new();
    match lines.iter().find(|line| !names.insert(&line.name)) {
        None => Ok(()),
        Some(Line { name, .. }) => {
            Err(Error::Shape(format!("two tensors have the name `{}`", shown(name))))
        }
    }
}

/// The header, padded with spaces.
fn header(lines: &[Line], metadata: HashMap<String, String>) -> Result<Vec<u8>> {
    let mut map = Map::new();
    if !metadata.is_empty() {
        let mut sorted: Vec<_> = metadata.into_iter().collect();
        sorted.sort();
        let entries = sorted.into_iter().map(|(key, text)| (key, Json::String(text)));
        map.insert(METADATA.into(), Json::Object(entries.collect()));
    }
    let mut at = 0;
    for line in lines {
        let (from, to) = (at, at + line.size());
        let place =
            json!({ "dtype": line.dtype, "shape": line.array.dims(), "data_offsets": [from, to] });
        map.insert(line.name.clone(), place);
        at = to;
    }
    let mut text = Json::Object(map).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(ALIGNMENT), b' ');
    if text.len() as u64 > LONGEST {
        return Err(Error::Shape(format!(
            "the names, shapes and metadata of these tensors need a header of {} bytes, and no reader of safetensors takes more than {LONGEST}: \
             save them in several files",
            text.len()
        )));
    }
    Ok(text)
}

/// An empty vector with capacity for `size` bytes; an error if memory does not suffice.
fn with_capacity(size: usize) -> Result<Vec<u8>> {
    memory::check("the bytes of this file", size as u64)?;
    let mut bytes = Vec::new();
    match bytes.try_reserve_exact(size) {
        Ok(()) => Ok(bytes),
        // the check above should have failed; another thread may have allocated since
        Err(e) => Err(Error::Checkpoint(format!(
            "the {size} bytes of this file do not fit into memory: {e}"
        ))),
    }
}
