//! The header of a safetensors file: names, types, shapes and offsets of its tensors.

use super::element::Element;
use super::errors::{damaged, shown, unsupported};
use super::file::TensorPlan;
use super::layout::count_of;
use super::segments::Segment;
use super::sink::{check_memory, Sink};
use crate::Result;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use std::collections::{HashMap, HashSet};
use std::fmt;
use xt_kernels::memory;

/// The key of the metadata, which no tensor can have as its name.
pub const METADATA: &str = "__metadata__";

/// The greatest length of a header in bytes, for reading and writing, as in the safetensors
/// library.
pub const LONGEST: u64 = 100_000_000;

const WHAT: &str = "this is no whole safetensors file";

/// The length of the header, from the first eight bytes of the file.
pub fn length(head: &[u8], size: Option<u64>) -> Result<u64> {
    let Some(bytes) = head.first_chunk::<8>() else {
        return Err(damaged(format!("{WHAT}: it has {} bytes", head.len())));
    };
    let length = u64::from_le_bytes(*bytes);
    if length > LONGEST {
        return Err(damaged(format!(
            "{WHAT}: its header should have {length} bytes, more than any has"
        )));
    }
    match size {
        Some(size) if 8 + length > size => Err(damaged(format!(
            "{WHAT}: its header should have {length} bytes, and the file ends after {size}"
        ))),
        _ => {
            memory::check("the header of this safetensors file", 16 * length)?;
            Ok(length)
        }
    }
}

/// The header's description of one tensor.
#[derive(serde::Deserialize)]
struct Info {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

#[derive(Default)]
struct Header {
    metadata: HashMap<String, String>,
    tensors: Vec<(String, Info)>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(Entries)
    }
}

/// Collects all entries: with a map, the last of two entries of the same name would replace the
/// first.
struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object with the tensors by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Header, A::Error> {
        let mut header = Header::default();
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                METADATA => header.metadata = map.next_value::<Option<_>>()?.unwrap_or_default(),
                _ => header.tensors.push((name, map.next_value()?)),
            }
        }
        Ok(header)
    }
}

/// The content of a file, and where it is.
pub struct Contents {
    /// The metadata.
    pub metadata: HashMap<String, String>,
    /// How each tensor is built, sorted by name.
    pub plans: Vec<TensorPlan>,
    /// One sink per tensor.
    pub sinks: Vec<Sink>,
    /// The bytes of each tensor, in the order of the file.
    pub segments: Vec<Segment>,
    /// The end of the last tensor, as an offset in the file.
    pub end: u64,
}

/// Reads a header. Checks everything before memory for a tensor is allocated.
pub fn read(json: &[u8], size: Option<u64>, widen: bool) -> Result<Contents> {
    let mut header: Header = serde_json::from_slice(json).map_err(|e| {
        damaged(format!("{WHAT}: its header of {} bytes is damaged: {e}", json.len()))
    })?;
    check_names(&header.tensors)?;
    header.tensors.sort_by_key(|(_, info)| info.data_offsets);
    let checked: Vec<(Element, Vec<usize>)> =
        header.tensors.iter().map(|(name, info)| check(name, info)).collect::<Result<_>>()?;
    let start = 8 + json.len() as u64;
    let end = check_places(&header.tensors, start, size)?;
    let counts =
        checked.iter().map(|(element, shape)| (*element, shape.iter().product::<usize>() as u64));
    check_memory(counts, widen)?;
    let mut contents =
        Contents { metadata: header.metadata, plans: vec![], sinks: vec![], segments: vec![], end };
    for ((name, info), (element, shape)) in header.tensors.into_iter().zip(checked) {
        let (sink, count) = (contents.sinks.len(), shape.iter().product());
        let (from, to) = info.data_offsets;
        contents.sinks.push(Sink::new(
            format!("tensor `{}`", shown(&name)),
            element,
            count,
            widen,
        )?);
        contents.segments.push(Segment {
            start: start + from,
            end: start + to,
            sink,
            record: None,
        });
        contents.plans.push(TensorPlan { name, sink, shape, view: None });
    }
    contents.plans.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(contents)
}

/// Returns an error if two tensors have the same name.
fn check_names(tensors: &[(String, Info)]) -> Result<()> {
    let mut names = HashSet::new();
    match tensors.iter().find(|(name, _)| !names.insert(name)) {
        None => Ok(()),
        Some((name, _)) => {
            Err(damaged(format!("{WHAT}: it has two tensors named `{}`", shown(name))))
        }
    }
}

/// The type and shape of a tensor; an error if its number of bytes does not match them.
fn check(name: &str, info: &Info) -> Result<(Element, Vec<usize>)> {
    let name = shown(name);
    let element =
        Element::of_safetensors(&info.dtype).ok_or_else(|| {
            match Element::is_foreign(&info.dtype) {
                true => unsupported(format!(
                    "tensor `{name}` has the type {}, which is not supported",
                    info.dtype
                )),
                false => damaged(format!(
                    "tensor `{name}` has the type {}, which is unknown",
                    shown(&info.dtype)
                )),
            }
        })?;
    // JavaScript's numbers represent no larger lengths
    let length = |d: &u64| usize::try_from(*d).ok().filter(|_| *d <= 1 << 53);
    let shape: Option<Vec<usize>> = info.shape.iter().map(length).collect();
    let bytes = shape
        .as_deref()
        .and_then(count_of)
        .and_then(|n| (n as u64).checked_mul(element.size() as u64));
    let (from, to) = info.data_offsets;
    match (shape, bytes) {
        (Some(shape), Some(bytes)) if to.checked_sub(from) == Some(bytes) => Ok((element, shape)),
        (_, bytes) => Err(damaged(format!(
            "tensor `{name}` of shape {:?} and type {} should have {} bytes, and its data goes from {from} to {to}",
            info.shape,
            info.dtype,
            bytes.map_or("more than can be".into(), |n| n.to_string())
        ))),
    }
}

/// Checks that the tensors fill the file from `start` on, without overlaps and gaps. Returns the
/// end of the last one.
fn check_places(tensors: &[(String, Info)], start: u64, size: Option<u64>) -> Result<u64> {
    let (mut end, mut before) = (0, "the header");
    for (name, Info { data_offsets: (from, to), .. }) in tensors {
        if *from != end {
            let what =
                if *from < end { "overlaps" } else { "does not begin where it should, after" };
            let (name, before) = (shown(name), shown(before));
            return Err(damaged(format!(
                "{WHAT}: tensor `{name}` {what} {before}: it begins at {from}, not at {end}"
            )));
        }
        let place = start.checked_add(*to).filter(|place| size.is_none_or(|size| *place <= size));
        if place.is_none() {
            let (name, size) = (shown(name), size.unwrap_or(u64::MAX));
            return Err(damaged(format!(
                "{WHAT}: it ends after {size} bytes, in the middle of tensor `{name}` (bytes {} to {})",
                start.saturating_add(*from),
                start.saturating_add(*to)
            )));
        }
        (end, before) = (*to, name);
    }
    match size {
        Some(size) if start + end < size => Err(too_long(start + end)),
        _ => Ok(start + end),
    }
}

/// The error for data after the last tensor.
pub fn too_long(end: u64) -> crate::Error {
    damaged(format!("{WHAT}: it goes on after its last tensor, which ends at byte {end}"))
}
