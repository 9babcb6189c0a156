//! The structures of a zip file that PyTorch's format needs: the directory at the end, and the
//! header before each record.
//!
//! Crates for zip files read and seek on their own. This reader requests bytes, which arrive later,
//! since code in a browser cannot block. PyTorch stores its records without compression, so nothing
//! has to be decompressed.

use super::errors::damaged;
use crate::{Error, Result};
use std::collections::HashSet;

/// The most bytes from the start of the end record of the directory to the end of the file: the
/// record itself (22 bytes), a comment, and in front the locator of the end record for large files.
pub const TAIL: u64 = 22 + 0xffff + 20;
/// The length of the end record of the directory of large files (zip64).
pub const END64: u64 = 56;
/// The length of the local header of a record, without name and extra field.
pub const LOCAL: usize = 30;
/// The greatest length of a directory that is read.
const DIRECTORY: u64 = 64 << 20;

/// An unsigned integer of `N` bytes, little-endian; `None` if it is beyond the end of `bytes`.
pub fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let mut wide = [0; 8];
    wide[..N].copy_from_slice(bytes.get(at..at.checked_add(N)?)?);
    Some(u64::from_le_bytes(wide))
}

/// The error for a directory that ends too early.
fn cut() -> Error {
    damaged("this zip file is damaged: its directory ends too early".into())
}

/// The position of the directory.
#[derive(Debug, PartialEq, Eq)]
pub struct Directory {
    /// The first byte.
    pub offset: u64,
    /// The number of bytes.
    pub length: u64,
    /// The number of records.
    count: u64,
}

/// What the end of a file contains.
pub enum End {
    /// The position of the directory.
    Directory(Directory),
    /// For large files, the offset of the record that contains it.
    Zip64(u64),
}

/// Finds the end record of the directory in the last bytes of a file.
pub fn find_end(tail: &[u8], size: u64) -> Result<End> {
    let is_end = |at: &usize| {
        tail[*at..].starts_with(b"PK\x05\x06")
            && number::<2>(tail, at + 20)
                .is_some_and(|comment| at + 22 + comment as usize == tail.len())
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
    let field = |field_at| number::<4>(tail, at + field_at).ok_or_else(cut);
    let count = number::<2>(tail, at + 10).ok_or_else(cut)?;
    Ok(End::Directory(check(Directory { offset: field(16)?, length: field(12)?, count }, size)?))
}

/// Reads the end record of the directory of a large file.
pub fn read_end64(bytes: &[u8], size: u64) -> Result<Directory> {
    if !bytes.starts_with(b"PK\x06\x06") {
        return Err(damaged(
            "this zip file is damaged: the end of its directory is not where it should be".into(),
        ));
    }
    let field = |field_at| number::<8>(bytes, field_at).ok_or_else(cut);
    check(Directory { offset: field(48)?, length: field(40)?, count: field(32)? }, size)
}

/// Returns an error if the directory is outside of the file or too long.
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

/// A record, as described by the directory.
#[derive(Debug)]
pub struct Record {
    /// The name.
    pub name: String,
    encrypted: bool,
    compressed: bool,
    /// The CRC-32 of its content; `None` if the file was written without.
    pub crc: Option<u32>,
    /// Bytes of the content in the file.
    stored: u64,
    /// Bytes of the content after decompression.
    pub length: u64,
    /// The first byte of its header.
    pub start: u64,
    /// The first byte of the next record, or of the directory.
    pub end: u64,
}

/// The records of a directory, ordered by offset.
pub fn records(bytes: &[u8], directory: &Directory) -> Result<Vec<Record>> {
    let (mut records, mut at, mut names) = (Vec::new(), 0, HashSet::new());
    while at < bytes.len() && (records.len() as u64) < directory.count {
        let (record, length) = record(bytes, at).ok_or_else(cut)?;
        if !names.insert(record.name.clone()) {
            return Err(damaged(format!(
                "this zip file is damaged: it has two records named `{}`",
                record.name
            )));
        }
        records.push(record);
        at += length;
    }
    if records.len() as u64 != directory.count {
        return Err(cut());
    }
    // torch.serialization.set_crc32_options(False) omits all of them
    if records.iter().all(|record| record.crc == Some(0)) {
        records.iter_mut().for_each(|record| record.crc = None);
    }
    records.sort_by_key(|record| record.start);
    let ends: Vec<u64> =
        records.iter().skip(1).map(|r| r.start).chain([directory.offset]).collect();
    for (record, end) in records.iter_mut().zip(ends) {
        record.end = end;
        let available = end.saturating_sub(record.start);
        if record.stored.saturating_add(LOCAL as u64 + record.name.len() as u64) > available {
            let (name, length) = (&record.name, record.stored);
            return Err(damaged(format!(
                "this zip file is damaged: record `{name}` should have {length} bytes and a \
                 header, and there is room for {available}"
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
    let lengths = [number::<2>(entry, 28)?, number::<2>(entry, 30)?, number::<2>(entry, 32)?]
        .map(|n| n as usize);
    let name = std::str::from_utf8(entry.get(46..46 + lengths[0])?).ok()?.to_string();
    let extra = entry.get(46 + lengths[0]..46 + lengths[0] + lengths[1])?;
    let [length, stored, start] =
        wide([number::<4>(entry, 24)?, number::<4>(entry, 20)?, number::<4>(entry, 42)?], extra)?;
    let (encrypted, compressed) = (flags & 1 != 0, method != 0 || stored != length);
    let crc = Some(number::<4>(entry, 16)? as u32);
    let record = Record { name, encrypted, compressed, crc, stored, length, start, end: start };
    Some((record, 46 + lengths.iter().sum::<usize>()))
}

/// Sizes and offset; those that do not fit into four bytes are taken from the extra field, in this
/// order.
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
    /// Returns an error if the record is encrypted or compressed. `what` names its content in the
    /// message.
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

/// The name and the first bytes of the content of the first record of a file that begins with
/// `start`.
pub fn content_of_first(start: &[u8]) -> Option<(&str, &[u8])> {
    let head = start.starts_with(b"PK\x03\x04").then_some(start)?;
    let name = LOCAL + number::<2>(head, 26)? as usize;
    let content = name + number::<2>(head, 28)? as usize;
    Some((std::str::from_utf8(head.get(LOCAL..name)?).ok()?, head.get(content..)?))
}
