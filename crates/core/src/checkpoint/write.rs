//! Named tensors as the bytes of a safetensors file. The same tensors give the same bytes.

use super::errors::shown;
use super::header::{LONGEST, METADATA};
use super::layout::count_of;
use crate::{Array, DType, Device, Error, Result, Tensor};
use safetensors::Dtype;
use serde_json::{json, Map, Value as Json};
use std::collections::{HashMap, HashSet};
use xt_kernels::memory;

/// Where a header must end, so that the values behind it are aligned.
const ALIGNMENT: usize = 8;

/// A tensor that is ready to be written.
struct Line {
    name: String,
    /// In main memory, without gaps.
    array: Array,
    dtype: Dtype,
}

impl Line {
    /// `boolean`: the values of type u8 are truth values.
    fn new(name: String, array: Array, boolean: bool) -> Result<Self> {
        if name == METADATA {
            return Err(Error::Shape(format!(
                "a tensor cannot have the name `{METADATA}`: in a safetensors file the metadata has it"
            )));
        }
        if count_of(array.dims()).is_none() {
            return Err(Error::Shape(format!("the shape of tensor `{}` is too large for a file", shown(&name))));
        }
        let array = xt_kernels::ops::layout::contiguous(&array)?.to_device(&Device::Cpu)?;
        let dtype = if boolean { Dtype::BOOL } else { type_of(&array)? };
        Ok(Self { name, array, dtype })
    }

    fn size(&self) -> usize {
        self.array.elem_count() * self.array.dtype().size_in_bytes()
    }
}

/// Safetensors bytes of named arrays.
pub fn write(tensors: Vec<(String, Array)>, metadata: HashMap<String, String>) -> Result<Vec<u8>> {
    write_lines(tensors.into_iter().map(|(name, array)| Line::new(name, array, false)), metadata)
}

/// The same for tensors, of which some hold truth values.
pub fn write_tensors(named: Vec<(String, Tensor)>, metadata: HashMap<String, String>) -> Result<Vec<u8>> {
    write_lines(named.into_iter().map(|(name, t)| Line::new(name, t.array()?, t.is_boolean())), metadata)
}

fn write_lines(lines: impl Iterator<Item = Result<Line>>, metadata: HashMap<String, String>) -> Result<Vec<u8>> {
    let mut lines = lines.collect::<Result<Vec<_>>>()?;
    check_names(&lines)?;
    // wide types first, so that all values are aligned
    lines.sort_by(|a, b| b.dtype.cmp(&a.dtype).then_with(|| a.name.cmp(&b.name)));
    let header = header(&lines, metadata)?;
    let size = lines.iter().fold(8 + header.len(), |sum, line| sum.saturating_add(line.size()));
    let mut bytes = room(size)?;
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header);
    for Line { array, .. } in &lines {
        array.with_bytes(|values| bytes.extend_from_slice(values))?;
    }
    Ok(bytes)
}

/// The type of the values as the format names it.
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

fn check_names(lines: &[Line]) -> Result<()> {
    let mut names = HashSet::new();
    match lines.iter().find(|line| !names.insert(&line.name)) {
        None => Ok(()),
        Some(Line { name, .. }) => Err(Error::Shape(format!("two tensors have the name `{}`", shown(name)))),
    }
}

/// What stands in front of the values, with its spaces at the end.
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
        let place = json!({ "dtype": line.dtype, "shape": line.array.dims(), "data_offsets": [from, to] });
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

/// An empty vector with room for `size` bytes, or an error where memory does not give them.
fn room(size: usize) -> Result<Vec<u8>> {
    memory::check("the bytes of this file", size as u64)?;
    let mut bytes = Vec::new();
    match bytes.try_reserve_exact(size) {
        Ok(()) => Ok(bytes),
        // the check above has asked for the same; another thread may have taken it since
        Err(e) => Err(Error::Checkpoint(format!("the {size} bytes of this file do not fit into memory: {e}"))),
    }
}
