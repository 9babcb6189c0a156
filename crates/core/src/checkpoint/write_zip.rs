//! Writes zip files as PyTorch does: records without compression, with contents aligned to 64
//! bytes.

use super::zip::LOCAL;
use crate::{Error, Result};
use crc32fast::hash;

/// The alignment of the content of each record.
const ALIGNMENT: u64 = 64;
/// The identifier of the extra field that PyTorch uses for padding.
const PADDING: [u8; 2] = *b"FB";
/// Sizes and offsets from here on are written to an extra field.
const LARGE: u64 = 0xffff_ffff;
/// The version of the zip format that has this extra field.
const VERSION: [u8; 2] = [45, 0];
/// Names are UTF-8.
const FLAGS: [u8; 2] = [0, 8];
/// The first of January 1980, the earliest date of the format: constant, so that equal states give
/// equal files.
const DATE: [u8; 4] = [0, 0, 0x21, 0];

/// A zip file that is being written.
pub struct ZipWriter {
    /// The records so far.
    bytes: Vec<u8>,
    /// The entries of the directory so far.
    directory: Vec<u8>,
    /// The number of records.
    count: u64,
    /// Sizes and offsets from here on are written to an extra field; lower in tests.
    large: u64,
}

impl ZipWriter {
    /// An empty file with capacity for `size` bytes; an error if memory does not suffice.
    pub fn with_capacity(size: usize) -> Result<Self> {
        let mut bytes = Vec::new();
        match bytes.try_reserve_exact(size) {
            Ok(()) => Ok(Self { bytes, directory: Vec::new(), count: 0, large: LARGE }),
            Err(e) => {
                Err(Error::File(format!("a file of {size} bytes does not fit into memory: {e}")))
            }
        }
    }

    /// Appends a record with this name and content.
    pub fn add(&mut self, name: &str, content: &[u8]) {
        let (start, length) = (self.bytes.len() as u64, content.len() as u64);
        let crc = hash(content).to_le_bytes();
        let wide = self.wide(&[length, length]);
        let before = start + (LOCAL + name.len() + wide.len()) as u64;
        let fill = ((before + 4).next_multiple_of(ALIGNMENT) - before - 4) as u16;
        let extra = [&wide[..], &PADDING, &fill.to_le_bytes(), &vec![0; fill.into()]].concat();
        let narrow = self.narrow(length);
        let head = |extra: &[u8]| {
            let lengths = [name.len() as u16, extra.len() as u16].map(u16::to_le_bytes).concat();
            [&VERSION[..], &FLAGS, &[0; 2], &DATE, &crc, &narrow, &narrow, &lengths].concat()
        };
        self.bytes.extend([&b"PK\x03\x04"[..], &head(&extra), name.as_bytes(), &extra].concat());
        self.bytes.extend_from_slice(content);
        let wide = self.wide(&[length, length, start]);
        let entry = [
            &b"PK\x01\x02"[..],
            &VERSION,
            &head(&wide),
            &[0; 10],
            &self.narrow(start),
            name.as_bytes(),
            &wide,
        ];
        self.directory.extend(entry.concat());
        self.count += 1;
    }

    /// A size or offset in four bytes; all ones if it is in the extra field.
    fn narrow(&self, number: u64) -> [u8; 4] {
        (if number >= self.large { u32::MAX } else { number as u32 }).to_le_bytes()
    }

    /// The extra field, with the numbers that do not fit into four bytes.
    fn wide(&self, numbers: &[u64]) -> Vec<u8> {
        let large: Vec<u8> =
            numbers.iter().filter(|n| **n >= self.large).flat_map(|n| n.to_le_bytes()).collect();
        match large.len() {
            0 => large,
            length => [&1u16.to_le_bytes()[..], &(length as u16).to_le_bytes(), &large].concat(),
        }
    }

    /// Appends the directory, and returns the bytes of the file.
    pub fn finish(mut self) -> Vec<u8> {
        let (start, length) = (self.bytes.len() as u64, self.directory.len() as u64);
        self.bytes.append(&mut self.directory);
        let end = self.bytes.len() as u64;
        let many = self.count >= 0xffff;
        if many || start >= self.large || length >= self.large {
            let numbers = [self.count, self.count, length, start].map(u64::to_le_bytes).concat();
            let rest = [&44u64.to_le_bytes()[..], &VERSION, &VERSION, &[0; 8], &numbers].concat();
            self.bytes.extend([&b"PK\x06\x06"[..], &rest].concat());
            self.bytes
                .extend([&b"PK\x06\x07"[..], &[0; 4], &end.to_le_bytes(), &[1, 0, 0, 0]].concat());
        }
        let count = (if many { u16::MAX } else { self.count as u16 }).to_le_bytes();
        let places = [self.narrow(length), self.narrow(start)].concat();
        self.bytes.extend([&b"PK\x05\x06"[..], &[0; 4], &count, &count, &places, &[0; 2]].concat());
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::super::zip::{find_end, read_end64, records, End, END64};
    use super::*;

    /// The content of each record, as this library's reader finds it.
    fn contents(file: &[u8]) -> Vec<(String, Vec<u8>)> {
        let size = file.len() as u64;
        let directory = match find_end(file, size).unwrap() {
            End::Directory(directory) => directory,
            End::Zip64(at) => read_end64(&file[at as usize..(at + END64) as usize], size).unwrap(),
        };
        let place = directory.offset as usize..(directory.offset + directory.length) as usize;
        let content = |record: super::super::zip::Record| {
            let extra = &file[record.start as usize + 28..][..2];
            let extra = usize::from(u16::from_le_bytes([extra[0], extra[1]]));
            let at = record.start as usize + LOCAL + record.name.len() + extra;
            assert_eq!(at % 64, 0, "{}", record.name);
            let content = file[at..at + record.length as usize].to_vec();
            assert_eq!(record.crc, Some(hash(&content)));
            (record.name, content)
        };
        records(&file[place], &directory).unwrap().into_iter().map(content).collect()
    }

    #[test]
    fn records_come_back_and_begin_at_multiples_of_64() {
        for large in [0, 1, 100, LARGE] {
            let mut zip = ZipWriter { large, ..ZipWriter::with_capacity(0).unwrap() };
            let want: Vec<(String, Vec<u8>)> = (0..40)
                .map(|n| (format!("a/{}", "x".repeat(n)), (0..n as u8 * 5).collect()))
                .collect();
            for (name, content) in &want {
                zip.add(name, content);
            }
            assert_eq!(contents(&zip.finish()), want, "{large}");
        }
    }

    #[test]
    fn more_records_than_two_bytes_count_are_found() {
        let mut zip = ZipWriter::with_capacity(0).unwrap();
        for n in 0..70_000 {
            zip.add(&n.to_string(), b"x");
        }
        assert_eq!(contents(&zip.finish()).len(), 70_000);
    }
}
