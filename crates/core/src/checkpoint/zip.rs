//! The few structures of a zip file that PyTorch's format needs: the directory at the end, and the header before each record.
//!
//! The crates for zip files want to read and seek by themselves; here the bytes are asked for and come later, which in a browser
//! nothing can wait for. PyTorch stores its records as they are, so that nothing has to be unpacked.

use super::errors::damaged;
use crate::{Error, Result};
use std::collections::HashSet;

/// How far from the end the directory's own end may begin: its 22 bytes, a comment, and what points to the one for large files.
pub const TAIL: u64 = 22 + 0xffff + 20;
/// Length of the end of the directory for large files.
pub const END64: u64 = 56;
/// Length of the header before a record, without name and extra field.
pub const LOCAL: usize = 30;
/// Longest directory that is read.
const DIRECTORY: u64 = 64 << 20;

/// A number of `N` bytes, little-endian.
pub fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let mut wide = [0; 8];
    wide[..N].copy_from_slice(bytes.get(at..at.checked_add(N)?)?);
    Some(u64::from_le_bytes(wide))
}

fn cut() -> Error {
    damaged("this zip file is damaged: its directory ends too early".into())
}

/// Where the directory stands.
#[derive(Debug, PartialEq, Eq)]
pub struct Directory {
    pub offset: u64,
    pub length: u64,
    count: u64,
}

/// What the end of a file says.
pub enum End {
    Directory(Directory),
    /// Of large files: the place of what says it.
    Zip64(u64),
}

/// Looks for the end of the directory in the last bytes of a file.
pub fn find_end(tail: &[u8], size: u64) -> Result<End> {
    let is_end = |at: &usize| {
        tail[*at..].starts_with(b"PK\x05\x06")
            && number::<2>(tail, at + 20).is_some_and(|comment| at + 22 + comment as usize == tail.len())
    };
    let at = (0..tail.len().saturating_sub(21)).rev().find(is_end).ok_or_else(|| {
        damaged(format!(
            "this zip file (as torch.save writes) is cut short or damaged: it has {size} bytes, and the directory of its records, \
             which stands at the end, is not there. Copy or save it again"
        ))
    })?;
    if let Some(locator) = at.checked_sub(20).filter(|at| tail[*at..].starts_with(b"PK\x06\x07")) {
        return Ok(End::Zip64(number::<8>(tail, locator + 8).ok_or_else(cut)?));
    }
    let field = |place| number::<4>(tail, at + place).ok_or_else(cut);
    let count = number::<2>(tail, at + 10).ok_or_else(cut)?;
    Ok(End::Directory(check(Directory { offset: field(16)?, length: field(12)?, count }, size)?))
}

/// Reads the end of the directory of a large file.
pub fn read_end64(bytes: &[u8], size: u64) -> Result<Directory> {
    if !bytes.starts_with(b"PK\x06\x06") {
        return Err(damaged("this zip file is damaged: the end of its directory is not where it should be".into()));
    }
    let field = |place| number::<8>(bytes, place).ok_or_else(cut);
    check(Directory { offset: field(48)?, length: field(40)?, count: field(32)? }, size)
}

fn check(directory: Directory, size: u64) -> Result<Directory> {
    let end = directory.offset.checked_add(directory.length);
    if end.is_none_or(|end| end > size) || directory.length > DIRECTORY {
        return Err(damaged(format!(
            "this zip file is cut short or damaged: its directory should stand at byte {}, and it has {size} bytes",
            directory.offset
        )));
    }
    Ok(directory)
}

/// A record, as the directory tells.
#[derive(Debug)]
pub struct Record {
    pub name: String,
    encrypted: bool,
    compressed: bool,
    /// The CRC-32 of its content; none where the file was written without.
    pub crc: Option<u32>,
    /// In the file.
    stored: u64,
    /// Of the content.
    pub length: u64,
    /// Its header's first byte.
    pub start: u64,
    /// The first byte of what comes next.
    pub end: u64,
}

/// The records in a directory, in the order of their places.
pub fn records(bytes: &[u8], directory: &Directory) -> Result<Vec<Record>> {
    let (mut records, mut at, mut names) = (Vec::new(), 0, HashSet::new());
    while at < bytes.len() && (records.len() as u64) < directory.count {
        let (record, length) = record(bytes, at).ok_or_else(cut)?;
        if !names.insert(record.name.clone()) {
            return Err(damaged(format!("this zip file is damaged: it has two records named `{}`", record.name)));
        }
        records.push(record);
        at += length;
    }
    if records.len() as u64 != directory.count {
        return Err(cut());
    }
    // torch.serialization.set_crc32_options(False) leaves out all of them
    if records.iter().all(|record| record.crc == Some(0)) {
        records.iter_mut().for_each(|record| record.crc = None);
    }
    records.sort_by_key(|record| record.start);
    let ends: Vec<u64> = records.iter().skip(1).map(|r| r.start).chain([directory.offset]).collect();
    for (record, end) in records.iter_mut().zip(ends) {
        record.end = end;
        let room = end.saturating_sub(record.start);
        if record.stored.saturating_add(LOCAL as u64 + record.name.len() as u64) > room {
            let (name, length) = (&record.name, record.stored);
            return Err(damaged(format!(
                "this zip file is damaged: record `{name}` should have {length} bytes and a header, and there is room for {room}"
            )));
        }
    }
    Ok(records)
}

/// The record whose entry begins at `at`, and the length of the entry.
fn record(bytes: &[u8], at: usize) -> Option<(Record, usize)> {
    let entry = bytes.get(at..)?;
    if !entry.starts_with(b"PK\x01\x02") {
        return None;
    }
    let (flags, method) = (number::<2>(entry, 8)?, number::<2>(entry, 10)?);
    let lengths = [number::<2>(entry, 28)?, number::<2>(entry, 30)?, number::<2>(entry, 32)?].map(|n| n as usize);
    let name = std::str::from_utf8(entry.get(46..46 + lengths[0])?).ok()?.to_string();
    let extra = entry.get(46 + lengths[0]..46 + lengths[0] + lengths[1])?;
    let [length, stored, start] =
        wide([number::<4>(entry, 24)?, number::<4>(entry, 20)?, number::<4>(entry, 42)?], extra)?;
    let (encrypted, compressed) = (flags & 1 != 0, method != 0 || stored != length);
    let crc = Some(number::<4>(entry, 16)? as u32);
    let record = Record { name, encrypted, compressed, crc, stored, length, start, end: start };
    Some((record, 46 + lengths.iter().sum::<usize>()))
}

/// Sizes and place; those that four bytes cannot hold stand in the extra field, in this order.
fn wide(mut fields: [u64; 3], extra: &[u8]) -> Option<[u64; 3]> {
    if fields.iter().all(|field| *field != 0xffff_ffff) {
        return Some(fields);
    }
    let mut at = 0;
    while number::<2>(extra, at)? != 1 {
        at += 4 + number::<2>(extra, at + 2)? as usize;
    }
    let mut at = at + 4;
    for field in fields.iter_mut().filter(|field| **field == 0xffff_ffff) {
        *field = number::<8>(extra, at)?;
        at += 8;
    }
    Some(fields)
}

impl Record {
    /// An error where its bytes are not the content itself. `what` is what it holds.
    pub fn check_plain(&self, what: &str) -> Result<()> {
        let how = match (self.encrypted, self.compressed) {
            (true, _) => "encrypted",
            (_, true) => "compressed",
            _ => return Ok(()),
        };
        Err(damaged(format!(
            "{what} is {how} in this zip file (record `{}`): torch.save stores records as they are; write the file with it again",
            self.name
        )))
    }
}

/// Name and first bytes of the record that a file begins with.
pub fn content_of_first(start: &[u8]) -> Option<(&str, &[u8])> {
    let head = start.starts_with(b"PK\x03\x04").then_some(start)?;
    let name = LOCAL + number::<2>(head, 26)? as usize;
    let content = name + number::<2>(head, 28)? as usize;
    Some((std::str::from_utf8(head.get(LOCAL..name)?).ok()?, head.get(content..)?))
}
