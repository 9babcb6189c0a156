//! PyTorch's zip format: which records the tensors of a pickle need.

use super::choose::Chosen;
use super::data::{check_memory, Sink};
use super::element::Element;
use super::errors::{damaged, shown, unsupported};
use super::file::Plan;
use super::layout::count_of;
use super::layout::Layout;
use super::local::LocalHeader;
use super::pieces::Piece;
use super::value::{damaged_pickle, strange, View};
use super::zip::Record;
use crate::Result;
use std::collections::HashMap;

/// Longest pickle that is read, if there is memory for its values.
const LONGEST: u64 = 1 << 30;
/// Copies of views may take so much more than what is stored.
const COPIES: u64 = 64 << 20;

pub const PICKLE: &str = "data.pkl";
const BYTE_ORDER: &str = "byteorder";

/// The records of a file, and the folder that they are in.
pub struct Zip {
    pub records: Vec<Record>,
    pub folder: String,
}

/// The folder that all records are in, with its slash.
pub fn folder(records: &[Record]) -> Result<String> {
    let folder = |record: &Record| record.name.strip_suffix(PICKLE).filter(|f| f.ends_with('/')).map(str::to_string);
    let folder = records
        .iter()
        .find_map(folder)
        .ok_or_else(|| damaged("this is a zip file, but none that torch.save has made: it has no data.pkl".into()))?;
    let script = format!("{folder}constants.pkl");
    if records.iter().any(|record| record.name == script) {
        return Err(damaged(
            "this file holds a program (torch.jit.save). Save the state dict instead, in Python: torch.save(model.state_dict(), path)".into(),
        ));
    }
    Ok(folder)
}

/// What has to be read first: the pickle, and the order of the bytes where it is told.
pub fn preamble(records: &[Record], folder: &str) -> Result<(Vec<Sink>, Vec<Piece>)> {
    let (mut sinks, mut pieces) = (Vec::new(), Vec::new());
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
        pieces.push(piece(record, sinks.len()));
        sinks.push(Sink::new(name.into(), Element::U8, record.length as usize, false)?);
    }
    pieces.sort_by_key(|piece| piece.start);
    Ok((sinks, pieces))
}

fn piece(record: &Record, sink: usize) -> Piece {
    Piece { start: record.start, end: record.end, sink, record: Some(LocalHeader::of(record)) }
}

/// An error where the values are not little-endian.
pub fn check_byte_order(order: &[u8]) -> Result<()> {
    if order == b"little" {
        return Ok(());
    }
    Err(damaged(format!(
        "the values in this file are `{}` endian: only little-endian files are read. Load and save it again on another machine, in Python",
        shown(&String::from_utf8_lossy(order))
    )))
}

/// A record whose values are read: the name of a tensor in it, and what it holds.
struct Stored<'a> {
    name: &'a str,
    element: Element,
    count: u64,
    record: &'a Record,
}

/// What tensors need of the file. Everything is checked before memory is taken.
pub fn contents(chosen: &[Chosen], zip: &Zip, widen: bool) -> Result<(Vec<Plan>, Vec<Sink>, Vec<Piece>)> {
    let (plans, storages) = plan(chosen, zip)?;
    let layouts = plans.iter().filter_map(|plan| plan.view.as_ref());
    let copied = layouts.fold(0u64, |sum, layout| sum.saturating_add((layout.count() as u64).saturating_mul(8)));
    check_copies(copied, storages.iter().map(|stored| stored.element.size() as u64 * stored.count).sum())?;
    check_memory(storages.iter().map(|stored| (stored.element, stored.count)), widen)?;
    let (mut sinks, mut pieces) = (Vec::new(), Vec::new());
    for Stored { name, element, count, record } in storages {
        pieces.push(piece(record, sinks.len()));
        sinks.push(Sink::new(format!("tensor `{}`", shown(name)), element, count as usize, widen)?);
    }
    pieces.sort_by_key(|piece| piece.start);
    Ok((plans, sinks, pieces))
}

fn plan<'a>(chosen: &'a [Chosen], Zip { records, folder }: &'a Zip) -> Result<(Vec<Plan>, Vec<Stored<'a>>)> {
    let by_name: HashMap<&str, &Record> = records.iter().map(|record| (record.name.as_str(), record)).collect();
    let (mut plans, mut storages) = (Vec::new(), Vec::<Stored>::new());
    let mut known: HashMap<&str, usize> = HashMap::new();
    for (name, view) in chosen {
        let (element, count) = (view.element(name)?, view.stored(name)?);
        let sink = *known.entry(view.storage.key.as_str()).or_insert(storages.len());
        match storages.get(sink) {
            None => {
                let full = format!("{folder}data/{}", view.storage.key);
                let record = by_name.get(full.as_str()).copied();
                let record = check_record(record, &full, name, element, count)?;
                storages.push(Stored { name, element, count, record });
            }
            Some(other) if other.element == element && other.count == count => {}
            // PyTorch writes this of the types that have no storage of their own
            Some(_) if view.dtype.is_some() => return Err(strange(name, "shares its values with one of another type")),
            Some(_) => {
                return Err(damaged_pickle(&format!("tensor `{}` gives its storage another type or size", shown(name))))
            }
        }
        let layout = layout(name, view, count)?;
        let whole = layout.is_whole(count as usize);
        plans.push(Plan { name: name.clone(), sink, shape: layout.shape.clone(), view: (!whole).then_some(layout) });
    }
    Ok((plans, storages))
}

/// The record `full`, which must have the bytes that a storage needs.
fn check_record<'a>(
    record: Option<&'a Record>,
    full: &str,
    name: &str,
    element: Element,
    count: u64,
) -> Result<&'a Record> {
    let (name, full) = (shown(name), shown(full));
    let record = record
        .ok_or_else(|| damaged(format!("this file is damaged: record `{full}` with tensor `{name}` is missing")))?;
    record.check_plain(&format!("tensor `{name}`"))?;
    let needed = count.checked_mul(element.size() as u64).filter(|_| usize::try_from(count).is_ok());
    if needed == Some(record.length) {
        return Ok(record);
    }
    let needed = needed.map_or("more than can be".into(), |n| n.to_string());
    Err(damaged(format!(
        "this file is damaged: the storage of tensor `{name}` should have {needed} bytes, and record `{full}` has {}",
        record.length
    )))
}

/// A hostile file could describe large tensors by few values.
fn check_copies(copied: u64, stored: u64) -> Result<()> {
    if copied <= stored.saturating_mul(16).saturating_add(COPIES) {
        return Ok(());
    }
    Err(damaged(
        "the tensors of this file are views that repeat their values very often: save them with .clone() or .contiguous()".into(),
    ))
}

/// Checks that a view stays within its storage of `stored` values.
fn layout(name: &str, view: &View, stored: u64) -> Result<Layout> {
    let count = view.shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d));
    let last = view
        .shape
        .iter()
        .zip(&view.strides)
        .try_fold(view.offset, |at, (size, stride)| at.checked_add(size.saturating_sub(1).checked_mul(*stride)?));
    let inside = match (count, last) {
        (Some(0), _) => true,
        (Some(_), Some(last)) => last < stored,
        _ => false,
    };
    let narrow = |list: &[u64]| list.iter().map(|n| usize::try_from(*n).ok()).collect::<Option<Vec<_>>>();
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

/// Pickles that stand alone are of PyTorch before 1.6, or of something else.
pub fn refuse_pickles(start: &[u8]) -> Result<()> {
    // the number that the old format begins with, as a pickle
    const MAGIC: &[u8] = &[0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.'];
    let [0x80, 2..=5, rest @ ..] = start else { return Ok(()) };
    // the length of a header cannot look like this: it would be longer than any
    if start.get(4..8) == Some(&[0; 4]) {
        return Ok(());
    }
    let what = match rest.starts_with(MAGIC) {
        true => "this file has PyTorch's format from before version 1.6, which is not read",
        false => "this file is a pickle, not a file of torch.save; nothing in it was executed",
    };
    Err(damaged(format!(
        "{what}. Convert it, in Python with PyTorch 1.6 or newer: torch.save(torch.load(path, weights_only=True), path), or save the \
         state dict with safetensors' save_file"
    )))
}
