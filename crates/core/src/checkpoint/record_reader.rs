//! Reads a record of a zip file: the local header, its content, and what follows.

use super::errors::damaged;
use super::sink::Sink;
use super::zip::{number, Record, LOCAL};
use crate::{Error, Result};
use crc32fast::Hasher;
use std::cmp::min;

/// Receives the bytes of a record, and passes the content on to a sink.
pub struct RecordReader {
    /// The name of the record.
    name: String,
    /// The bytes of the header so far, including the name.
    head: Vec<u8>,
    /// Remaining bytes of the extra field.
    skip: usize,
    /// Bytes of the content.
    length: u64,
    /// Remaining bytes of the content.
    left: u64,
    /// The expected CRC-32 of the content, if the file has one.
    crc: Option<u32>,
    /// Computes the CRC-32.
    hasher: Hasher,
}

impl RecordReader {
    /// A reader for the bytes of `record`.
    pub fn of(record: &Record) -> Self {
        let (name, length) = (record.name.clone(), record.length);
        Self {
            name,
            head: Vec::new(),
            skip: 0,
            length,
            left: length,
            crc: record.crc,
            hasher: Hasher::new(),
        }
    }

    /// Takes the next bytes.
    pub fn take(&mut self, mut bytes: &[u8], sink: &mut Sink) -> Result<()> {
        let header_length = LOCAL + self.name.len();
        if self.head.len() < header_length {
            let (own, rest) = bytes.split_at(min(header_length - self.head.len(), bytes.len()));
            self.head.extend_from_slice(own);
            bytes = rest;
            if self.head.len() == header_length {
                self.skip =
                    self.after_name().ok_or_else(|| self.wrong(sink, "has no header before it"))?;
            }
        }
        let skipped = min(self.skip, bytes.len());
        self.skip -= skipped;
        bytes = &bytes[skipped..];
        let own = &bytes[..min(self.left, bytes.len() as u64) as usize];
        self.left -= own.len() as u64;
        if self.crc.is_some() {
            self.hasher.update(own);
        }
        sink.push(own)
    }

    /// The length of the extra field; `None` if the header does not match the record.
    fn after_name(&self) -> Option<usize> {
        let head = self.head.starts_with(b"PK\x03\x04").then_some(&self.head)?;
        let field = |at| number::<4>(head, at);
        let (flags, method) = (number::<2>(head, 6)?, number::<2>(head, 8)?);
        // sizes and CRC follow the content if the writer did not know them in advance
        let later = flags & 8 != 0;
        let matches_field =
            |at: usize, want: u64| Some(later || field(at)? == want || field(at)? == 0xffff_ffff);
        let crc = self.crc.map_or(Some(true), |crc| matches_field(14, crc.into()))?;
        let sizes = matches_field(18, self.length)? && matches_field(22, self.length)?;
        let name = number::<2>(head, 26)? as usize == self.name.len()
            && head.ends_with(self.name.as_bytes());
        (name && sizes && crc && method == 0 && flags & 1 == 0)
            .then_some(number::<2>(head, 28)? as usize)
    }

    /// The error for a damaged record; `what` describes the damage.
    fn wrong(&self, sink: &Sink, what: &str) -> Error {
        damaged(format!(
            "this zip file is damaged: {} {what} (record `{}`). Copy or save it again",
            sink.name, self.name
        ))
    }

    /// Returns an error if the record has ended too early, or its CRC-32 differs.
    pub fn check_whole(&self, sink: &Sink) -> Result<()> {
        if self.left > 0 {
            return Err(self.wrong(sink, &format!("lacks {} bytes", self.left)));
        }
        match self.crc {
            Some(crc) if self.hasher.clone().finalize() != crc => {
                Err(self.wrong(sink, "is not as it was written: its CRC-32 differs"))
            }
            _ => Ok(()),
        }
    }
}
