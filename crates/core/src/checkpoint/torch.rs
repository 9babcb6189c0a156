//! PyTorch's zip format: which tensors a pickle describes, and which records they need.

use super::data::{check_memory, Element, Sink};
use super::layout::Layout;
use super::pickle::Pickle;
use super::pieces::Piece;
use super::value::{damaged_pickle, Id, Value, View};
use super::zip::{LocalHeader, Record};
use super::{count_of, damaged, shown, Plan};
use crate::Result;
use std::collections::{HashMap, HashSet};

/// Longest pickle that is read.
const LONGEST: u64 = 16 << 20;
/// Copies of views may take so much more than what is stored.
const COPIES: u64 = 64 << 20;
/// Shapes of tensors that have several names may have so many more numbers than the pickle has bytes.
const SHARED: usize = 1 << 20;
/// How many dicts a message names.
const NAMED: usize = 8;

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
            return Err(damaged_pickle(&format!("it has {} bytes, more than any state dict needs", record.length)));
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

/// The entries of a dict; none of what is no dict.
fn pairs(pickle: &Pickle, dict: Id) -> &[(Id, Id)] {
    match pickle.values.get(dict) {
        Some(Value::Dict(pairs)) => pairs,
        _ => &[],
    }
}

/// Entries whose key is text and whose value is a tensor, in order.
fn entries(pickle: &Pickle, dict: Id) -> impl Iterator<Item = (&str, &View)> {
    let entry = |(key, value): &(Id, Id)| match (pickle.values.get(*key), pickle.values.get(*value)) {
        (Some(Value::Text(name)), Some(Value::Tensor(view))) => Some((name.as_str(), &**view)),
        _ => None,
    };
    pairs(pickle, dict).iter().filter_map(entry)
}

/// The tensors of a dict, in order.
fn tensors_in(pickle: &Pickle, dict: Id) -> Result<Vec<(&str, &View)>> {
    let (mut names, mut found) = (HashSet::new(), Vec::new());
    // a name costs a few bytes, and would get a copy of the shape of a tensor that has other names too
    let mut left = pickle.length + SHARED;
    for (name, view) in entries(pickle, dict) {
        if !names.insert(name) {
            return Err(damaged_pickle(&format!("it has two tensors named `{}`", shown(name))));
        }
        let rest = left.checked_sub(2 * view.shape.len() + 4);
        left = rest.ok_or_else(|| damaged_pickle("it has more tensors than its size allows"))?;
        found.push((name, view));
    }
    Ok(found)
}

/// The dicts in the outer one that have tensors. Many names can stand for the same dict, so that each is looked at once.
fn inner(pickle: &Pickle) -> Vec<(&str, Id)> {
    let mut seen = HashMap::new();
    let mut has_tensors = |dict: Id| *seen.entry(dict).or_insert_with(|| entries(pickle, dict).next().is_some());
    let dict = |(key, value): &(Id, Id)| match pickle.values.get(*key) {
        Some(Value::Text(name)) if has_tensors(*value) => Some((name.as_str(), *value)),
        _ => None,
    };
    pairs(pickle, pickle.root).iter().filter_map(dict).collect()
}

/// The names of dicts, for messages: not more than one reads.
fn named(dicts: &[(&str, Id)]) -> String {
    let names: Vec<String> = dicts.iter().take(NAMED).map(|(name, _)| format!("`{}`", shown(name))).collect();
    match dicts.len() {
        0 => "none".into(),
        count if count > NAMED => format!("{} and {} more", names.join(", "), count - NAMED),
        _ => names.join(", "),
    }
}

/// The state dict of a file: its dict itself, or the only one in it that has tensors, or the one named `key`.
pub fn state_dict<'a>(pickle: &'a Pickle, key: Option<&str>) -> Result<Vec<(&'a str, &'a View)>> {
    if let Some(key) = key {
        let dicts = inner(pickle);
        return match dicts.iter().find(|(name, _)| *name == key) {
            Some((_, dict)) => tensors_in(pickle, *dict),
            None => Err(damaged(format!(
                "this file has no dict of tensors named `{}`; it has: {}",
                shown(key),
                named(&dicts)
            ))),
        };
    }
    let outer = tensors_in(pickle, pickle.root)?;
    if !outer.is_empty() {
        return Ok(outer);
    }
    let is_empty_dict = matches!(pickle.values.get(pickle.root), Some(Value::Dict(pairs)) if pairs.is_empty());
    match inner(pickle).as_slice() {
        [(_, dict)] => tensors_in(pickle, *dict),
        [] if is_empty_dict => Ok(Vec::new()),
        [] => Err(damaged(
            "this file holds no state dict: no dict from names to tensors. In Python: torch.save(model.state_dict(), path)".into(),
        )),
        several => Err(damaged(format!("this file has several dicts of tensors: choose one by the option `key`: {}", named(several)))),
    }
}

/// What the state dict needs of the file. Everything is checked before memory is taken.
pub fn contents(
    pickle: &Pickle,
    key: Option<&str>,
    Zip { records, folder }: &Zip,
    widen: bool,
) -> Result<(Vec<Plan>, Vec<Sink>, Vec<Piece>)> {
    let by_name: HashMap<&str, &Record> = records.iter().map(|record| (record.name.as_str(), record)).collect();
    let (mut plans, mut storages) = (Vec::new(), Vec::new());
    let mut known: HashMap<&str, usize> = HashMap::new();
    let mut copied = 0u64;
    for (name, view) in state_dict(pickle, key)? {
        let storage = &view.storage;
        let element = storage.element(name)?;
        let sink = *known.entry(storage.key.as_str()).or_insert(storages.len());
        if sink == storages.len() {
            let full = format!("{folder}data/{}", storage.key);
            let record = by_name.get(full.as_str()).copied();
            storages.push((name, element, storage, check_record(record, &full, name, element, storage.count)?));
        } else if storages.get(sink).is_none_or(|(_, other, same, _)| *other != element || same.count != storage.count)
        {
            return Err(damaged_pickle(&format!("tensor `{}` gives its storage another type or size", shown(name))));
        }
        let layout = layout(name, view)?;
        let whole = layout.is_whole(storage.count as usize);
        copied = copied.saturating_add(if whole { 0 } else { (layout.count() as u64).saturating_mul(8) });
        plans.push(Plan { name: name.into(), sink, shape: layout.shape.clone(), view: (!whole).then_some(layout) });
    }
    check_copies(copied, storages.iter().map(|(_, element, storage, _)| element.size() as u64 * storage.count).sum())?;
    check_memory(storages.iter().map(|(_, element, storage, _)| (*element, storage.count)), widen)?;
    let (mut sinks, mut pieces) = (Vec::new(), Vec::new());
    for (name, element, storage, record) in storages {
        pieces.push(piece(record, sinks.len()));
        sinks.push(Sink::new(format!("tensor `{}`", shown(name)), element, storage.count as usize, widen)?);
    }
    pieces.sort_by_key(|piece| piece.start);
    Ok((plans, sinks, pieces))
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

/// Checks that a view stays within its storage.
fn layout(name: &str, view: &View) -> Result<Layout> {
    let count = view.shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d));
    let last = view
        .shape
        .iter()
        .zip(&view.strides)
        .try_fold(view.offset, |at, (size, stride)| at.checked_add(size.saturating_sub(1).checked_mul(*stride)?));
    let inside = match (count, last) {
        (Some(0), _) => true,
        (Some(_), Some(last)) => last < view.storage.count,
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
            view.storage.count
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
