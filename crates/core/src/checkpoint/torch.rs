//! PyTorch's zip format: finds the records that the tensors of a pickle need.

use super::element::Element;
use super::errors::{damaged, shown, unsupported};
use super::file::TensorPlan;
use super::layout::count_of;
use super::layout::Layout;
use super::py_value::{damaged_pickle, unreadable, View};
use super::record_reader::RecordReader;
use super::segments::Segment;
use super::select::Selected;
use super::sink::{check_memory, Sink};
use super::zip::Record;
use crate::Result;
use std::collections::HashMap;

/// The greatest length in bytes of a pickle that is read, if memory suffices for its values.
const LONGEST: u64 = 1 << 30;
/// Allowance for copies of views, in bytes beyond a multiple of what is stored.
const COPIES: u64 = 64 << 20;

/// The name of the record with the pickle.
pub const PICKLE: &str = "data.pkl";
const BYTE_ORDER: &str = "byteorder";

/// The records of a file, and their folder.
pub struct Archive {
    /// The records, in the order of their offsets.
    pub records: Vec<Record>,
    /// The folder of all records, with a slash at the end.
    pub folder: String,
}

/// The folder of all records, with a slash at the end.
///
/// # Errors
/// The file was not written by `torch.save`.
pub fn folder(records: &[Record]) -> Result<String> {
    let folder = |record: &Record| {
        record.name.strip_suffix(PICKLE).filter(|f| f.ends_with('/')).map(str::to_string)
    };
    let folder = records.iter().find_map(folder).ok_or_else(|| {
        damaged("this is a zip file, but none that torch.save has made: it has no data.pkl".into())
    })?;
    let script = format!("{folder}constants.pkl");
    if records.iter().any(|record| record.name == script) {
        return Err(damaged(
            "this file holds a program (torch.jit.save). Save the state dict instead, in Python: torch.save(model.state_dict(), path)".into(),
        ));
    }
    Ok(folder)
}

/// The records to read first: the pickle, and the byte order if there is one.
pub fn preamble(records: &[Record], folder: &str) -> Result<(Vec<Sink>, Vec<Segment>)> {
    let (mut sinks, mut segments) = (Vec::new(), Vec::new());
    for name in [PICKLE, BYTE_ORDER] {
        let full = format!("{folder}{name}");
        let Some(record) = records.iter().find(|record| record.name == full) else { continue };
        record.check_plain("the description of the tensors")?;
        if record.length > LONGEST {
            return Err(unsupported(format!(
                "the description of the tensors in this file ({name}) has {} bytes, more than are read: save the state \
                 dict alone, in Python: torch.save(model.state_dict(), path)",
                record.length
            )));
        }
        segments.push(segment(record, sinks.len()));
        sinks.push(Sink::new(name.into(), Element::U8, record.length as usize, false)?);
    }
    segments.sort_by_key(|segment| segment.start);
    Ok((sinks, segments))
}

/// The byte range of a record.
fn segment(record: &Record, sink: usize) -> Segment {
    Segment { start: record.start, end: record.end, sink, record: Some(RecordReader::of(record)) }
}

/// Returns an error if the values are not little-endian.
pub fn check_byte_order(order: &[u8]) -> Result<()> {
    if order == b"little" {
        return Ok(());
    }
    Err(damaged(format!(
        "the values in this file are `{}` endian: only little-endian files are read. Load and save it again on another machine, in Python",
        shown(&String::from_utf8_lossy(order))
    )))
}

/// A record whose values are read: the name of a tensor in it, the type and number of its values.
struct StorageRecord<'a> {
    name: &'a str,
    element: Element,
    count: u64,
    record: &'a Record,
}

/// The plans, sinks and byte ranges for the selected tensors. Checks everything before memory is
/// allocated.
pub fn contents(
    selected: &[Selected],
    zip: &Archive,
    widen: bool,
) -> Result<(Vec<TensorPlan>, Vec<Sink>, Vec<Segment>)> {
    let (plans, storages) = plan(selected, zip)?;
    let layouts = plans.iter().filter_map(|plan| plan.view.as_ref());
    let copied = layouts
        .fold(0u64, |sum, layout| sum.saturating_add((layout.count() as u64).saturating_mul(8)));
    check_copies(
        copied,
        storages.iter().map(|stored| stored.element.size() as u64 * stored.count).sum(),
    )?;
    check_memory(storages.iter().map(|stored| (stored.element, stored.count)), widen)?;
    let (mut sinks, mut segments) = (Vec::new(), Vec::new());
    for StorageRecord { name, element, count, record } in storages {
        segments.push(segment(record, sinks.len()));
        sinks.push(Sink::new(format!("tensor `{}`", shown(name)), element, count as usize, widen)?);
    }
    segments.sort_by_key(|segment| segment.start);
    Ok((plans, sinks, segments))
}

/// The plan of each tensor, and the storages, each of which is read once.
fn plan<'a>(
    selected: &'a [Selected],
    Archive { records, folder }: &'a Archive,
) -> Result<(Vec<TensorPlan>, Vec<StorageRecord<'a>>)> {
    let by_name: HashMap<&str, &Record> =
        records.iter().map(|record| (record.name.as_str(), record)).collect();
    let (mut plans, mut storages) = (Vec::new(), Vec::<StorageRecord>::new());
    let mut known: HashMap<&str, usize> = HashMap::new();
    for (name, view) in selected {
        let (element, count) = (view.element(name)?, view.stored(name)?);
        let sink = *known.entry(view.storage.key.as_str()).or_insert(storages.len());
        match storages.get(sink) {
            None => {
                let full = format!("{folder}data/{}", view.storage.key);
                let record = by_name.get(full.as_str()).copied();
                let record = check_record(record, &full, name, element, count)?;
                storages.push(StorageRecord { name, element, count, record });
            }
            Some(other) if other.element == element && other.count == count => {}
            // PyTorch writes this for types that have no storage class of their own
            Some(_) if view.dtype.is_some() => {
                return Err(unreadable(name, "shares its values with one of another type"))
            }
            Some(_) => {
                return Err(damaged_pickle(&format!(
                    "tensor `{}` gives its storage another type or size",
                    shown(name)
                )))
            }
        }
        let layout = layout(name, view, count)?;
        let whole = layout.is_whole(count as usize);
        plans.push(TensorPlan {
            name: name.clone(),
            sink,
            shape: layout.shape.clone(),
            view: (!whole).then_some(layout),
        });
    }
    Ok((plans, storages))
}

/// The record `full`; an error if it is missing or does not have the size that the storage needs.
fn check_record<'a>(
    record: Option<&'a Record>,
    full: &str,
    name: &str,
    element: Element,
    count: u64,
) -> Result<&'a Record> {
    let (name, full) = (shown(name), shown(full));
    let record = record.ok_or_else(|| {
        damaged(format!("this file is damaged: record `{full}` with tensor `{name}` is missing"))
    })?;
    record.check_plain(&format!("tensor `{name}`"))?;
    let needed =
        count.checked_mul(element.size() as u64).filter(|_| usize::try_from(count).is_ok());
    if needed == Some(record.length) {
        return Ok(record);
    }
    let needed = needed.map_or("more than can be".into(), |n| n.to_string());
    Err(damaged(format!(
        "this file is damaged: the storage of tensor `{name}` should have {needed} bytes, and record `{full}` has {}",
        record.length
    )))
}

/// Returns an error if copies of views need far more bytes than are stored: a malicious file could
/// describe large tensors with few values.
fn check_copies(copied: u64, stored: u64) -> Result<()> {
    if copied <= stored.saturating_mul(16).saturating_add(COPIES) {
        return Ok(());
    }
    Err(damaged(
        "the tensors of this file are views that repeat their values very often: save them with .clone() or .contiguous()".into(),
    ))
}

/// The layout of a view; an error if it exceeds its storage of `stored` values.
fn layout(name: &str, view: &View, stored: u64) -> Result<Layout> {
    let count = view.shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d));
    let last = view.shape.iter().zip(&view.strides).try_fold(view.offset, |at, (size, stride)| {
        at.checked_add(size.saturating_sub(1).checked_mul(*stride)?)
    });
    let inside = match (count, last) {
        (Some(0), _) => true,
        (Some(_), Some(last)) => last < stored,
        _ => false,
    };
    let narrow =
        |list: &[u64]| list.iter().map(|n| usize::try_from(*n).ok()).collect::<Option<Vec<_>>>();
    match (usize::try_from(view.offset).ok(), narrow(&view.shape), narrow(&view.strides)) {
        (Some(offset), Some(shape), Some(strides)) if inside && count_of(&shape).is_some() => {
            Ok(Layout { offset, shape, strides })
        }
        _ => Err(damaged_pickle(&format!(
            "tensor `{}` of shape {:?} with strides {:?} from {} on does not fit into its storage of {} values",
            shown(name),
            view.shape,
            view.strides,
            view.offset,
            stored
        ))),
    }
}

/// Returns an error for plain pickles: files of PyTorch before 1.6, or of other programs.
pub fn refuse_pickles(start: &[u8]) -> Result<()> {
    // the magic number at the beginning of the old format, pickled
    const MAGIC: &[u8] =
        &[0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.'];
    let [0x80, 2..=5, rest @ ..] = start else { return Ok(()) };
    // a header's length may begin like a pickle, but its upper four bytes are 0: no header has 4
    // GiB
    if start.get(4..8) == Some(&[0; 4]) {
        return Ok(());
    }
    let what = match rest.starts_with(MAGIC) {
        true => "this file has PyTorch's format from before version 1.6, which is not read",
        false => "this file is a pickle, not a file of torch.save; nothing in it was executed",
    };
    Err(damaged(format!(
        "{what}. Convert it, in Python with PyTorch 1.6 or newer: torch.save(torch.load(path, map_location=\"cpu\", weights_only=True), path), or save the \
         state dict with safetensors' save_file"
    )))
}
